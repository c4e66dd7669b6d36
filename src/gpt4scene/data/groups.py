"""Which rows may share a pack: those of one scene, those with images of their own beside it, and those of text alone.

Rows of one key have the same prefix. A key's parent is a shorter prefix that it begins with: its rows may join the
parent's packs, where their further images become part of their branches. Rows of text alone may ride in any pack.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gpt4scene.data.encoding import Encoder
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.types import Conversation

TEXT = -1
"""Key of a row of text alone that may ride in the pack of any scene."""

LONGEST_RIDER = 1024
"""Tokens of the longest row of text that rides with others: branches are padded to the longest of their pack."""

SHARED_PER_OWN = 4
"""A row joins a scene with one image of its own, and with one more for every four that it shares."""

LEAST_SHARED = 2
"""Images that a row must share to join."""

Prefix = tuple[tuple[str, ...], tuple[Hashable, ...]]
"""Images of a prefix, and what stands before each of them: N of each."""


@dataclass(frozen=True)
class Groups:
    """The key of every row: equal where rows share their prefix, ``TEXT``, or None for a row that shares nothing.

    ``parents`` names, for some keys, that of a shorter prefix; there need not be rows of that one. ``images`` counts
    those of the prefix of each key that has a parent or is one.
    """

    keys: tuple[int | None, ...]
    parents: Mapping[int, int] = field(default_factory=dict)
    images: Mapping[int, int] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.keys)

    def root(self, key: int) -> int:
        """Return the shortest prefix that rows of ``key`` may share."""
        while key in self.parents:
            key = self.parents[key]
        return key

    def own_images(self, row: int) -> int:
        """Return how many images the row has beyond the shortest prefix that it may share."""
        key = self.keys[row]
        if key is None or key not in self.parents:
            return 0
        return self.images[key] - self.images[self.root(key)]


def group_rows(rows: Iterable[Conversation] | TokenizedRows, encoder: Encoder) -> Groups:
    """Return which of the rows may share packs; the same for conversations and for their tokens.

    Opens no image that was not opened before. Of rows of text, only those are tokenised whose bytes alone are more
    than ``LONGEST_RIDER``.
    """
    if isinstance(rows, TokenizedRows):
        riding = rows.text_lengths() <= LONGEST_RIDER
        keys = rows.scene_keys()
        return _with_parents((TEXT if rides else key for key, rides in zip(keys, riding, strict=True)), rows.prefixes())
    numbers: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    found: list[int | None] = []
    for row in rows:
        key = encoder.prefix_key(row)
        if key is not None:
            found.append(numbers.setdefault(key, len(numbers)))
        else:
            found.append(TEXT if not row.images and _rides(row, encoder) else None)
    ends = encoder.template.image_text, encoder.template.video_text
    return _with_parents(found, {number: (images, pieces(texts, ends)) for (images, texts), number in numbers.items()})


def _with_parents(keys: Iterable[int | None], prefixes: Mapping[int, Prefix]) -> Groups:
    parents = parents_of(prefixes)
    counts = {key: len(prefixes[key][0]) for key in {*parents, *parents.values()} & prefixes.keys()}
    new = {above: counts[key] - 1 for key, above in parents.items() if above not in prefixes}
    return Groups(tuple(keys), parents, counts | new)


def _rides(row: Conversation, encoder: Encoder) -> bool:
    """Return whether a row of text is short enough to ride with others."""
    return encoder.length_bound(row) <= LONGEST_RIDER or all(
        len(answer.ids_L) <= LONGEST_RIDER for answer in encoder.encode(row).answers
    )


def pieces(values: Sequence[Hashable], ends: Collection[Hashable]) -> tuple[Hashable, ...]:
    """Return ``values``, the last of which is among ``ends``, cut behind every one of these."""
    cuts = [0, *(index + 1 for index, value in enumerate(values) if value in ends)]
    return tuple(tuple(values[start:stop]) for start, stop in pairwise(cuts))


def parents_of(prefixes: Mapping[int, Prefix]) -> dict[int, int]:
    """Return the parent of every key that has one, by the prefix of each key.

    It is the longest other prefix that a key's own begins with. Where there is none, keys that differ in their last
    image alone get a common parent without rows, whose number is a new one.
    """
    numbers = {prefix: key for key, prefix in prefixes.items()}
    parents: dict[int, int] = {}
    orphans: dict[Prefix, list[int]] = {}
    for key, (images, pieces) in prefixes.items():
        shorter = [
            (images[:count], pieces[:count]) for count in range(len(images) - 1, least_shared(len(images)) - 1, -1)
        ]
        known = next((numbers[prefix] for prefix in shorter if prefix in numbers), None)
        if known is not None:
            parents[key] = known
        elif shorter:
            orphans.setdefault(shorter[0], []).append(key)
    new = max(prefixes, default=-1) + 1
    for number, keys in enumerate((keys for keys in orphans.values() if len(keys) > 1), start=new):
        parents |= dict.fromkeys(keys, number)
    return parents


def least_shared(images: int) -> int:
    """Return how many of a row's ``images`` it must share with a scene to join it: at least 2, and all but few."""
    own = max(1, images // (SHARED_PER_OWN + 1))
    return max(LEAST_SHARED, images - own)
