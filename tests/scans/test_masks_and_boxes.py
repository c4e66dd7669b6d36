"""Masks and boxes that contradict each other, keys that turn boxes, and objects that are nowhere."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.scans.objects import FoundObjects, parse_objects
from gpt4scene.scans.posed import read_posed
from gpt4scene.scenes.object_sources import find_objects
from gpt4scene.scenes.opened_scene import open_scene


@pytest.fixture(scope="module")
def scan(box_room_folder):
    return read_posed(box_room_folder)


def entry(scan, folder, lines, **values):
    (folder / "mask.txt").write_text("".join(f"{line}\n" for line in lines))
    item = scan.objects[3]
    row = {"id": 3, "label": "chair", "center": item.center.tolist(), "size": item.size.tolist(), "mask": "mask.txt"}
    return parse_objects(folder / "objects.json", {"objects": [{**row, **values}]}, scan.mesh, scan.align)


def test_a_mask_in_its_box_is_taken(scan, tmp_path):
    assert len(entry(scan, tmp_path, scan.objects[3].vertices).objects[0].vertices) == 8


@pytest.mark.parametrize("lines", ["another object's", "0 and 1"])
def test_a_mask_elsewhere_than_its_box_is_refused(scan, tmp_path, lines):
    other = scan.objects[6].vertices if lines == "another object's" else [0, 1]
    with pytest.raises(DataError, match="object 0: .* vertices of its mask lie outside of its box"):
        entry(scan, tmp_path, other)


def test_a_zero_or_one_for_each_vertex_is_no_mask(scan, tmp_path):
    lines = np.isin(np.arange(len(scan.mesh.vertices)), scan.objects[3].vertices).astype(int)
    with pytest.raises(DataError, match="mask.txt: has 0 or 1 for each vertex; masks hold the numbers"):
        parse_objects(
            (entry_file := tmp_path / "objects.json"),
            {"objects": [{"id": 1, "label": "x", "mask": masked(entry_file.parent, lines)}]},
            scan.mesh,
            None,
        )


def masked(folder, lines):
    (folder / "mask.txt").write_text("".join(f"{line}\n" for line in lines))
    return "mask.txt"


TURNS = (
    "rotation_y",
    "box_rotation",
    "yaw_deg",
    "rotation_quat",
    "heading",
    "qw",
    "transform",
    "transform_matrix",
    "rot",
)


@pytest.mark.parametrize("key", TURNS)
def test_keys_that_turn_a_box_are_refused_however_they_are_spelled(scan, tmp_path, key):
    for value in (0.3, {"z": 0.3}, np.diag([-1, -1, 1, 1]).tolist()):
        with pytest.raises(DataError, match=f"'{key}' turns the box"):
            entry(scan, tmp_path, scan.objects[3].vertices, **{key: value})
    for value in (0, None, {"z": 0}, np.eye(4).tolist(), np.eye(3).tolist()):
        assert entry(scan, tmp_path, scan.objects[3].vertices, **{key: value}).objects


@pytest.mark.parametrize("key", ["color", "score", "category_id", "nyu40", "rooms"])
def test_other_keys_are_named_only(scan, tmp_path, key):
    found = entry(scan, tmp_path, scan.objects[3].vertices, **{key: 3})
    assert f"'{key}'" in found.notes[0]


def test_objects_that_are_nowhere_or_have_no_name_are_noted(scan):
    first, second, third, *others = scan.objects
    objects = (replace(first, vertices=np.zeros(0, int)), replace(second, label=" "), replace(third, vertices=None))
    notes = find_objects("scan", replace(scan, objects=(*objects, *others))).notes
    assert [note.rpartition("objects have ")[2] for note in notes] == [
        "no vertices and are marked nowhere: 0",
        "an empty label: 1",
    ]
    assert find_objects("scan", scan).notes == ()


def test_a_scene_of_walls_alone_is_noted(scan):
    walls = tuple(replace(one, label="wall") for one in scan.objects)
    notes = open_scene(scan, lambda _: FoundObjects(walls)).scan.notes
    assert notes[-1].endswith("all 7 objects are ceiling, floor, wall, which get no numbers")


ALIGNED = {"objects": [{"id": 0, "label": "x", "center": [0, 0, 0.7], "size": [1, 1, 0.1]}]}


@pytest.mark.parametrize("key", ["axis_align", "align"])
@pytest.mark.parametrize("same", [True, False])
def test_boxes_of_another_frame_are_refused(scan, tmp_path, key, same):
    align = np.eye(4) if same else np.diag([1.0, -1, -1, 1])
    more = {"settings": {}} if key == "align" else {}
    (tmp_path / "boxes.json").write_text(json.dumps({**ALIGNED, **more, key: align.tolist()}))
    if same:
        found = find_objects(f"boxes:{tmp_path / 'boxes.json'}", scan)
        assert len(found.objects) == 1 and found.notes == ()
        return
    with pytest.raises(DataError, match=rf"boxes.json: its {key} is not how this scene is aligned.*axis_align.txt"):
        find_objects(f"boxes:{tmp_path / 'boxes.json'}", scan)


def test_units_beside_the_scenes_are_seen(scan, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({"units": "cm", scan.scene_id: ALIGNED}))
    with pytest.raises(DataError, match="the units is 'cm', but boxes are in metres"):
        find_objects(f"boxes:{tmp_path / 'boxes.json'}", scan)
