"""Images as phones and other tools store them: turned, grey, deep, see-through, upright; one frame; odd objects."""

import json

import numpy as np
import pytest
from commands import prepare as main
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.images import depth_files, image_files, read_color, read_depth
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Camera, Frame

COLORS = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)


def frame_of(path, width=40, height=30):
    return Frame("a", path, Camera(np.eye(3), np.eye(4), width, height))


def test_grey_deep_indexed_and_transparent_images_become_plain_colour(tmp_path):
    grey = COLORS[..., 0]
    hidden = np.where(grey > 99, 0, 255).astype(np.uint8)  # seen through, or not: what lies below is white
    kinds = {
        "grey": (Image.fromarray(grey), grey),
        "deep": (Image.fromarray(grey.astype(np.uint16) * 257), grey),
        "alpha": (Image.fromarray(np.dstack([COLORS, hidden])), np.where(hidden[..., None] > 0, COLORS, 255)),
        "indexed": (Image.fromarray(grey).convert("P"), grey),
    }
    for name, (image, expected) in kinds.items():
        image.save(tmp_path / f"{name}.png")
        found = read_color(frame_of(tmp_path / f"{name}.png"))
        assert found.dtype == np.uint8 and found.shape == (30, 40, 3)
        assert np.array_equal(found, expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, 2)), name


def turned(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLORS).save(path, exif=exif)
    return path


def test_stored_pixels_count_and_are_turned_only_where_nothing_else_fits(tmp_path):
    path = turned(tmp_path / "a.png", 6)  # shown turned by a quarter to the right
    assert np.array_equal(read_color(frame_of(path)), COLORS)
    assert np.array_equal(read_color(frame_of(path, 30, 40)), np.rot90(COLORS, -1))
    with pytest.raises(DataError, match="40x30 pixels but the camera says 31x40"):
        read_color(frame_of(path, 31, 40))
    plain = tmp_path / "plain.png"
    Image.fromarray(COLORS).save(plain)
    with pytest.raises(DataError, match="40x30 pixels but the camera says 30x40"):
        read_color(frame_of(plain, 30, 40))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_folder_that_leaves_the_turn_open_is_refused_with_the_way_out(make_room, tmp_path, orientation):
    folder = make_room(2, 40, 30).write(tmp_path / "room", align=np.eye(4))
    turned(folder / "images" / "00000.png", orientation)
    with pytest.raises(DataError, match="00000.png: is stored turned.*exiftran"):
        read_posed(folder)


def prepared(folder, out, *more):
    assert main(["--scans", str(folder), "--out", str(out), "--bev_size", "200", *more]) == 0
    return json.loads((out / "scenes" / folder.name / "scene.json").read_text())


def test_upright_images_and_a_single_frame(make_room, tmp_path):
    folder = make_room(1, 150, 220).write(tmp_path / "room", align=np.eye(4))
    scene = prepared(folder, tmp_path / "out", "--contact_sheet", "--outlines")
    (frame,) = scene["frames"]  # 32 were asked for, one is there
    assert (frame["width"], frame["height"]) == (150, 220) and len(frame["markers"]) >= 3
    assert Image.open(tmp_path / "out" / frame["image"]).size == (150, 220)
    assert all(marker["label_box"][2] <= 150 and marker["label_box"][3] <= 220 for marker in frame["markers"])


def test_labels_of_any_script_and_large_numbers(make_room, tmp_path, capsys):
    folder = make_room(2, 160, 120).write(tmp_path / "room", align=np.eye(4))
    content = json.loads((folder / "objects.json").read_text())
    content["objects"][0].update(label="M\u00f6bel \u5bb6\u5177 " * 5, id=999)
    content["objects"][1].update(label="")
    (folder / "objects.json").write_text(json.dumps(content))
    scene = prepared(folder, tmp_path / "out", "--contact_sheet")
    assert scene["objects"][-1]["id"] == 999 and scene["objects"][-1]["label"].startswith("M\u00f6bel \u5bb6\u5177")
    for number, sentence in ((1000, "numbers end at 999"), (10**12, "numbers end at 999"), (1.5, "no whole number")):
        content["objects"][0]["id"] = number
        (folder / "objects.json").write_text(json.dumps(content))
        assert main(["--scans", str(folder), "--out", str(tmp_path / str(number))]) == 1
        assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_depth_of_another_resolution_gives_the_same_markers(make_room, tmp_path):
    room = make_room(2, 200, 150)
    whole = prepared(room.write(tmp_path / "room", mesh=False, align=np.eye(4)), tmp_path / "whole")
    folder = tmp_path / "room"
    for path in (folder / "depth").iterdir():
        depth = np.asarray(Image.open(path))
        Image.fromarray(np.repeat(np.repeat(depth, 2, 0), 2, 1)).save(path)
    double = prepared(folder, tmp_path / "double")
    for a, b in zip(whole["frames"], double["frames"], strict=True):
        assert [marker["id"] for marker in a["markers"]] == [marker["id"] for marker in b["markers"]]


def depth_frame(path):
    camera = Camera(np.eye(3), np.eye(4), 40, 30)
    return Frame("a", path, camera, path, camera)


@pytest.mark.parametrize("ending", ["png", "tiff", "pgm"])
def test_the_largest_number_is_no_reading(tmp_path, ending):
    depth = np.full((30, 40), 2000, dtype=np.uint16)
    depth[0, :5] = (0, 65535, 65534, 1, 65535)
    Image.fromarray(depth).save(tmp_path / f"a.{ending}")
    found = read_depth(depth_frame(tmp_path / f"a.{ending}"))
    assert found[0, :6].tolist() == pytest.approx([0, 0, 65.534, 0.001, 0, 2])


def test_depth_of_8_bits_and_of_fractions_is_refused(tmp_path):
    for name, values in (("a.png", np.uint8), ("b.tiff", np.float32)):
        Image.fromarray(np.ones((30, 40), dtype=values)).save(tmp_path / name)
        with pytest.raises(DataError, match=f"{name}: depth must be"):
            read_depth(depth_frame(tmp_path / name))


def test_depth_in_other_formats_is_named(tmp_path):
    assert depth_files(tmp_path / "none") == {}
    np.save(tmp_path / "a.npy", np.ones((3, 3)))
    with pytest.raises(DataError, match="seen .npy files, which are not read as depth"):
        depth_files(tmp_path)
    Image.fromarray(np.ones((3, 3), dtype=np.uint16)).save(tmp_path / "a.png")
    assert list(depth_files(tmp_path)) == ["a"]


@pytest.mark.parametrize("ending", [".heic", ".mov", ".webp"])
def test_images_in_other_formats_are_named(tmp_path, ending):
    (tmp_path / f"a{ending}").write_bytes(b"image")
    with pytest.raises(DataError, match=f"seen {ending} files, which are not read"):
        image_files(tmp_path)
