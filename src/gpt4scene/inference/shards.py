"""Whole scenes dealt out to processes, so that a scene's images are seen by one process only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from gpt4scene.types import Question


def deal(loads: Mapping[str, int], num_shards: int) -> list[list[str]]:
    """Return one list of scenes a shard: the scene with most questions first, onto the least loaded shard.

    ``loads`` is questions per scene. Equal loads go by name, so every process deals alike. Scenes of a shard are in
    the order they should be visited, longest first.
    """
    if num_shards < 1:
        raise ValueError(f"--num_shards must be at least 1, found {num_shards}")
    shards: list[list[str]] = [[] for _ in range(num_shards)]
    totals = [0] * num_shards
    for scene in sorted(loads, key=lambda name: (-loads[name], name)):
        least = min(range(num_shards), key=lambda index: (totals[index], index))
        shards[least].append(scene)
        totals[least] += loads[scene]
    return shards


def shard(loads: Mapping[str, int], num_shards: int, index: int) -> list[str]:
    """Return the scenes of shard ``index`` (0-based); see :func:`deal`."""
    if not 0 <= index < num_shards:
        raise ValueError(f"--shard must lie in 0 to {num_shards - 1} for --num_shards {num_shards}, found {index}")
    dealt = deal(loads, min(num_shards, max(1, len(loads))))  # more shards than scenes stay empty
    return dealt[index] if index < len(dealt) else []


def questions_per_scene(questions: Iterable[Question]) -> Counter[str]:
    """Return how many questions each scene has, over all tasks."""
    return Counter(question.scene_id for question in questions)
