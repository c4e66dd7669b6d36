import json

import numpy as np
import pytest
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.posed import read_posed, write_posed
from gpt4scene.scans.types import Camera, Mesh, SceneObject

INTRINSICS = np.array([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]])


@pytest.fixture
def folder(tmp_path):
    poses = [np.eye(4) for _ in range(3)]
    poses[1] = np.full((4, 4), -np.inf)
    poses[2][:3, 3] = 1, 2, 3
    images = [np.full((48, 64, 3), 80 * i, np.uint8) for i in range(3)]
    depths = [np.full((24, 32), 1.5 + i, np.float32) for i in range(3)]
    mesh = Mesh(np.random.default_rng(0).normal(size=(9, 3)), np.arange(9).reshape(3, 3), np.zeros((9, 3), np.uint8))
    objects = [
        SceneObject(2, "chair", np.zeros(3), np.ones(3), np.array([0, 4])),
        SceneObject(0, "table", np.ones(3), np.ones(3)),
    ]
    cameras = [Camera(INTRINSICS, pose, 64, 48) for pose in poses]
    return write_posed(
        tmp_path / "room", images, cameras, depths=depths, mesh=mesh, align=np.diag([-1.0, -1, 1, 1]), objects=objects
    )


def test_what_is_written_is_read_back(folder):
    scan = read_posed(folder)
    assert scan.scene_id == "room" and [frame.name for frame in scan.frames] == ["00000", "00001", "00002"]
    assert [frame.camera.tracked for frame in scan.frames] == [True, False, True]
    assert np.array_equal(scan.frames[2].camera.pose[:3, 3], [1, 2, 3])
    assert np.abs(read_color(scan.frames[1]).astype(int) - 80).max() <= 1
    assert np.allclose(read_depth(scan.frames[2]), 3.5)
    assert [(item.id, item.label) for item in scan.objects] == [(0, "table"), (2, "chair")]
    assert scan.objects[1].vertices.tolist() == [0, 4]
    assert np.array_equal(scan.align, np.diag([-1.0, -1, 1, 1]))
    assert scan.mesh is not None and np.allclose(scan.mesh.vertices, np.random.default_rng(0).normal(size=(9, 3)))


def test_depth_intrinsics_follow_the_image_size_when_no_file_gives_them(folder):
    camera = read_posed(folder).frames[0].depth_camera
    assert (camera.width, camera.height) == (32, 24)
    assert np.allclose(camera.intrinsics, [[25, 0, 15.5], [0, 25, 11.5], [0, 0, 1]])


def test_a_mask_without_box_gets_the_box_of_its_aligned_vertices(folder):
    scan = read_posed(folder)
    (folder / "objects.json").write_text(json.dumps({"objects": [{"id": 7, "label": "cup", "mask": "masks/2.txt"}]}))
    cup = read_posed(folder).objects[0]
    ends = scan.mesh.vertices[[0, 4]] * [-1, -1, 1]
    assert np.allclose(cup.center, ends.mean(axis=0)) and np.allclose(cup.size, np.abs(ends[0] - ends[1]))


def _drop_pose(folder):
    text = (folder / "poses.txt").read_text().splitlines()
    (folder / "poses.txt").write_text("\n".join(text[:2]))


def _write(name, text):
    return lambda folder: (folder / name).write_text(text)


BREAKS = {
    "2 poses for 3 images": _drop_pose,
    "has 3 numbers, a 4x4 matrix": _write("poses.txt", "1 2 3\n"),
    "line 1: 'a b c' is not a row": _write("poses.txt", "a b c\n"),
    "intrinsics.txt: the file does not exist": lambda folder: (folder / "intrinsics.txt").unlink(),
    "is no PLY file": _write("mesh.ply", "nothing"),
    "must be JSON with a list": _write("objects.json", "[]"),
    "object 0: lacks 'label'": _write("objects.json", '{"objects": [{"id": 1}]}'),
    "id 1 is used twice": _write(
        "objects.json",
        json.dumps({"objects": [{"id": 1, "label": "x", "center": [0, 0, 0], "size": [1, 1, 1]}] * 2}),
    ),
    "three numbers each": _write("objects.json", '{"objects":[{"id":1,"label":"x","center":[0],"size":[1,1,1]}]}'),
    "is not a box": _write("objects.json", '{"objects":[{"id":1,"label":"x","center":[0,0,0],"size":[1,-1,1]}]}'),
    "names vertex 99": _write("masks/2.txt", "99\n"),
    "holds no .jpg": lambda folder: [path.unlink() for path in (folder / "images").iterdir()],
    "is no readable image": lambda folder: (folder / "images" / "00000.jpg").write_bytes(b""),
}


@pytest.mark.parametrize("sentence", BREAKS)
def test_broken_folders_say_what_is_wrong(folder, sentence):
    BREAKS[sentence](folder)
    with pytest.raises(DataError, match=sentence.replace("(", r"\(")):
        read_posed(folder)


def test_damaged_images_say_which(folder):
    scan = read_posed(folder)
    image = folder / "images" / "00000.jpg"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(DataError, match="00000.jpg"):
        read_color(scan.frames[0])
    Image.new("RGB", (10, 10)).save(folder / "images" / "00002.jpg")
    with pytest.raises(DataError, match="10x10 pixels but the camera says 64x48"):
        read_color(scan.frames[2])
    Image.new("RGB", (32, 24)).save(folder / "depth" / "00000.png")
    with pytest.raises(DataError, match="single-channel"):
        read_depth(scan.frames[0])


@pytest.mark.parametrize("flat", [False, True])
def test_an_alignment_beside_the_boxes_is_used(folder, flat):
    align = np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]])
    path = folder / "objects.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "axis_align": (align.ravel() if flat else align).tolist()}))
    with pytest.raises(DataError, match="axis_align is another than"):
        read_posed(folder)
    (folder / "axis_align.txt").unlink()
    scan = read_posed(folder)
    assert np.array_equal(scan.align, align) and not any("axis_align" in note for note in scan.notes)


@pytest.mark.parametrize("wrong", ["turned", [1, 2, 3], [[1, 0], [0, 1]], {"yaw": 3}])
def test_an_alignment_beside_the_boxes_that_is_none_is_refused(folder, wrong):
    path = folder / "objects.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "axis_align": wrong}))
    with pytest.raises(DataError, match="axis_align must be a 4x4 matrix"):
        read_posed(folder)
