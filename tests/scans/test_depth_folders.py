"""Depth folders beside images: matched by name in every format, and what is missing or not read is told."""

import numpy as np
import pytest
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.images import depth_files, image_files, read_depth
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.scannet import read_scannet
from gpt4scene.scans.tum import read_tum

DEPTH = np.full((30, 40), 2000, np.uint16)


def posed(folder):
    (folder / "poses.txt").write_text("\n".join(" ".join(map(str, np.eye(4).ravel())) for _ in range(3)))
    (folder / "intrinsics.txt").write_text("\ufeff# camera\n\n30 0 20\n0 30 15\n0 0 1\n")
    return folder / "images", folder / "depth"


def scannet(folder):
    (folder / "intrinsic").mkdir()
    (folder / f"{folder.name}.sens").write_bytes(b"")
    for kind in ("color", "depth"):
        (folder / "intrinsic" / f"intrinsic_{kind}.txt").write_text("30 0 20\n0 30 15\n0 0 1\n")
    (folder / "pose").mkdir()
    for number in range(3):
        np.savetxt(folder / "pose" / f"{number}.5.txt", np.eye(4))
    return folder / "color", folder / "depth"


def arkit(folder):
    (folder / "lowres_wide.traj").write_text("".join(f"{number}.5 0 0 0 0 0 0\n" for number in range(3)))
    (folder / "lowres_wide_intrinsics").mkdir()
    for number in range(3):
        (folder / "lowres_wide_intrinsics" / f"{number}.5.pincam").write_text("40 30 30 30 20 15\n")
    return folder / "lowres_wide", folder / "lowres_depth"


FORMATS = {"posed": posed, "scannet": scannet, "arkit": arkit}


@pytest.fixture(params=FORMATS)
def recording(request, tmp_path):
    """A reader, the scan's folder, and the folder of depth images, which is still empty."""
    folder = tmp_path / "room"
    folder.mkdir()
    colors, depths = FORMATS[request.param](folder)
    colors.mkdir()
    depths.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30)).save(colors / f"{number}.5.jpg")
    return SCAN_READERS[request.param].read, folder, depths


@pytest.mark.parametrize("ending", ["png", "PNG", "tiff", "tif", "pgm"])
def test_depth_is_matched_by_name_whatever_its_format(recording, ending):
    read, folder, depths = recording
    for number in range(3):
        Image.fromarray(DEPTH).save(depths / f"{number}.5.{ending}")
    scan = read(folder)
    assert scan.notes == () and all(np.allclose(read_depth(frame), 2) for frame in scan.frames)


def test_images_without_depth_are_counted(recording):
    read, folder, depths = recording
    Image.fromarray(DEPTH).save(depths / "1.5.png")
    notes = read(folder).notes
    assert len(notes) == 1 and "2 of 3 images have no depth image" in notes[0]


def test_depth_images_of_other_names_are_refused(recording):
    read, folder, depths = recording
    for number in range(3):
        Image.fromarray(DEPTH).save(depths / f"depth_{number}.5.png")
    with pytest.raises(DataError, match="none of its 3 depth images is called as a colour image is .depth_0.5.png"):
        read(folder)


@pytest.mark.parametrize("ending", ["npy", "exr", "bin", "npz"])
def test_depth_that_is_not_read_is_named(recording, ending):
    read, folder, depths = recording
    for number in range(3):
        (depths / f"{number}.5.{ending}").write_bytes(b"depth")
    with pytest.raises(DataError, match=f"seen .{ending} files, which are not read as depth"):
        read(folder)


def test_two_depth_images_of_one_name_are_refused(tmp_path):
    for ending in ("png", "tiff"):
        Image.fromarray(DEPTH).save(tmp_path / f"a.{ending}")
    with pytest.raises(DataError, match="two depth images are called 'a'"):
        depth_files(tmp_path)


@pytest.mark.parametrize("name", ["rgb", "color", "Images", "frames"])
def test_images_in_another_folder_are_seen(tmp_path, name):
    for other in (name, "depth"):
        (tmp_path / other).mkdir()
        Image.fromarray(DEPTH).save(tmp_path / other / "a.png")
    with pytest.raises(DataError, match=f"; seen {name}/ with images: call it images/"):
        image_files(tmp_path / "images")


@pytest.mark.parametrize(
    "names, noted", [("1 2 10", True), ("01 02 10", False), ("a1 b2 c10", False), ("f9a f10a x", True)]
)
def test_names_that_sort_as_texts_only_are_told(tmp_path, names, noted):
    colors, _ = posed(tmp_path)
    colors.mkdir()
    for name in names.split():
        Image.new("RGB", (40, 30)).save(colors / f"{name}.jpg")
    notes = read_posed(tmp_path).notes
    assert len(notes) == noted and all("names sort as texts" in note for note in notes)


@pytest.mark.parametrize("quaternion", ["0 0 0 0", "0 0 0 1"])
@pytest.mark.parametrize("line", ["1.0 rgb/my frame.png", "1.0  rgb\\my frame.png", '1.0 "rgb/my frame.png"  # first'])
def test_lists_of_tum_take_names_as_they_are_and_refuse_no_rotation(tmp_path, line, quaternion):
    (tmp_path / "rgb").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "rgb/my frame.png")
    (tmp_path / "rgb.txt").write_text(f"\ufeff# images\n\n{line}\n")
    (tmp_path / "groundtruth.txt").write_text(f"# poses\n1.0 0 0 0 {quaternion}\n")
    if quaternion == "0 0 0 0":
        with pytest.raises(DataError, match="groundtruth.txt, time 1.000000: a quaternion of length zero"):
            read_tum(tmp_path)
    else:
        assert read_tum(tmp_path).frames[0].name == "my frame"


def test_an_annotation_without_its_mesh_is_said(tmp_path):
    folder = tmp_path / "room"
    folder.mkdir()
    colors, _ = scannet(folder)
    colors.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30)).save(colors / f"{number}.5.jpg")
    (folder / "room.aggregation.json").write_text('{"segGroups": []}')
    assert "room.aggregation.json: is not used" in read_scannet(folder).notes[0]
