"""Which images a page shows: those of the annotation folder's list, or those that a benchmark's rows bring."""

import json

import pytest
from PIL import Image

from gpt4scene.report.images import Listed, copy_scene

MARKED, OWN = "selected_images_mark_3D_val_2.json", "images_mmsi_{split}.json"


@pytest.fixture
def folder(tmp_path):
    for name in ("top", "first", "second"):
        Image.new("RGB", (1200, 900)).save(tmp_path / f"{name}.png")
    (tmp_path / MARKED).write_text(json.dumps({"room": ["top.png", "first.png"]}))
    (tmp_path / OWN.format(split="val")).write_text(json.dumps({"set": ["first.png", "second.png"]}))
    return tmp_path


def test_a_benchmark_shows_the_images_of_its_own_list(folder):
    shown = copy_scene(Listed.read(folder, OWN), "set", None, folder / "out", "images/set")
    assert [(image.name, image.width) for image in shown] == [("first", 640), ("second", 640)]


def test_the_first_image_of_a_room_is_the_birds_eye_view(folder):
    shown = copy_scene(Listed.read(folder), "room", None, folder / "out", "images/room")
    assert [(image.name, image.width) for image in shown] == [("bird's-eye view", 1000), ("first", 640)]


def test_a_video_of_a_list_is_said_to_be_one(folder):
    (folder / "walk.mp4").write_bytes(b"x")
    (folder / MARKED).write_text(json.dumps({"room": ["walk.mp4"]}))
    (shown,) = copy_scene(Listed.read(folder), "room", None, folder / "out", "images/room")
    assert shown.missing == "walk.mp4 is a video, of which pages show nothing"


def test_without_a_list_of_its_own_the_marked_images_are_shown(folder):
    (folder / OWN.format(split="val")).unlink()
    assert Listed.read(folder, OWN) == Listed.read(folder)
