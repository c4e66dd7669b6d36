"""The experts of a layer in weight files: all in two tensors, as models hold them, or each in three of its own.

transformers reads both. It saves a model whose weights were not loaded from a file the second way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gpt4scene.model.weight_files import Stored

_ALONE = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate_proj|up_proj|down_proj)\.weight")


def joined(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Return tensors by name, as if experts that stand alone were those of ``gate_up_proj`` and ``down_proj``.

    ``gate_up_proj[experts, 2 * inner, width]``, ``down_proj[experts, width, inner]``. Those of a layer that is not
    whole, or whose experts differ in size, stay as they are, and so fit no model.
    """
    parts: dict[str, dict[int, dict[str, str]]] = {}
    for name in stored:
        if match := _ALONE.fullmatch(name):
            parts.setdefault(match[1], {}).setdefault(int(match[2]), {})[match[3]] = name
    found = dict(stored)
    for layer, experts in parts.items():
        if sorted(experts) != list(range(len(experts))) or any(len(one) < 3 for one in experts.values()):
            continue
        kinds = {kind: {stored[one[kind]] for one in experts.values()} for kind in experts[0]}
        if any(len(sizes) > 1 for sizes in kinds.values()) or kinds["gate_proj"] != kinds["up_proj"]:
            continue
        for one in experts.values():
            for name in one.values():
                del found[name]
        inner, down = stored[experts[0]["up_proj"]], stored[experts[0]["down_proj"]]
        found[f"{layer}.gate_up_proj"] = Stored(inner.dtype, (len(experts), 2 * inner.shape[0], *inner.shape[1:]))
        found[f"{layer}.down_proj"] = Stored(down.dtype, (len(experts), *down.shape))
    return found
