"""What the panels of a person's page need to know of the page that they stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpt4scene.files.prepared import SceneBox
from gpt4scene.view.rooms import Room
from gpt4scene.view.scenery import Scenery

if TYPE_CHECKING:
    import viser


class Page(Protocol):
    """One person's page; ``view.session`` is what it is in truth."""

    client: viser.ClientHandle
    scenery: Scenery
    chosen: int | None
    dark: bool

    @property
    def here(self) -> Room:
        """The room that is shown."""
        ...

    def box(self, number: int | None) -> SceneBox | None:
        """Return the present box of object ``number``, ``None`` where there is none."""
        ...

    def choose(self, number: int | None, go: bool = False) -> None:
        """Choose object ``number`` everywhere on this page; ``go`` moves the camera to it."""
        ...

    def guard(self, work: Callable[[], Any]) -> None:
        """Do what a person asked for; what can't be done is said on that person's page."""
        ...

    def say(self, title: str, sentence: str, color: Any = "blue") -> None:
        """Show a sentence on this person's page."""
        ...

    def theme(self, dark: bool) -> None:
        """Make this person's page dark or light."""
        ...

    def overlook(self, box: SceneBox | None = None) -> None:
        """Put the camera above the room, or before one object."""
        ...

    def through(self, place: int) -> None:
        """Look through the frame at ``place``."""
        ...

    def middle(self) -> np.ndarray:
        """Return the point that this person's camera looks at, float64 [3]."""
        ...
