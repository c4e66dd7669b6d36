"""Recordings of strangers: what they name outside of their folder is not read, whichever of their files names it."""

import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.mesh_files import read_mesh
from gpt4scene.scans.named_files import check_inside
from gpt4scene.scans.objects import parse_objects
from gpt4scene.scans.transforms import read_transforms

OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nusemtl m\nf 1/1 2/2 3/3\n"
SECRET = (10, 200, 30)


@pytest.fixture
def room(tmp_path):
    """A folder of a stranger's, beside a picture, a mesh and a text that are nobody's business."""
    Image.new("RGB", (40, 30), SECRET).save(tmp_path / "secret.png")
    trimesh.Trimesh(np.eye(3), [[0, 1, 2]]).export(tmp_path / "secret.ply")
    (tmp_path / "secret.txt").write_text("root:x:0:0")
    (tmp_path / "room/images").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "room/images/0.png")
    return tmp_path / "room"


def transforms(room, image, **more):
    frames = [{"file_path": image, "transform_matrix": np.eye(4).tolist(), **more.pop("row", {})}]
    (room / "transforms.json").write_text(json.dumps({"fl_x": 30, "w": 40, "h": 30, "frames": frames, **more}))
    return read_transforms(room)


@pytest.mark.parametrize("up", ["../secret.png", "ABSOLUTE"])
def test_textures_stay_beside_the_mesh(room, up):
    texture = up.replace("ABSOLUTE", str(room.parent / "secret.png"))
    (room / "m.mtl").write_text(f"newmtl m\nmap_Kd {texture}\n")
    (room / "mesh.obj").write_text(f"mtllib m.mtl\n{OBJ}")
    with pytest.raises(DataError, match="leads out of its folder; copy the file there, and write its name alone"):
        read_mesh(room / "mesh.obj")
    (room.parent / "m.mtl").write_text("newmtl m\nmap_Kd secret.png\n")
    (room / "mesh.obj").write_text(f"mtllib ../m.mtl\n{OBJ}")
    with pytest.raises(DataError, match="'../m.mtl' leads out"):
        read_mesh(room / "mesh.obj")


def test_buffers_of_a_glb_stay_beside_it(room):
    """A glb may name its numbers in another file, and trimesh before 5.0 read it from anywhere."""
    trimesh.Trimesh(np.eye(3), [[0, 1, 2]]).export(room / "mesh.glb")
    content = (room / "mesh.glb").read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    header, numbers = json.loads(content[20 : 20 + length]), content[28 + length :]
    (room.parent / "numbers.bin").write_bytes(numbers)

    def write(uri):
        header["buffers"] = [{"byteLength": len(numbers), "uri": uri}]
        packed = json.dumps(header).encode()
        packed += b" " * (-len(packed) % 4)
        chunk = struct.pack("<I4s", len(packed), b"JSON") + packed
        (room / "mesh.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk)

    write("../numbers.bin")
    with pytest.raises(DataError, match="can't be read"):
        read_mesh(room / "mesh.glb")
    (room / "numbers.bin").write_bytes(numbers)
    write("numbers.bin")
    assert len(read_mesh(room / "mesh.glb").vertices) == 3


@pytest.mark.parametrize("up", ["../", "ABSOLUTE"])
def test_geometry_and_masks_stay_in_the_folder(room, up):
    up = up.replace("ABSOLUTE", f"{room.parent}/")
    with pytest.raises(DataError, match="secret.ply' leads out of this folder; copy the file into it"):
        transforms(room, "images/0.png", ply_file_path=f"{up}secret.ply")
    mesh = read_mesh(room.parent / "secret.ply")
    content = {"objects": [{"id": 1, "label": "box", "mask": f"{up}secret.txt"}]}
    with pytest.raises(DataError, match="secret.txt' leads out of this folder") as caught:
        parse_objects(room / "objects.json", content, mesh, None)
    assert "root:x" not in str(caught.value)


def test_images_may_lie_elsewhere_unless_the_recording_is_a_strangers(room):
    """``prepare --inside_only`` asks for it: one's own recordings may name images anywhere."""
    for image, row in (
        ("../secret.png", {}),
        (str(room.parent / "secret.png"), {}),
        ("images/0.png", {"depth_file_path": "../secret.png"}),
    ):
        scan = transforms(room, image, row=row)
        with pytest.raises(DataError, match="the image of frame '.*' lies outside; copy it into the folder"):
            check_inside(scan, room)
    check_inside(transforms(room, "images/0.png"), room)
    (room / "images/1.png").symlink_to(room.parent / "secret.png")
    with pytest.raises(DataError, match="'1' lies outside"):
        check_inside(transforms(room, "images/1.png"), room)
