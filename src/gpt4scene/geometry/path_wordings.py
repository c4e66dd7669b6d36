"""The words of questions about what the camera saw and where it went, from ``path_wordings.yaml``."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache

from gpt4scene.geometry.asking import read_data


@lru_cache(maxsize=1)
def _all() -> Mapping[str, Sequence[str]]:
    return read_data("path_wordings.yaml")


def worded(kind: str, generator: random.Random, varied: bool, **fields: str) -> str:
    """Return a question of ``kind`` with ``fields`` filled in: in a drawn wording where ``varied``, else the first.

    ``generator`` draws in either case, so that wordings change nothing but words.
    """
    texts = _all()[kind]
    drawn = generator.choice(texts)
    return (drawn if varied else texts[0]).format(**fields)
