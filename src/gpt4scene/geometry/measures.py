"""What is measured in a room, each once: which boxes meet, their distances in space and from above, and by label."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from gpt4scene.geometry.boxes import Boxes, box_distances, boxes_meet, boxes_of, first_two_sides_meet, flat_distances
from gpt4scene.geometry.room import Room


class Measures:
    """Matrices over the N objects of ``room`` in their order, made when they are first asked for."""

    def __init__(self, room: Room, distances: Callable[[Boxes], np.ndarray] = box_distances) -> None:
        self.room = room
        self._measure = distances

    @cached_property
    def boxes(self) -> Boxes:
        """The boxes of all objects."""
        return boxes_of(self.room.objects)

    @cached_property
    def meet_NN(self) -> np.ndarray:
        """bool: do two boxes share a point?"""
        return boxes_meet(self.boxes)

    @cached_property
    def sides_meet_NN(self) -> np.ndarray:
        """bool: do the rectangles of the first two sides meet?"""
        return first_two_sides_meet(self.boxes)

    @cached_property
    def distances_NN(self) -> np.ndarray:
        """Distance of two objects in metres."""
        return self._measure(self.boxes)

    @cached_property
    def flat_NN(self) -> np.ndarray:
        """Distance of two objects in metres, seen from above."""
        return flat_distances(self.boxes)

    @cached_property
    def label_distances_LL(self) -> np.ndarray:
        """Distance of two labels, in the order of ``room.by_label``: that of their nearest objects."""
        places = [list(found) for found in self.room.by_label.values()]
        rows = [self.distances_NN[some].min(axis=0) for some in places]
        return np.array([[row[some].min() for some in places] for row in rows]).reshape(len(places), len(places))
