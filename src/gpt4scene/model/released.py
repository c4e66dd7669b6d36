"""A checkpoint as its family was released: names of tensors, config and tokenizer files that older programs read.

transformers 5 writes ``config.json`` and ``tokenizer_config.json`` in forms of its own. transformers 4.57 finds no
rotary section in such a config, 4.51 no language model, and neither can read the tokenizer. Here the forms of the
releases are written, which all of them read, and vLLM too. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpt4scene.families.family import Family
from gpt4scene.files.whole import read_json, write_json, write_text

_TOKENIZER = "tokenizer_config.json"
_NESTED_ONLY = ("model_type", "dtype", "torch_dtype")
"""Entries of a language model's config that its model's own take the place of in a flat one."""


def released_name(family: Family, name: str) -> str:
    """Return what a tensor or module of today's ``name`` was called when ``family`` was released."""
    for today, before in family.released_names:
        if name.startswith(today):
            return before + name.removeprefix(today)
    return name


def released_config(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config``, as transformers 5 writes it, in the form of the release.

    Rotary parameters stand as ``rope_theta`` and ``rope_scaling``, where the family is not younger than these names.
    Families that were released with a flat config have the language model's entries at the top, and no ``text_config``.
    """
    whole = {name: value for name, value in config.items() if name != "text_config"}
    if "dtype" in whole:
        whole["torch_dtype"] = whole.pop("dtype")
    text = dict(config.get("text_config", {}))
    rope = {} if family.rope_parameters else dict(text.pop("rope_parameters", None) or {})
    if rope:
        text["rope_theta"] = rope.pop("rope_theta")
        if family.flat and rope.get("rope_type") == "default":
            rope["type"] = "mrope"  # its name in these releases; both mean the same to later programs
            del rope["rope_type"]
        if rope != {"rope_type": "default"}:
            text["rope_scaling"] = rope
    if not family.flat:
        return whole | {"text_config": text}
    return {name: value for name, value in text.items() if name not in _NESTED_ONLY} | whole


def write_released_tokenizer(folder: Path) -> None:
    """Rewrite the tokenizer's description in ``folder`` as older programs read it, and add the files that they want.

    Those are ``vocab.json`` and ``merges.txt`` of a byte-pair tokenizer, which image processors of transformers 4 ask
    for, and the chat template inside the description.
    """
    path = folder / _TOKENIZER
    if not path.is_file():
        return
    described = dict(read_json(path, "description of the tokenizer"))
    extra = described.get("extra_special_tokens")
    if isinstance(extra, list):
        del described["extra_special_tokens"]
        described["additional_special_tokens"] = extra
    for name in ("add_prefix_space", "bos_token", "unk_token"):
        if name in described and described[name] is None:
            del described[name]
    template = folder / "chat_template.jinja"
    if template.is_file():
        described.setdefault("chat_template", template.read_text(encoding="utf-8"))
    write_json(path, described, indent=2)
    whole = folder / "tokenizer.json"
    model = read_json(whole, "tokenizer")["model"] if whole.is_file() else {}
    if model.get("type") == "BPE":
        _write_missing(folder / "vocab.json", lambda place: write_json(place, model["vocab"]))
        pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
        lines = "".join(f"{pair}\n" for pair in ("#version: 0.2", *pairs))
        _write_missing(folder / "merges.txt", lambda place: write_text(place, lines))


def _write_missing(path: Path, write: Callable[[Path], object]) -> None:
    if not path.exists():
        write(path)
