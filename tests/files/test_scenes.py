"""The folder of prepared scenes: what is finished, what is damaged, and what a split's files hold."""

import json

import pytest
import torch

from gpt4scene.errors import DataError
from gpt4scene.files.scenes import (
    bev_image,
    finished_scenes,
    frame_image,
    read_scene,
    scene_json,
    unmarked,
    write_scene,
    write_split_files,
)

CHAIR = {"id": 1, "label": "chair", "center": [0.0, 1.0, 2.0], "size": [1.0, 1.0, 1.0]}


def description(scene_id, split="val", frames=1, keep_unmarked=False, ground_truth=()):
    return {
        "scene_id": scene_id,
        "settings": {"split": split, "frames": frames, "keep_unmarked": keep_unmarked},
        "objects": [CHAIR],
        "ground_truth": list(ground_truth),
        "bev": {"image": bev_image(scene_id)},
        "frames": [{"image": frame_image(scene_id, "000")}],
    }


def test_a_split_lists_its_own_finished_scenes_by_name(tmp_path):
    for scene in (description("b"), description("a"), description("c", split="train"), description("d", frames=2)):
        write_scene(tmp_path, scene)
    assert [name for name, _ in finished_scenes(tmp_path, "val", 1)] == ["a", "b"]
    assert read_scene(scene_json(tmp_path, "a")) == description("a")
    write_split_files(tmp_path, "val", 1)
    images = json.loads((tmp_path / "selected_images_mark_3D_val_1.json").read_text())
    assert images == {name: [f"images_3D/{name}/bev.jpg", f"images_2D/{name}/000.jpg"] for name in "ab"}


def test_annotated_objects_stand_apart_from_marked_ones_where_there_are_any(tmp_path):
    write_scene(tmp_path, description("a", ground_truth=[{**CHAIR, "id": 0, "label": "sofa"}]))
    write_scene(tmp_path, description("b"))
    written = write_split_files(tmp_path, "val", 1)
    assert [path.name for path in written[1:]] == ["scannet_val_attributes.pt", "scannet_mask3d_val_attributes.pt"]
    annotated, marked = (torch.load(path, weights_only=True) for path in written[1:])
    assert annotated["a"]["objects"] == ["sofa"] and annotated["b"]["objects"] == ["", "chair"]
    assert marked["a"]["objects"] == ["", "chair"]


def test_twins_without_markers_are_listed_where_they_were_kept(tmp_path):
    write_scene(tmp_path, description("a", keep_unmarked=True))
    write_scene(tmp_path, description("b"))
    write_split_files(tmp_path, "val", 1)
    listed = json.loads((tmp_path / "selected_images_3D_val_1.json").read_text())
    assert listed == {"a": ["images_3D_unmarked/a/bev.jpg", "images_2D_unmarked/a/000.jpg"]}
    assert unmarked("images_2D/a/000.jpg") == "images_2D_unmarked/a/000.jpg"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 100_000], ids=["empty", "cut", "list", "bare", "deep"])
def test_a_damaged_description_says_what_to_do(tmp_path, text):
    path = scene_json(tmp_path, "a")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DataError, match=r"scene\.json: is damaged; remove it and prepare the scene again"):
        read_scene(path)
