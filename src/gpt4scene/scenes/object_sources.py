"""Where the marked objects come from: the scan's own annotation, or boxes, masks and clusters from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.registry import Registry
from gpt4scene.scans.mask3d import mask3d_objects
from gpt4scene.scans.mesh_files import seen_geometry
from gpt4scene.scans.objects import FoundObjects, check_keys, matrix_of, parse_objects
from gpt4scene.scans.types import Scan, SceneObject
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
        nor = f" (nor a mesh, which ScanNet's annotation is about{seen_geometry(scan.source)})"
        lacks = "" if scan.mesh is not None else nor
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
        check_keys(str(path), content)
        content = content[scan.scene_id]
    if isinstance(content, dict):
        _check_frame(path, content, scan)
        content = {key: value for key, value in content.items() if key != "axis_align"}
    return parse_objects(path, content, scan.mesh, None)


def _check_frame(path: Path, content: dict, scan: Scan) -> None:
    """DataError where a file of boxes, or a ``scene.json``, says that they are in another frame than the scene."""
    key = "align" if "settings" in content else "axis_align"
    if content.get(key) is None or scan.align is None:
        return
    if not np.allclose(matrix_of(path, key, content[key]), scan.align, atol=0.02):
        raise DataError(
            f"{path}: its {key} is not how this scene is aligned, so its boxes would lie elsewhere; write that matrix "
            f"into {scan.source / 'axis_align.txt'}"
        )


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
    found = FoundObjects(found.objects, (*found.notes, *_lacking(scan, found.objects, source.find is mask3d_objects)))
    if found.objects or source.find is no_objects:
        return found
    return FoundObjects(
        (), (*found.notes, f"{scan.source}: --objects {text} gives no object; the images have no numbers")
    )


def _lacking(scan: Scan, objects: Sequence[SceneObject], counted: bool) -> Iterator[str]:
    """Notes on objects that are nowhere, unless the source has ``counted`` them, or have no name."""
    empty = [item.id for item in objects if (item.empty if item.vertices is None else not len(item.vertices))]
    nowhere = [] if counted else empty
    nameless = [item.id for item in objects if not item.label.strip()]
    for numbers, what in ((nowhere, "no vertices and are marked nowhere"), (nameless, "an empty label")):
        if numbers:
            yield f"{scan.source}: {len(numbers)} objects have {what}: {', '.join(map(str, numbers))}"


def object_source(text: str) -> tuple[ObjectSource, str]:
    """The source and place that ``name`` or ``name:PLACE`` means; ValueError when there is no such thing."""
    name, _, place = text.partition(":")
    source = OBJECT_SOURCES[name]
    if source.needs_place and not place:
        raise ValueError(f"--objects {name} needs a place: {name}:PATH ({source.about})")
    if place and not source.needs_place:
        raise ValueError(f"--objects {name} takes no path ({source.about})")
    return source, place
