import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from commands import prepare as main
from PIL import Image

from gpt4scene.scans.ply import write_ply
from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.colors import color_of
from gpt4scene.scenes.pixels import pixel_grid
from gpt4scene.scenes.prepare import PrepareArguments, prepare
from gpt4scene.scenes.render import Raycaster

FRAMES = 6


def run(folder, out, **more):
    values = {"frames": FRAMES, "bev_size": 300, **more}
    return prepare(PrepareArguments(scans=(str(folder),), out=str(out), **values))


@pytest.fixture(scope="module")
def prepared(box_room_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    report = run(box_room_folder, out, keep_unmarked=True)
    assert report.done == ["boxes"] and not report.failed
    return out


@pytest.fixture(scope="module")
def scene(prepared):
    return json.loads((prepared / "scenes" / "boxes" / "scene.json").read_text())


def test_lists_name_existing_images_with_the_birds_eye_view_first(prepared):
    for name in ("selected_images_mark_3D_val_6.json", "selected_images_3D_val_6.json"):
        images = json.loads((prepared / name).read_text())["boxes"]
        assert len(images) == 1 + FRAMES and images[0].startswith("images_3D")
        assert all((prepared / image).is_file() for image in images)
    assert Image.open(prepared / images[1]).size == (200, 150)


def test_attributes_hold_the_objects_by_number(prepared, box_room):
    for name in ("scannet_val_attributes.pt", "scannet_mask3d_val_attributes.pt"):
        entry = torch.load(prepared / name, weights_only=True)["boxes"]
        assert entry["objects"] == [item.label for item in box_room.objects]
        expected = np.array([[*item.center, *item.size] for item in box_room.objects])
        assert np.allclose(entry["locs"].numpy(), expected, atol=1e-5)


def owner_of_pixels(mesh, objects, camera, pixels):
    """Independent of the masks: each cuboid of the room has eight vertices of its own."""
    hits = Raycaster(mesh).first_hits(camera, np.asarray(pixels))
    solids = np.where(hits.found, mesh.faces[np.maximum(hits.face, 0), 0] // 8, -1)
    first = objects[0].vertices[0] // 8
    return solids - first


def test_every_marker_is_on_its_own_surface_and_no_visible_object_is_left_out(box_room_folder, scene):
    scan = read_posed(box_room_folder)
    cameras = {frame.name: frame.camera for frame in scan.frames}
    seen = 0
    for frame in scene["frames"]:
        camera = cameras[frame["name"]]
        markers = frame["markers"]
        owners = owner_of_pixels(scan.mesh, scan.objects, camera, [marker["pixel"] for marker in markers])
        assert owners.tolist() == [marker["id"] for marker in markers]
        grid = pixel_grid(camera.width, camera.height)
        shown = owner_of_pixels(scan.mesh, scan.objects, camera, grid.pixels)
        areas = np.bincount(shown[shown >= 0], minlength=len(scan.objects)) / len(grid.pixels)
        assert {marker["id"] for marker in markers} == set(np.nonzero(areas >= 0.001)[0])
        assert all(abs(marker["area"] - areas[marker["id"]]) < 1e-4 for marker in markers)
        seen += len(markers)
    assert seen > 20


def test_no_marker_covers_another(scene):
    for image in [scene["bev"], *scene["frames"]]:
        boxes = [marker["label_box"] for marker in image["markers"]]
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_the_birds_eye_view_maps_pixels_to_metres(prepared, scene, box_room):
    bev = scene["bev"]
    assert max(bev["width"], bev["height"]) == 300
    assert {marker["id"] for marker in bev["markers"]} == {item.id for item in box_room.objects}
    for marker in bev["markers"]:
        x = bev["x_left"] + (marker["pixel"][0] + 0.5) * bev["metres_per_pixel"]
        y = bev["y_top"] - (marker["pixel"][1] + 0.5) * bev["metres_per_pixel"]
        item = box_room.objects[marker["id"]]
        assert (np.abs([x, y] - item.center[:2]) <= item.size[:2] / 2 + 0.01).all(), item.label
    areas = {box_room.objects[m["id"]].label: m["area"] for m in bev["markers"]}
    assert areas["bin"] == 0 and min(area for label, area in areas.items() if label != "bin") > 0
    assert abs(bev["floor_height"]) < 0.03 and 2.2 < bev["cut_height"] < 2.6


def test_the_birds_eye_view_shows_the_room_without_its_ceiling(prepared, scene, box_room):
    image = np.asarray(Image.open(prepared / "images_3D_unmarked" / "boxes" / "bev.jpg")).astype(int)
    bev = scene["bev"]
    purple = (np.abs(image - [250, 0, 250]).max(axis=2) < 60).mean()
    assert purple < 0.01
    sofa = box_room.objects[6]
    u = round((sofa.center[0] - bev["x_left"]) / bev["metres_per_pixel"] - 0.5)
    v = round((bev["y_top"] - sofa.center[1]) / bev["metres_per_pixel"] - 0.5)
    shade = box_room.mesh.colors[sofa.vertices[0]].astype(int)
    assert np.abs(image[v, u] - shade).max() < 12
    inside = image[20:-20, 20:-20]
    assert (inside.min(axis=2) > 250).mean() == 0  # no hole where there is floor
    covered = 4.6 * 5.0 / (bev["width"] * bev["height"] * bev["metres_per_pixel"] ** 2)
    assert covered > 0.8  # tight


def digest(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_second_run_writes_the_same_bytes(prepared, box_room_folder, tmp_path):
    run(box_room_folder, tmp_path / "again", keep_unmarked=True)
    assert digest(tmp_path / "again") == digest(prepared)


def test_finished_scenes_are_kept_and_lost_ones_made_again(prepared, box_room_folder):
    before = digest(prepared)
    stamp = (prepared / "images_3D" / "boxes" / "bev.jpg").stat().st_mtime_ns
    assert run(box_room_folder, prepared, keep_unmarked=True).finished_before == ["boxes"]
    assert (prepared / "images_3D" / "boxes" / "bev.jpg").stat().st_mtime_ns == stamp
    (prepared / "scenes" / "boxes" / "scene.json").unlink()
    assert run(box_room_folder, prepared, keep_unmarked=True).done == ["boxes"]
    assert digest(prepared) == before


def test_other_settings_are_refused_for_a_finished_scene(prepared, box_room_folder):
    report = run(box_room_folder, prepared, keep_unmarked=True, frames=4)
    assert "frames 6 -> 4" in report.failed["boxes"]


@pytest.mark.slow
def test_a_moved_and_turned_world_gives_the_same_images(box_room, prepared, scene, tmp_path):
    turn = np.eye(4)
    angle = 0.7
    turn[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    turn[:3, 3] = 120, -40, 7
    box_room.moved(turn).write(tmp_path / "boxes", align=np.linalg.inv(turn))
    run(tmp_path / "boxes", tmp_path / "out", keep_unmarked=True)
    other = json.loads((tmp_path / "out" / "scenes" / "boxes" / "scene.json").read_text())
    for a, b in zip([scene["bev"], *scene["frames"]], [other["bev"], *other["frames"]], strict=True):
        assert [m["id"] for m in a["markers"]] == [m["id"] for m in b["markers"]]
        assert np.abs(np.subtract([m["pixel"] for m in a["markers"]], [m["pixel"] for m in b["markers"]])).max() <= 2
        first, second = (np.asarray(Image.open(root / a["image"])).astype(int) for root in (prepared, tmp_path / "out"))
        assert np.abs(first - second).mean() < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("geometry", ["voxels", "tsdf"])
def test_depth_frames_alone_mark_the_same_objects(box_room, scene, tmp_path, geometry):
    box_room.write(tmp_path / "boxes", mesh=False, align=np.eye(4))
    more = {"geometry": geometry, "frames": 3 if geometry == "tsdf" else FRAMES}
    assert run(tmp_path / "boxes", tmp_path / "out", **more).done == ["boxes"]
    other = json.loads((tmp_path / "out" / "scenes" / "boxes" / "scene.json").read_text())
    same = {frame["name"]: frame for frame in scene["frames"]}
    for b in other["frames"]:
        a = same.get(b["name"], {"markers": []})
        large = {m["id"] for m in a["markers"] if m["area"] > 0.004}
        assert large <= {m["id"] for m in b["markers"]}
        solids = owner_of_pixels(
            box_room.mesh, box_room.objects, box_room.cameras[int(b["name"])], [m["pixel"] for m in b["markers"]]
        )
        assert solids.tolist() == [m["id"] for m in b["markers"]]


@pytest.mark.slow
def test_broken_scans_are_listed_and_the_others_go_on(box_room, box_room_folder, tmp_path, capsys):
    scans = tmp_path / "scans"
    for name in ("good", "no_mesh", "no_pose", "bad_mask", "cut_image", "no_pose_file", "no_images"):
        box_room.write(scans / name, depth=False, align=np.eye(4))
    (scans / "no_mesh" / "mesh.ply").unlink()
    (scans / "no_pose" / "poses.txt").write_text("-inf " * 16 + "\n" + "\n".join(["-inf " * 16] * 7))
    (scans / "bad_mask" / "masks" / "1.txt").write_text("5000000\n")
    (scans / "no_pose_file" / "poses.txt").unlink()
    shutil.rmtree(scans / "no_images" / "images")
    (scans / "something_else").mkdir()
    image = scans / "cut_image" / "images" / "00000.png"
    image.write_bytes(image.read_bytes()[:100])
    out = tmp_path / "out"
    status = main(["--scans", str(scans), "--out", str(out), "--frames", "3", "--bev_size", "100"])
    said = capsys.readouterr().err
    assert status == 1
    assert list(json.loads((out / "selected_images_mark_3D_val_3.json").read_text())) == ["good"]
    assert "1 prepared, 0 finished before, 6 failed" in said
    for part in (
        "no_mesh: ",
        "none of the 8 frames has a pose",
        "names vertex 5000000",
        "00000.png",
        "poses.txt: the file does not exist",
    ):
        assert part in said
    assert f"{scans / 'no_images' / 'images'}: is missing" in said and "something_else" not in said
    assert not (out / "scenes" / "cut_image").exists()


def test_what_geometry_finds_wrong_names_the_scan(box_room, tmp_path):
    """A mesh of one upright triangle: rays from above meet nothing, which the code that casts them cannot name."""
    folder = box_room.write(tmp_path / "upright", depth=False, masks=False, align=np.eye(4))
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1.0]])
    write_ply(folder / "mesh.ply", Mesh(corners, np.array([[0, 1, 2]]), np.zeros((3, 3), np.uint8)))
    reason = run(folder, tmp_path / "out").failed["upright"]
    assert reason.startswith(f"{folder}: nothing of the scene is met from above")


@pytest.mark.slow
def test_several_processes_write_what_one_writes(box_room, tmp_path):
    for name in ("a", "b", "c"):
        box_room.write(tmp_path / "scans" / name, depth=False, align=np.eye(4))
    run(tmp_path / "scans", tmp_path / "one", frames=2, bev_size=100)
    run(tmp_path / "scans", tmp_path / "two", frames=2, bev_size=100, workers=2)
    for shard in (1, 0):
        run(tmp_path / "scans", tmp_path / "shards", frames=2, bev_size=100, shard=shard, num_shards=2)
    assert digest(tmp_path / "one") == digest(tmp_path / "two") == digest(tmp_path / "shards")


CALLS = {
    "did you mean 'boxes'": ["--objects", "boxs:x.json"],
    "needs a place": ["--objects", "boxes"],
    "--frames must be 1 or more": ["--frames", "0"],
    "--bev_size must be between 64 and 8192, not 5": ["--bev_size", "5"],
    "scan format 'nothing' is not known": ["--format", "nothing"],
    "shard is 3": ["--shard", "3"],
}


@pytest.mark.parametrize("sentence", CALLS)
def test_wrong_calls_exit_with_2(box_room_folder, tmp_path, capsys, sentence):
    assert main(["--scans", str(box_room_folder), "--out", str(tmp_path / "o"), *CALLS[sentence]]) == 2
    assert sentence in capsys.readouterr().err


def test_paths_without_scan_are_named(tmp_path, capsys):
    assert main(["--scans", str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "neither is nor holds a scan of format 'posed'" in capsys.readouterr().err


def test_boxes_from_a_file_become_the_proposals(box_room, box_room_folder, tmp_path):
    rows = [{"id": 5, "label": "thing", "center": [0.5, 1.9, 0.4], "size": [1.8, 0.8, 0.8]}]
    (tmp_path / "boxes.json").write_text(json.dumps({"boxes": {"objects": rows}}))
    assert run(box_room_folder, tmp_path / "out", objects=f"boxes:{tmp_path / 'boxes.json'}").done
    proposed = torch.load(tmp_path / "out" / "scannet_mask3d_val_attributes.pt", weights_only=True)["boxes"]
    annotated = torch.load(tmp_path / "out" / "scannet_val_attributes.pt", weights_only=True)["boxes"]
    assert proposed["objects"] == ["", "", "", "", "", "thing"] and len(annotated["objects"]) == len(box_room.objects)
    scene = json.loads((tmp_path / "out" / "scenes" / "boxes" / "scene.json").read_text())
    assert {m["id"] for frame in scene["frames"] for m in frame["markers"]} == {5}


def test_a_contact_sheet_can_be_added_to_finished_scenes(prepared, box_room_folder):
    sheet = prepared / "scenes" / "boxes" / "contact_sheet.jpg"
    try:
        assert run(box_room_folder, prepared, keep_unmarked=True, contact_sheet=True).finished_before == ["boxes"]
        with Image.open(sheet) as page:
            assert page.width == 2048 and page.height > 1000
            bev = page.crop((0, 44, 1024, 44 + 900))
        pixels = np.asarray(bev.convert("RGB"))
        assert (np.abs(pixels.astype(int) - color_of(6)).max(axis=2) < 30).any()  # the sofa's number is on it
    finally:
        sheet.unlink(missing_ok=True)


@pytest.mark.slow
def test_coverage_shows_what_even_spacing_misses(box_room_folder, tmp_path):
    shown = {}
    for how in ("even", "coverage"):
        run(box_room_folder, tmp_path / how, frames=1, frame_choice=how)
        (frame,) = json.loads((tmp_path / how / "scenes" / "boxes" / "scene.json").read_text())["frames"]
        shown[how] = len(frame["markers"])
    assert shown["coverage"] >= shown["even"] and shown["coverage"] == 7
