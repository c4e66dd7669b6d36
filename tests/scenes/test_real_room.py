"""The real room of the test data through the posed folder: 32 frames and a bird's-eye view from depth frames alone."""

import json
import os

import numpy as np
import pytest
import torch
from commands import prepare as main
from PIL import Image

from gpt4scene.scans.images import read_depth
from gpt4scene.scans.posed import read_posed
from gpt4scene.scenes.upright import upright
from gpt4scene.scenes.visibility import depth_at, hit_points

SEEN_BY_EYE = {
    "00012": {4, 5, 9, 10},
    "00060": {6, 7},
    "00098": {3, 6, 7, 8},
    "00155": {2},
    "00242": {0, 1, 4, 5, 9, 10},
    "00261": {2, 3, 6, 7, 8},
    "00368": {2, 3, 6, 7, 8},
}
"""Frame -> objects that a person sees in it."""


def as_posed(source, folder):
    """The older layout (``K.txt``, all poses, an index of lines, alignment inside objects.json) as a posed folder."""
    folder.mkdir(parents=True)
    for name in ("images", "depth"):
        os.symlink(source / name, folder / name)
    poses = (source / "poses_all_373.txt").read_text().splitlines()
    index = sorted(line.split() for line in (source / "frame_index.txt").read_text().splitlines())
    (folder / "poses.txt").write_text("\n".join(poses[int(line)] for _, line in index))
    (folder / "intrinsics.txt").write_text((source / "K.txt").read_text())
    content = json.loads((source / "objects.json").read_text())
    np.savetxt(folder / "axis_align.txt", content["axis_align"])
    (folder / "objects.json").write_text(json.dumps({"objects": content["objects"]}))
    return folder


@pytest.mark.slow
def test_a_real_room_is_prepared_from_depth_frames(shared_data, tmp_path):
    source = shared_data / "scenes" / "hololens_000"
    folder = as_posed(source, tmp_path / "hololens_000")
    out = tmp_path / "out"
    assert (
        main(["--scans", str(folder), "--objects", "scan", "--frames", "32", "--out", str(out), "--keep_unmarked"]) == 0
    )
    scene = json.loads((out / "scenes" / "hololens_000" / "scene.json").read_text())
    images = json.loads((out / "selected_images_mark_3D_val_32.json").read_text())["hololens_000"]
    assert len(images) == 33 and all((out / image).is_file() for image in images)
    entry = torch.load(out / "scannet_mask3d_val_attributes.pt", weights_only=True)["hololens_000"]
    assert len(entry["objects"]) == 11 and entry["objects"][7] == "fruit basket"
    _check_markers(folder, scene)
    _check_that_nothing_is_left_out(source, scene)
    for image in [scene["bev"], *scene["frames"]]:
        _check_labels(image)
    shown = {frame["name"]: {marker["id"] for marker in frame["markers"]} for frame in scene["frames"]}
    for name, ids in SEEN_BY_EYE.items():
        assert ids <= shown[name], name
    assert set().union(*shown.values()) == set(range(11))
    # The kitchen's dark front reads no depth; the cabinet in the corridor behind it must not shine through.
    assert not {4, 5} & (shown.get("00146", set()) | shown.get("00174", set()))
    _check_top(out, scene)


def _check_markers(folder, scene):
    """Wherever the frame's own depth has a reading under a marker, it lies in the object's box."""
    frames = {frame.name: frame for frame in upright(read_posed(folder)).frames}
    boxes = {item["id"]: (np.array(item["center"]), np.array(item["size"])) for item in scene["objects"]}
    checked = 0
    for image in scene["frames"]:
        frame = frames[image["name"]]
        for marker in image["markers"]:
            pixel = np.array([marker["pixel"]])
            depth = depth_at(pixel, frame.camera, read_depth(frame), frame.depth_camera)
            if depth[0] > 0:
                center, size = boxes[marker["id"]]
                point = hit_points(frame.camera, frame.camera.rays(pixel), depth)[0]
                assert (np.abs(point - center) <= size / 2 + 0.021).all(), (image["name"], marker["id"])
                checked += 1
    assert checked > 25


def _check_that_nothing_is_left_out(source, scene):
    """From the recording's own files and every reading: what fills enough of a frame has its marker."""
    content = json.loads((source / "objects.json").read_text())
    poses, k = np.loadtxt(source / "poses_all_373.txt").reshape(-1, 4, 4), np.loadtxt(source / "K.txt").reshape(3, 3)
    lines = dict(line.split() for line in (source / "frame_index.txt").read_text().splitlines())
    least, large = scene["settings"]["least_area"], 0
    for frame in scene["frames"]:
        depth = np.asarray(Image.open(source / "depth" / f"{frame['name']}.png")) / 1000.0
        v, u = np.nonzero(depth)
        z = depth[v, u]
        local = np.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z, np.ones(len(z))])
        points = (np.array(content["axis_align"]) @ poses[int(lines[f"{frame['name']}.png"])] @ local)[:3].T
        marked = {marker["id"] for marker in frame["markers"]}
        for item in content["objects"]:
            inside = (np.abs(points - item["center"]) <= np.array(item["size"]) / 2).all(axis=1) & (points[:, 2] > 0.02)
            if inside.sum() / depth.size >= 1.3 * least:
                assert item["id"] in marked, (frame["name"], item["label"])
                large += 1
    assert large > 60


def _check_labels(image):
    boxes = [(marker["id"], *marker["label_box"], *marker["pixel"]) for marker in image["markers"]]
    for number, x0, y0, x1, y1, _, _ in boxes:
        for other, u0, v0, u1, v1, x, y in boxes:
            if other != number:
                assert x1 <= u0 or u1 <= x0 or y1 <= v0 or v1 <= y0, (number, other)
                assert not (x0 <= x < x1 and y0 <= y < y1), (number, other)


def _check_top(out, scene):
    image = np.asarray(Image.open(out / "images_3D_unmarked" / "hololens_000" / "bev.jpg")).astype(int)
    bev = scene["bev"]
    assert max(image.shape[:2]) == 1024 and len(bev["markers"]) == 11

    def patch(x, y):
        u, v = (x - bev["x_left"]) / bev["metres_per_pixel"], (bev["y_top"] - y) / bev["metres_per_pixel"]
        return image[int(v) - 20 : int(v) + 20, int(u) - 20 : int(u) + 20]

    carpet = patch(-0.3, 0.5)
    assert carpet.mean(axis=(0, 1)).argmax() == 2  # blue
    for x, y in ((-0.3, 0.5), (0.7, -0.5), (1.0, 1.3), (1.743, -1.582)):  # carpet, wooden floor twice, round table
        assert (patch(x, y).min(axis=2) > 250).mean() == 0, (x, y)
