"""Damaged files of every kind end in one sentence that names the file; never in a crash, never in a flood of memory."""

import json
import shutil
import struct
import zlib

import numpy as np
import pytest
from commands import prepare as main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.ply import read_ply, write_ply
from gpt4scene.scans.posed import read_posed


@st.composite
def damage(draw, size):
    """Changes (place, byte) and a length to cut to, for a file of so many bytes."""
    places = st.one_of(st.integers(0, min(size, 400) - 1), st.integers(0, size - 1))
    changes = draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4))
    return changes, draw(st.one_of(st.just(size), st.integers(0, size)))


def damaged(blob, changes, length):
    blob = bytearray(blob)
    for place, value in changes:
        blob[place] = value
    return bytes(blob[:length])


@pytest.fixture(scope="module")
def ply_bytes(box_room, tmp_path_factory):
    path = tmp_path_factory.mktemp("ply") / "mesh.ply"
    write_ply(path, box_room.mesh)
    return path.read_bytes()


@pytest.mark.slow
@settings(max_examples=200)
@given(data=st.data())
def test_meshes(ply_bytes, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "mesh.ply"
    path.write_bytes(damaged(ply_bytes, *data.draw(damage(len(ply_bytes)))))
    try:
        mesh = read_ply(path)
    except DataError as error:
        assert "mesh.ply" in str(error)
    else:
        assert np.isfinite(mesh.vertices).all() and len(mesh.colors) == len(mesh.vertices)
        assert not len(mesh.faces) or mesh.faces.max() < len(mesh.vertices)


@pytest.fixture(scope="module")
def small_folder(make_room, tmp_path_factory):
    return make_room(2, 40, 30).write(tmp_path_factory.mktemp("small") / "room", align=np.eye(4))


NAMES = [
    "poses.txt",
    "intrinsics.txt",
    "axis_align.txt",
    "objects.json",
    "masks/3.txt",
    "images/00000.png",
    "depth/00001.png",
]


@pytest.mark.slow
@settings(max_examples=150)
@given(data=st.data())
def test_posed_folders(small_folder, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz") / "room"
    shutil.copytree(small_folder, folder)
    path = folder / data.draw(st.sampled_from(NAMES))
    path.write_bytes(damaged(path.read_bytes(), *data.draw(damage(path.stat().st_size))))
    try:
        for frame in read_posed(folder).frames:
            read_color(frame)
            read_depth(frame)
    except DataError as error:
        assert "room" in str(error)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whole_runs(small_folder, tmp_path_factory, capsys, data):
    folder = tmp_path_factory.mktemp("fuzz") / "room"
    shutil.copytree(small_folder, folder)
    path = folder / data.draw(st.sampled_from([*NAMES, "mesh.ply"]))
    path.write_bytes(damaged(path.read_bytes(), *data.draw(damage(path.stat().st_size))))
    call = ["--scans", str(folder), "--out", str(folder.parent / "out"), "--frames", "1", "--bev_size", "64"]
    status = main(call)
    assert status in (0, 1)
    said = capsys.readouterr().err
    assert status == 0 or str(folder) in said, said


def test_a_image_that_claims_gigapixels_is_refused_by_its_header(small_folder, tmp_path):
    folder = tmp_path / "room"
    shutil.copytree(small_folder, folder)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (folder / "images" / "00000.png").write_bytes(bomb)
    with pytest.raises(DataError, match=r"00000\.png"):
        read_posed(folder)


def test_poses_in_millimetres_are_named_instead_of_filling_the_memory(small_folder, tmp_path, capsys):
    folder = tmp_path / "room"
    shutil.copytree(small_folder, folder)
    (folder / "mesh.ply").unlink()
    content = json.loads((folder / "objects.json").read_text())
    for item in content["objects"]:
        item.pop("mask")
    (folder / "objects.json").write_text(json.dumps(content))
    poses = np.loadtxt(folder / "poses.txt")
    poses[:, [3, 7, 11]] *= 1e6
    np.savetxt(folder / "poses.txt", poses)
    assert main(["--scans", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert "are the poses in metres?" in capsys.readouterr().err


SLIPS = {
    "no positive focal length": ("intrinsics.txt", lambda m: m * 0),
    "are not of the form": ("intrinsics.txt", lambda m: m.T),
    "frame 00000: the pose stretches": ("poses.txt", lambda m: m * np.r_[[1000.0] * 12, [1] * 4]),
    "mirrors": ("poses.txt", lambda m: m * np.r_[[-1.0] * 12, [1] * 4]),
    "does not end in the row": ("poses.txt", lambda m: m.reshape(-1, 4, 4).swapaxes(1, 2).reshape(-1, 16)),
    "the axis alignment stretches": ("axis_align.txt", lambda m: m * np.array([[2.0], [2], [2], [1]])),
}


@pytest.mark.parametrize("sentence", SLIPS)
def test_cameras_that_cannot_be_are_named(small_folder, tmp_path, capsys, sentence):
    folder = tmp_path / "room"
    shutil.copytree(small_folder, folder)
    name, slip = SLIPS[sentence]
    np.savetxt(folder / name, slip(np.loadtxt(folder / name)))
    assert main(["--scans", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert sentence in capsys.readouterr().err


def test_a_colour_image_where_depth_should_be_is_named(small_folder, tmp_path, capsys):
    folder = tmp_path / "room"
    shutil.copytree(small_folder, folder)
    Image.new("RGB", (40, 30)).save(folder / "depth" / "00000.png")
    assert main(["--scans", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert "single-channel 16-bit" in capsys.readouterr().err


def test_a_image_whose_header_is_cut_short_is_named(small_folder, tmp_path):
    folder = tmp_path / "room"
    shutil.copytree(small_folder, folder)
    image = folder / "images" / "00000.png"
    damaged = bytearray(image.read_bytes())
    damaged[11] = 0  # the length of the header chunk
    image.write_bytes(damaged)
    with pytest.raises(DataError, match="00000.png"):
        read_posed(folder)
