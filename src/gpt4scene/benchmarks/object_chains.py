"""Beacon's official files: objects with three questions or three chains of descriptions each, and the flat lists.

The metadata file has all uses of a text: scene -> class -> object -> questions, or chains. The flat file lists each
text of a scene once, and is what models are asked. Scores count uses, so the metadata file is needed for some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record, read_records
from gpt4scene.files.whole import read_json

Use = dict[str, Any]
"""Where a text is used: ``object``, ``entry`` (that with its class), ``chain``, ``place`` in it, ``of`` how many."""


@dataclass(frozen=True)
class _Placed:
    """A text of the metadata with its place. ``tag`` and ``extra`` are as the flat file's ids have them."""

    scene: str
    text: str
    values: dict[str, Any]
    sign: str
    use: Use
    origin: str


def read_questions(paths: Sequence[Path]) -> list[Record]:
    """Return the questions to ask, from the metadata file, the flat file, or both; each with its ``uses``."""
    return _read(paths, _questions_in, ("scene_id", "question", "question_id"), str)


def read_descriptions(paths: Sequence[Path]) -> list[Record]:
    """Return the descriptions to ask about, from the metadata file, the flat file, or both; each with its ``uses``."""
    return _read(paths, _descriptions_in, ("scan_id", "utterance", "item_id"), _parts)


def _parts(tag: str) -> str:
    return "-".join(sorted(tag.split("-")))


def _read(
    paths: Sequence[Path],
    placed_in: Callable[[Mapping[str, Any], str], Iterator[_Placed]],
    keys: tuple[str, str, str],
    same: Callable[[str], str],
) -> list[Record]:
    scene_key, text_key, id_key = keys
    flat: list[Record] = []
    placed: list[_Placed] = []
    for path in paths:
        content = read_json(path)
        if isinstance(content, Mapping):
            placed += placed_in(content, str(path))
        else:
            flat += read_records(path)
    known = bool(placed)
    if not flat:
        flat = list(_flattened(placed, keys))
    last = {(row.text(scene_key), row.text(text_key).lower()): number for number, row in enumerate(flat)}
    uses: dict[tuple[str, str], list[Use]] = {}
    for one in placed:
        where = (one.scene, one.text.strip().lower())
        if where not in last:
            raise DataError(f"{one.origin}: '{one.text}' is not in the flat file; give the two files of one version")
        sign = _sign(flat[last[where]], id_key)
        if same(sign) != same(one.sign.lower()):
            raise DataError(f"{one.origin}: '{one.text}' is '{one.sign}' here, '{sign}' in the flat file")
        uses.setdefault(where, []).append(one.use)
    found = []
    for number, row in enumerate(flat):
        where = (row.text(scene_key), row.text(text_key).lower())
        counted = last[where] == number
        more = {"scene_id": where[0], "counted": counted, "uses": uses.get(where, []) if counted else []}
        found.append(Record({**row.values, **more, "placed": known}, row.origin))
    return found


def _flattened(placed: Sequence[_Placed], keys: tuple[str, str, str]) -> Iterator[Record]:
    """Yield the rows of the flat file: each text of a scene once, as it is written, at its first place."""
    scene_key, text_key, id_key = keys
    seen = set()
    for one in placed:
        if (one.scene, one.text) not in seen:
            seen.add((one.scene, one.text))
            use = one.use
            middle = (use["chain"],) if "chain" in use else ()
            name = "_".join(map(str, (use["object"].replace(f"{one.scene}-", f"{one.scene}_", 1), *middle)))
            identity = f"{name}_{use['place']}_{one.sign}"
            yield Record({id_key: identity, scene_key: one.scene, text_key: one.text, **one.values}, one.origin)


def _sign(row: Record, id_key: str) -> str:
    """Return what the end of a flat row's id says: the tag, and for questions whether other knowledge is needed."""
    parts = row.text(id_key).lower().split("_")
    return "_".join(parts[-2:]) if id_key == "question_id" else parts[-1]


def _objects(content: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, Use, Mapping[str, Any], str]]:
    for scene, classes in content.items():
        for name, objects in _mapping(classes, f"{path}, {scene}").items():
            for obj, value in _mapping(objects, f"{path}, {scene}, {name}").items():
                origin = f"{path}, {scene}, {name} {obj}"
                use = {"object": f"{scene}-{obj}", "entry": f"{scene}/{name}/{obj}"}
                yield scene, obj, use, _mapping(value, origin), origin


def _questions_in(content: Mapping[str, Any], path: str) -> Iterator[_Placed]:
    for scene, obj, named, value, origin in _objects(content, path):
        asked = Record(value, origin).items("qa")
        for place, item in enumerate(asked):
            row = Record(_mapping(item, origin), f"{origin}, question {place}")
            text, answer = row.text("question"), row.name("answer")
            if answer is None:
                raise DataError(f"{row.origin}: 'answer' is missing or empty")
            use = {**named, "place": place, "of": len(asked)}
            values = {"object_ids": [_number(obj, origin)], "answers": [str(item["answer"])]}
            sign = f"{row.text('tag')}_{row.whole('extra_knowledge')}"
            yield _Placed(scene, item["question"] if text else "", values, sign, use, row.origin)


def _descriptions_in(content: Mapping[str, Any], path: str) -> Iterator[_Placed]:
    for scene, _, named, value, origin in _objects(content, path):
        for chain in value:
            texts = Record(value, origin).items(chain)
            for place, item in enumerate(texts):
                row = Record(_mapping(item, f"{origin}, {chain}"), f"{origin}, {chain}, text {place}")
                use = {**named, "chain": chain, "place": place, "of": len(texts), "chains": len(value)}
                row.text("text")
                values = {"target_id": row.wholes("obj_id")}
                yield _Placed(scene, item["text"], values, row.text("tag"), use, row.origin)


def _mapping(value: Any, origin: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{origin}: expected an object with keys as in the metadata, found a {type(value).__name__}")
    return value


def _number(obj: str, origin: str) -> int:
    if not obj.isdecimal():
        raise DataError(f"{origin}: '{obj}' is no object number")
    return int(obj)
