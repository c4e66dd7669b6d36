"""Objects from elsewhere: what cannot be used is refused with its place, what is left out is said."""

import json

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.scans.posed import read_posed
from gpt4scene.scenes.object_sources import find_objects

BOX = {"id": 3, "label": "chair", "center": [0, 0, 0.5], "size": [1, 1, 1]}


@pytest.fixture(scope="module")
def scan(box_room_folder):
    return read_posed(box_room_folder)


@pytest.fixture
def export(scan, tmp_path):
    """Writes a Mask3D export with the lines given, and mask files with ``off`` lines too many."""

    def write(*lines, off=0):
        (tmp_path / "pred_mask").mkdir()
        for name, some in (("a", [0, 1, 2]), ("empty", [])):
            values = np.zeros(len(scan.mesh.vertices) + off, int)
            values[some] = 1
            (tmp_path / "pred_mask" / f"{name}.txt").write_text("\n".join(map(str, values)))
        (tmp_path / f"{scan.scene_id}.txt").write_text("\n".join(lines) + "\n")
        return f"mask3d:{tmp_path}"

    return write


GOOD = "pred_mask/a.txt 2 0.9"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pred_mask/a.txt 2 nan", ("boxes.txt, line 2", "score 'nan'")),
        ("pred_mask/a.txt 2 inf", ("boxes.txt, line 2", "score 'inf'")),
        ("pred_mask/a.txt 2 high", ("boxes.txt, line 2", "score 'high'")),
        ("pred_mask/a.txt 9999 0.5", ("boxes.txt, line 2", "class 9999", "labels.json")),
        ("pred_mask/a.txt chair 0.5", ("boxes.txt, line 2", "mask-file class score")),
        ("pred_mask/a.txt 2", ("boxes.txt, line 2", "mask-file class score")),
        ("pred_mask/gone.txt 2 0.5", ("gone.txt",)),
    ],
)
def test_proposals_that_cannot_be_are_named(scan, export, line, words):
    with pytest.raises(DataError) as caught:
        find_objects(export(GOOD, line), scan)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("off", [-1, 1])
def test_masks_of_another_mesh_are_refused(scan, export, off):
    count = len(scan.mesh.vertices)
    with pytest.raises(DataError, match=f"{count + off} lines for {count} vertices"):
        find_objects(export(GOOD, off=off), scan)


def test_proposals_that_are_left_out_are_counted(scan, export):
    found = find_objects(export(*[GOOD] * 101, "pred_mask/empty.txt 2 0.1"), scan)
    assert len(found.objects) == 100 and "lists 102 proposals; the first 100 are used" in found.notes[0]


def test_empty_proposals_are_named(scan, export):
    found = find_objects(export(GOOD, "pred_mask/empty.txt 2 0.1"), scan)
    assert len(found.objects) == 2 and "1 proposals have no vertices and are marked nowhere: 1" in found.notes[0]


def test_an_export_without_proposals_is_noted(scan, export):
    found = find_objects(export(), scan)
    assert not found.objects and "gives no object" in found.notes[0]


@pytest.mark.parametrize("others", [[], ["scene0011_00.txt"]])
def test_an_export_without_this_scene_says_what_it_has(scan, tmp_path, others):
    for name in others:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="boxes.txt: is missing.*" + ("scene0011_00.txt" if others else "none at all")):
        find_objects(f"mask3d:{tmp_path}", scan)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"size": [1, -1, 1]}, "is not a box"),
        ({"size": [1, 1]}, "three numbers"),
        ({"size": [1, 1, float("nan")]}, "is not a box"),
        ({"center": ["a", 0, 0]}, "three numbers"),
        ({"id": 1}, "used twice"),
        ({"id": -2}, "negative"),
        ({"id": 2.5}, "no whole number"),
        ({"id": True}, "whole number"),
        ({"label": 7}, "label a text"),
        ({"yaw": 0.3}, "'yaw' turns the box"),
        ({"rotation": [0, 0, 0.5]}, "'rotation' turns the box"),
        ({"heading_angle": 1}, "'heading_angle' turns the box"),
        ({"quaternion": [0.7, 0, 0, 0.7]}, "'quaternion' turns the box"),
        ({"units": "mm"}, "in metres"),
    ],
)
def test_boxes_that_cannot_be_are_named(scan, tmp_path, change, word):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"objects": [{**BOX, "id": 1}, {**BOX, **change}]}))
    with pytest.raises(DataError) as caught:
        find_objects(f"boxes:{path}", scan)
    assert f"{path}, object 1: " in str(caught.value) and word in str(caught.value)


@pytest.mark.parametrize("more", [{"yaw": 0}, {"rotation": [0.0, 0.0, 0.0]}, {"color": "red"}, {"units": "m"}])
def test_keys_that_change_no_box_are_noted(scan, tmp_path, more):
    (tmp_path / "boxes.json").write_text(json.dumps({"objects": [{**BOX, **more}]}))
    found = find_objects(f"boxes:{tmp_path / 'boxes.json'}", scan)
    assert [item.id for item in found.objects] == [3] and repr(next(iter(more))) in found.notes[0]


def test_a_file_of_many_scenes(scan, tmp_path):
    path = tmp_path / "all.json"
    path.write_text(json.dumps({scan.scene_id: {"objects": [BOX]}, "other": {"objects": []}}))
    assert [item.label for item in find_objects(f"boxes:{path}", scan).objects] == ["chair"]
    path.write_text(json.dumps({"other": {"objects": []}}))
    with pytest.raises(DataError, match="neither 'objects' nor an entry for scene 'boxes'"):
        find_objects(f"boxes:{path}", scan)
