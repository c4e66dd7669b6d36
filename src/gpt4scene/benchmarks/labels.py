"""ScanRefer's 18 object classes, ScanNet's label map, and which objects are the only ones of their class."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record

OTHERS = "others"
CLASSES = (
    *("cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter", "desk"),
    *("curtain", "refrigerator", "shower curtain", "toilet", "sink", "bathtub", OTHERS),
)
"""Classes by which ScanRefer tells unique from multiple objects."""

SPELLINGS = {"refridgerator": "refrigerator"}
"""Class as ScanNet's label map spells it -> as ScanRefer does. Both are one class."""

LABEL_MAP = "scannetv2-labels.combined.tsv"


def same_name(name: str) -> str:
    """Return ``name`` in small letters, its words separated by single spaces."""
    return " ".join(name.lower().replace("_", " ").split())


def class_of(name: str) -> str:
    """Return the class that ``name``, in either spelling, is called by; others where there is none."""
    name = same_name(name)
    name = SPELLINGS.get(name, name)
    return name if name in CLASSES else OTHERS


def plain_classes() -> dict[str, str]:
    """Return the classes as names of themselves, for raw names that need no label map."""
    return {name: class_of(name) for name in (*CLASSES, *SPELLINGS)}


def read_label_map(path: Path) -> dict[str, str]:
    """Return raw object name -> class from ScanNet's label map (columns 1 and 7, 0-based: raw name, NYU40 class).

    NYU40 classes outside ``CLASSES`` become others. Raises ``DataError`` for a file without these columns, a line that
    lacks them, and a name that two lines give different classes.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({error}); download it again") from None
    if not lines or len(lines[0]) < 8 or lines[0][1] != "raw_category" or lines[0][7] != "nyu40class":
        raise DataError(f"{path}: no ScanNet label map; column 1 must be 'raw_category' and column 7 'nyu40class'")
    classes: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        if len(line) < 8:
            raise DataError(f"{path}, line {number}: has {len(line)} columns instead of 8 or more; download it again")
        if classes.setdefault(line[1], class_of(line[7])) != class_of(line[7]):
            raise DataError(f"{path}, line {number}: '{line[1]}' is '{line[7]}' here and another class before")
    return classes


def raw_name(record: Record) -> str:
    """Return the name of the object that an official record describes, as label maps write it."""
    return " ".join(record.text("object_name").split("_"))


def unique_multiple(records: Iterable[Record], classes: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Return ``scene -> object -> 0 | 1``: 0 where the object is the only annotated one of its class in the scene.

    ``classes`` maps a raw object name to one of the 18 classes (``read_label_map``); unknown names are others.
    """
    kinds: dict[str, dict[str, str]] = {}
    for record in records:
        objects = kinds.setdefault(record.text("scene_id"), {})
        objects.setdefault(str(record.whole("object_id")), classes.get(raw_name(record), OTHERS))
    return {
        scene: {target: int(list(objects.values()).count(kind) != 1) for target, kind in objects.items()}
        for scene, objects in kinds.items()
    }
