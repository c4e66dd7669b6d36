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

LABEL_MAP = "scannetv2-labels.combined.tsv"


def plain_classes() -> dict[str, str]:
    """Return the classes as names of themselves, for raw names that need no label map."""
    return {name: name for name in CLASSES}


def read_label_map(path: Path) -> dict[str, str]:
    """Return raw object name -> class from ScanNet's label map (columns 1 and 7, 0-based: raw name, NYU40 class).

    NYU40 classes outside ``CLASSES`` become others. Raises ``DataError`` for a file without these columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({error}); download it again") from None
    if not lines or len(lines[0]) < 8 or lines[0][1] != "raw_category" or lines[0][7] != "nyu40class":
        raise DataError(f"{path}: no ScanNet label map; column 1 must be 'raw_category' and column 7 'nyu40class'")
    return {line[1]: line[7] if line[7] in CLASSES else OTHERS for line in lines[1:] if len(line) > 7}


def unique_multiple(records: Iterable[Record], classes: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Return ``scene -> object -> 0 | 1``: 0 where the object is the only annotated one of its class in the scene.

    ``classes`` maps a raw object name to one of the 18 classes (``read_label_map``); unknown names are others.
    """
    kinds: dict[str, dict[str, str]] = {}
    for record in records:
        name = " ".join(record.text("object_name").split("_"))
        objects = kinds.setdefault(record.text("scene_id"), {})
        objects.setdefault(str(record.whole("object_id")), classes.get(name, OTHERS))
    return {
        scene: {target: int(list(objects.values()).count(kind) != 1) for target, kind in objects.items()}
        for scene, objects in kinds.items()
    }
