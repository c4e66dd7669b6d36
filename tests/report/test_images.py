"""Which images a page shows: those of the annotation folder's list, or those that a benchmark's rows bring."""

import json

import pytest
from PIL import Image
from videos import write_frames, write_video

from gpt4scene.report.images import Listed, copy_scene, own_videos

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


def test_a_few_frames_of_a_video_are_shown_or_why_there_are_none(folder):
    write_video(folder / "walk.mp4", frames=50, rate=10, turned=90)
    write_frames(folder / "steps", 9)
    (folder / "torn.mp4").write_bytes(b"x")
    (folder / MARKED).write_text(json.dumps({"room": ["walk.mp4", "steps", "torn.mp4"]}))
    *shown, torn = copy_scene(Listed.read(folder), "room", None, folder / "out", "images/room")
    assert [image.name for image in shown[-4:]] == [f"steps, a frame of the video ({one})" for one in (0, 2, 5, 8)]
    assert len(shown) > 4 and all((image.width, image.height) == (48, 64) for image in shown[:-4])
    assert [image.name for image in shown[:1]] == ["walk, a frame of the video (0 s)"]
    assert all((folder / "out" / str(image.file)).is_file() for image in shown)
    assert torn.file is None and "torn.mp4: can't be read as a video" in torn.missing


def test_videos_of_questions_go_before_the_list_that_was_not_shown(folder):
    write_frames(folder / "steps", 2)
    rows = [{"scene_id": "room", "prompt": "?", "videos": ["steps"]}, {"scene_id": "other", "prompt": "?"}]
    (folder / "scanqa_val.json").write_text(json.dumps(rows))
    (listed,) = own_videos(folder, ["scanqa", "sqa3d"])
    assert list(listed.scenes) == ["room"]
    shown = copy_scene(listed, "room", None, folder / "out", "images/room")
    assert [image.name for image in shown] == [f"steps, a frame of the video ({one})" for one in (0, 1)]
    (folder / "steps" / "0.png").unlink()
    (folder / "steps" / "1.png").unlink()
    (folder / "steps").rmdir()
    (shown,) = copy_scene(listed, "room", None, folder / "out", "images/room")
    assert "steps was not found; tried " in shown.missing


def test_without_a_list_of_its_own_the_marked_images_are_shown(folder):
    (folder / OWN.format(split="val")).unlink()
    assert Listed.read(folder, OWN) == Listed.read(folder)
