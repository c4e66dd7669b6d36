"""Up is found whichever side of the stored images is up, and frames are turned to show it."""

from dataclasses import replace

import numpy as np
import pytest
from commands import prepare as main
from PIL import Image

from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.files.whole import read_json
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.posed import read_posed
from gpt4scene.scenes.fusion import fuse_depth
from gpt4scene.scenes.prepare_arguments import PrepareArguments
from gpt4scene.scenes.up_choice import SIDES, UPS
from gpt4scene.scenes.upright import set_upright
from gpt4scene.settings.flags import read


@pytest.fixture(scope="module")
def recordings(box_room, tmp_path_factory):
    """Scans without alignment and objects, and their true up."""
    folder = tmp_path_factory.mktemp("recordings")
    scans = [read_posed(box_room.write(folder / "box"))]
    for seed in (0, 1):
        write_room(choose_plans(2, seed)[0], folder / f"demo{seed}", View(160, 120, 8), seed)
        scans.append(read_posed(next((folder / f"demo{seed}").iterdir())))
    return [(replace(scan, align=None, objects=()), scan.align[2, :3]) for scan in scans]


def stored(scan, quarters):
    """The scan as a camera would store it that is held turned: images turned, and poses with them."""
    return replace(scan, frames=tuple(replace(frame.turned(quarters), quarters=0) for frame in scan.frames))


@pytest.mark.slow
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("way", ["mesh", "depth", "few frames"])
def test_up_is_found_however_the_camera_was_held(recordings, quarters, way):
    for scan, up in recordings:
        if way != "mesh":
            frames = scan.frames[:4] if way == "few frames" else scan.frames
            scan = replace(scan, frames=frames, mesh=fuse_depth(frames, 0.05))
        held = stored(scan, quarters)
        found = set_upright(held)
        assert np.degrees(np.arccos(found.scan.align[2, :3] @ up)) < 2
        assert found.up.certain
        assert {frame.quarters for frame in found.scan.frames} == {-quarters % 4}
        for frame in found.scan.frames:
            assert frame.camera.pose[2, 1] < -0.4  # the images' y axis points down


@pytest.mark.parametrize("quarters", range(1, 4))
def test_turned_frames_show_what_the_stored_ones_do(box_room_folder, quarters):
    frame = read_posed(box_room_folder).frames[0]
    turned = frame.turned(quarters)
    assert np.array_equal(read_color(turned), np.rot90(read_color(frame), quarters))
    assert np.array_equal(read_depth(turned), np.rot90(read_depth(frame), quarters))
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)) + [0, 0.3, 0.6]
    before, depth = frame.camera.project(points)
    after, again = turned.camera.project(points)
    width, height = frame.camera.width, frame.camera.height
    for _ in range(quarters):
        before = np.stack([before[:, 1], width - 1 - before[:, 0]], axis=1)
        width, height = height, width
    assert np.allclose(before, after) and np.allclose(depth, again)
    assert (turned.camera.width, turned.camera.height) == (width, height)


@pytest.mark.slow
def test_the_users_word_holds(recordings):
    scan, up = recordings[0]
    axis = "xyz"[int(np.argmax(np.abs(up)))]
    sign = "" if up.max() > 0.5 else "-"
    assert set_upright(stored(scan, 1), f"{sign}{axis}").scan.align[2, :3] @ up > 0.99
    side = list(SIDES)[3]
    assert set_upright(stored(scan, 1), side).scan.align[2, :3] @ up > 0.99
    assert set_upright(scan, "bottom").scan.align[2, :3] @ up < -0.9
    assert set(SIDES) < set(UPS)


@pytest.mark.slow
def test_a_turned_recording_gives_the_images_of_the_upright_one(box_room, tmp_path):
    folder = box_room.write(tmp_path / "scans" / "room", masks=False)
    (folder / "objects.json").unlink()
    held = box_room.write(tmp_path / "held" / "room", masks=False)
    (held / "objects.json").unlink()
    scan = stored(read_posed(folder), 1)
    for kind in ("images", "depth"):
        for path in sorted((held / kind).iterdir()):
            image = np.rot90(np.asarray(Image.open(path)), 1)
            Image.fromarray(np.ascontiguousarray(image)).save(path)
    (held / "poses.txt").write_text("\n".join(" ".join(map(repr, f.camera.pose.ravel().tolist())) for f in scan.frames))
    np.savetxt(held / "intrinsics.txt", scan.frames[0].camera.intrinsics)
    for name in ("scans", "held"):
        flags = ["--scans", str(tmp_path / name), "--objects", "clusters", "--frames", "4"]
        assert main([*flags, "--out", str(tmp_path / f"{name}_out")]) == 0
    for image in sorted((tmp_path / "scans_out" / "images_2D" / "room").iterdir()):
        other = tmp_path / "held_out" / "images_2D" / "room" / image.name
        assert np.array_equal(np.asarray(Image.open(image)), np.asarray(Image.open(other)))
    record = read_json(tmp_path / "held_out" / "scenes" / "room" / "scene.json")
    assert record["sanity"]["up"] == "left" and not record["sanity"]["warnings"]
    assert {frame["turned"] for frame in record["frames"]} == {270}
    upright = read_json(tmp_path / "scans_out" / "scenes" / "room" / "scene.json")
    assert not any("turned" in frame for frame in upright["frames"])
    for ours, other in zip(upright["frames"], record["frames"], strict=True):
        assert np.allclose(ours["pose"], other["pose"], atol=1e-6)
        assert np.allclose(ours["intrinsics"], other["intrinsics"], atol=1e-9)


@pytest.mark.parametrize("words", [["--up", "-z"], ["--up=-z"]])
def test_an_axis_that_points_down_is_taken_by_the_command(words):
    given = ["--scans", "a", "--out", "b", *words, "--frames", "2"]
    assert read(PrepareArguments, given, "prepare") == PrepareArguments(("a",), "b", up="-z", frames=2)
