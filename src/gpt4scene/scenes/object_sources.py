"""Where the marked objects come from: the scan's own annotation, or boxes, masks and clusters from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.registry import Registry
from gpt4scene.scans.mask3d import mask3d_objects
from gpt4scene.scans.objects import FoundObjects, parse_objects
from gpt4scene.scans.types import Scan
from gpt4scene.scenes.clusters import cluster_objects


@dataclass(frozen=True)
class ObjectSource:
    """``find(scan, place)`` gives the objects of an upright scan; ``place`` is what follows the colon, maybe empty."""

    find: Callable[[Scan, str], FoundObjects]
    needs_place: bool
    about: str


def own_objects(scan: Scan, place: str) -> FoundObjects:
    """The objects that came with the scan; DataError when it has none."""
    if not scan.objects:
        lacks = "" if scan.mesh is not None else " (nor a mesh, which ScanNet's annotation is about)"
        raise DataError(
            f"{scan.source}: has no objects of its own{lacks}; add objects.json, or choose --objects boxes:FILE, "
            "clusters or none"
        )
    return FoundObjects(scan.objects)


def box_objects(scan: Scan, place: str) -> FoundObjects:
    """Boxes in the aligned frame from a JSON file, or from ``<scene>.json`` in a folder.

    The file holds ``{"objects": [{"id", "label", "center", "size"}]}``, or the same under each scene's name.
    """
    path = Path(place)
    if path.is_dir():
        path = path / f"{scan.scene_id}.json"
    if not path.is_file():
        raise DataError(f"{path}: is missing; --objects boxes:FILE names a JSON file or a folder of them")
    content = read_json(path)
    if isinstance(content, dict) and "objects" not in content:
        if scan.scene_id not in content:
            raise DataError(f"{path}: has neither 'objects' nor an entry for scene '{scan.scene_id}'")
        content = content[scan.scene_id]
    return parse_objects(path, content, scan.mesh, None)


def no_objects(scan: Scan, place: str) -> FoundObjects:
    """No object at all: images without numbers."""
    return FoundObjects(())


def _sources() -> Registry[ObjectSource]:
    sources: Registry[ObjectSource] = Registry("object source")
    sources.add("scan", ObjectSource(own_objects, False, "the scan's own objects"))
    sources.add("boxes", ObjectSource(box_objects, True, "boxes from a JSON file or a folder of <scene>.json"))
    sources.add("scannet", ObjectSource(own_objects, False, "the same: ScanNet's annotated instances"))
    sources.add("mask3d", ObjectSource(mask3d_objects, True, "the folder of a Mask3D export"))
    sources.add("clusters", ObjectSource(cluster_objects, False, "connected geometry, where nothing is annotated"))
    sources.add("none", ObjectSource(no_objects, False, "no object at all: images without numbers"))
    return sources


OBJECT_SOURCES = _sources()


def find_objects(text: str, scan: Scan) -> FoundObjects:
    """The objects that ``name`` or ``name:PLACE`` gives for an upright scan, and a note where it gives none."""
    source, place = object_source(text)
    found = source.find(scan, place)
    if found.objects or source.find is no_objects:
        return found
    return FoundObjects(
        (), (*found.notes, f"{scan.source}: --objects {text} gives no object; the images have no numbers")
    )


def object_source(text: str) -> tuple[ObjectSource, str]:
    """The source and place that ``name`` or ``name:PLACE`` means; ValueError when there is no such thing."""
    name, _, place = text.partition(":")
    source = OBJECT_SOURCES[name]
    if source.needs_place and not place:
        raise ValueError(f"--objects {name} needs a place: {name}:PATH ({source.about})")
    if place and not source.needs_place:
        raise ValueError(f"--objects {name} takes no path ({source.about})")
    return source, place
