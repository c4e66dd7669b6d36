"""COLMAP workspaces as its commands leave them: which model, which images and which geometry are taken."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.colmap import read_colmap
from gpt4scene.scans.colmap_files import read_images
from gpt4scene.scans.ply import write_ply
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.types import Mesh
from gpt4scene.scans.unused import Unused, unused_files

PLAIN, BENT = "1 PINHOLE 40 30 30 30 20 15", "1 SIMPLE_RADIAL 40 30 30 20 15 0.1"
DISTORTED = ["SIMPLE_RADIAL_FISHEYE 40 30 30 20 15 0", "FOV 40 30 30 30 20 15 0", "OPENCV 40 30 30 30 20 15 0 0 0 1e-9"]
NAMES = ("a.png", "b.png")


def model(folder, camera=PLAIN, names=NAMES, points=True):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.txt").write_text(f"\ufeff# Cameras\n\n{camera}\n")
    lines = [f"{number} 1 0 0 0 {number} 0 0 1 {name}\n1 2 -1 3 4 7" for number, name in enumerate(names)]
    (folder / "images.txt").write_text("# Images\n" + "\n".join(lines) + "\n")
    if points:
        (folder / "points3D.txt").write_text("1 1 2 3 255 0 0 0.1 0 0 1 0 2 0\n")


def images(folder, shade=0, names=NAMES):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30), shade).save(folder / name)


def cloud(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ply(path, Mesh(np.full((5, 3), 7.0), np.zeros((0, 3), int), np.zeros((5, 3), np.uint8)))


def unused(folder):
    reader = SCAN_READERS["colmap"]
    return unused_files(reader.read(folder), reader.reads(folder))


def workspace(folder):
    """What ``automatic_reconstructor --dense 1`` leaves: a distorted model, and an undistorted one below ``dense``."""
    model(folder / "sparse/0", BENT)
    images(folder / "images", 10)
    model(folder / "dense/0/sparse")
    images(folder / "dense/0/images", 20)
    cloud(folder / "dense/0/fused.ply")
    return folder


def test_the_undistorted_model_is_taken_with_its_own_images_and_geometry(tmp_path):
    scan = read_colmap(workspace(tmp_path / "room"))
    assert {frame.image.parent for frame in scan.frames} == {tmp_path / "room/dense/0/images"}
    assert len(scan.mesh.vertices) == 5
    assert len(scan.notes) == 1 and "sparse/0: has lens distortion" in scan.notes[0]
    assert unused(tmp_path / "room") == Unused((), ("2 x images/*.png", "3 x sparse/0/*.txt"))


def test_where_all_models_are_distorted_the_first_is_refused(tmp_path):
    folder = workspace(tmp_path / "room")
    shutil.rmtree(folder / "dense")
    with pytest.raises(DataError, match="sparse/0/cameras.txt, line 3: camera model SIMPLE_RADIAL has lens distortion"):
        read_colmap(folder)


@pytest.mark.parametrize("camera", DISTORTED)
def test_distorted_models_are_refused_by_name(tmp_path, camera):
    model(tmp_path / "sparse/0", f"1 {camera}")
    images(tmp_path / "images")
    with pytest.raises(DataError, match=f"camera model {camera.split()[0]} has lens distortion"):
        read_colmap(tmp_path)


def test_other_models_are_named_and_not_taken_for_read(tmp_path):
    model(tmp_path / "sparse/0")
    model(tmp_path / "sparse/1", names=("c.png",))
    images(tmp_path / "images", names=("a.png", "b.png", "c.png"))
    scan = read_colmap(tmp_path)
    assert len(scan.frames) == 2 and len(scan.notes) == 1
    assert f"{tmp_path}/sparse/1: is a model of other images" in scan.notes[0]
    assert unused(tmp_path).counts == ("1 x images/*.png", "3 x sparse/1/*.txt")


@pytest.mark.parametrize("place", ["mesh.ply", "sparse/fused.ply", "sparse/0/points3D.ply", "dense/0/fused.ply"])
def test_geometry_is_found_around_the_model_and_counts_as_read(tmp_path, place):
    model(tmp_path / "sparse/0")
    images(tmp_path / "images")
    cloud(tmp_path / place)
    assert len(read_colmap(tmp_path).mesh.vertices) == 5 and unused(tmp_path) == Unused()


def test_a_second_geometry_is_named(tmp_path):
    model(tmp_path / "sparse/0")
    images(tmp_path / "images")
    cloud(tmp_path / "mesh.ply")
    cloud(tmp_path / "dense/fused.ply")
    assert unused(tmp_path) == Unused((), ("1 x dense/*.ply",))


@pytest.mark.parametrize(
    "names", [("my room 1.png", "my room 2.png"), ("left/a.PNG", "left/b.png"), ("1 2 3.png", "4.png")]
)
@pytest.mark.parametrize("windows", [False, True])
def test_names_of_images_may_hold_spaces_and_folders(tmp_path, names, windows):
    model(tmp_path / "sparse/0", names=[name.replace("/", "\\") for name in names] if windows else names)
    images(tmp_path / "images", names=names)
    assert [frame.image.name for frame in read_colmap(tmp_path).frames] == [name.split("/")[-1] for name in names]


@pytest.mark.parametrize("second", ["", "1 2 -1", "1 2 -1 3 4 7", "1 2 -1 3 4 7 5 6 -1", "1 2 -1 " * 10, None])
@pytest.mark.parametrize("comments", [False, True])
def test_the_line_of_points_is_none_of_an_image(tmp_path, second, comments):
    lines = []
    for number in range(5):
        lines += [f"{number} 1 0 0 0 0 0 0 1 {number:04d}.png", *([] if second is None else [second])]
        lines += ["# between"] if comments else []
    (tmp_path / "images.txt").write_text("\n".join(lines))
    assert [row.name for row in read_images(tmp_path / "images.txt")] == [f"{number:04d}.png" for number in range(5)]


@pytest.mark.parametrize("line", ["0 0 0 0 0 0 0 0 1 a.png", "0 nan 0 0 0 0 0 0 1 a.png"])
def test_a_quaternion_that_is_no_rotation_is_named_with_its_row(tmp_path, line):
    model(tmp_path / "sparse/0")
    images(tmp_path / "images")
    (tmp_path / "sparse/0/images.txt").write_text(f"# Images\n{line}\n")
    with pytest.raises(DataError, match="images.txt, line 2: a quaternion of length zero"):
        read_colmap(tmp_path)


def test_images_of_several_folders_are_told_apart(tmp_path):
    names = ("left/1.png", "left/2.png", "right/1.png")
    model(tmp_path / "sparse/0", names=names)
    images(tmp_path / "images", names=names)
    scan = read_colmap(tmp_path)
    assert [frame.name for frame in scan.frames] == ["left_1", "left_2", "right_1"]
    assert [frame.camera.pose[0, 3] for frame in scan.frames] == [0, -1, -2]


def test_a_model_in_another_place_is_seen(tmp_path):
    model(tmp_path / "sparse/1")
    images(tmp_path / "images")
    with pytest.raises(DataError, match="has no COLMAP model .*; seen one in .*sparse/1: move it to .*sparse/0"):
        read_colmap(tmp_path)


@pytest.mark.parametrize("there, hint", [("a.webp", ""), ("a.HEIC", " .HEIC is not read: save it as .jpg.")])
@pytest.mark.parametrize("others", [True, False])
def test_files_of_another_ending_are_seen(tmp_path, there, hint, others):
    model(tmp_path / "sparse/0")
    images(tmp_path / "images", names=("b.png",))
    (tmp_path / "images" / there).write_bytes(b"image")
    if others:
        said = read_colmap(tmp_path).notes[0]
    else:
        (tmp_path / "images/b.png").unlink()
        with pytest.raises(DataError) as caught:
            read_colmap(tmp_path)
        said = str(caught.value)
    assert re.search(rf"a.png; seen \S*images/{there}: name it as the list does.*{hint}", said)
