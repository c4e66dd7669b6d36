"""Files that a reader passes over are named, and a name that is nearly a known one is said to be."""

import shutil

import pytest

from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.unused import Unused, unused_files


def unused(name, folder):
    reader = SCAN_READERS[name]
    return unused_files(reader.read(folder), reader.reads(folder))


SLIPS = {
    "axis_align.txt": "axis-align.txt",
    "objects.json": "object.json",
    "mesh.ply": "mesh.PLY",
    "depth_intrinsics.txt": "depth_intrinsic.txt",
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips_of_names_are_named(box_room_folder, tmp_path, name):
    folder = shutil.copytree(box_room_folder, tmp_path / "boxes")
    assert unused("posed", folder) == Unused()
    if (folder / name).is_file():
        (folder / name).rename(folder / SLIPS[name])
        shutil.rmtree(folder / "masks", ignore_errors=True)
        if name != "objects.json":
            (folder / "objects.json").unlink()
    else:
        (folder / SLIPS[name]).write_text("1 0 0 0 1 0 0 0 1")
    found = unused("posed", folder)
    assert SLIPS[name] in found.names and found.slips == (f"{SLIPS[name]} is not read; did you mean '{name}'?",)


def test_a_second_file_of_a_kind_is_no_slip(box_room_folder, tmp_path):
    folder = shutil.copytree(box_room_folder, tmp_path / "boxes")
    shutil.copy(folder / "poses.txt", folder / "poses_old.txt")
    shutil.copy(folder / "images" / "00000.png", folder / "depth" / "99999.png")
    found = unused_files(read_posed(folder), SCAN_READERS["posed"].reads(folder))
    assert found == Unused(("poses_old.txt",), ("1 x depth/*.png",))
