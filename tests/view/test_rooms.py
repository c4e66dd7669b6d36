"""What the view knows of a room: points, edits on disk, pictures; and that prepare takes the edits."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.points import Points, points_file, read_points, write_points
from gpt4scene.files.prepared import read_prepared
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.prepare import PrepareArguments, prepare
from gpt4scene.scenes.thinning import thinned
from gpt4scene.view.arguments import ViewArguments
from gpt4scene.view.editing import Cutter, merged, removed, renamed, split_off
from gpt4scene.view.geometry import face_slabs, geometry_of, scan_folders, slabs_of, usual_cut
from gpt4scene.view.pictures import chosen_html, frames_showing, gallery
from gpt4scene.view.rooms import named
from gpt4scene.view.saving import default_file
from gpt4scene.view.shared import SharedBoxes


def test_points_lie_on_the_room_and_keep_its_ceiling(prepared_rooms, rooms):
    points = read_points(points_file(prepared_rooms / "scenes" / "boxes" / "scene.json"))
    assert len(points) == 6000 and points.what == "triangles"
    room = rooms.open("boxes")
    assert "6,000 points" in room.geometry.said and f"{points.of:,} triangles" in room.geometry.said
    low, high = points.places_N3[:, 2].min(), points.places_N3[:, 2].max()
    ceiling = (np.abs(points.colors_N3.astype(int) - (250, 0, 250)) < 3).all(axis=1)
    assert ceiling.any() and points.places_N3[ceiling, 2].min() > high - 0.2
    assert low < 0.05 and low < usual_cut(room.scene, room.geometry) < points.places_N3[ceiling, 2].max()
    for box in room.scene.objects:  # furniture is hit where its box says
        near = np.abs(points.places_N3 - box.center) <= np.array(box.size) / 2 + 0.01
        assert near.all(axis=1).any(), box


def test_a_surface_is_thinned_by_area_and_a_cloud_by_chance():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [10, 0, 0], [10.1, 0, 0], [10, 0.1, 0]], float)
    colors = np.full((7, 3), 200, np.uint8)
    mesh = Mesh(square, np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]]), colors)
    points = thinned(mesh, 2000, np.random.default_rng(0))
    far = points.places_N3[:, 0] > 5
    assert len(points) == 2000 and points.of == 3 and abs(far.mean() - 0.005 / 1.005) < 0.002
    assert (points.colors_N3 == 200).all()
    cloud = replace(mesh, faces=np.zeros((0, 3), int))
    few = thinned(cloud, 3, np.random.default_rng(0))
    assert (
        len(few) == 3
        and few.of == 7
        and few.what == "points"
        and len(thinned(cloud, 99, np.random.default_rng(0))) == 7
    )


def test_other_files_of_points_are_refused(tmp_path):
    path = tmp_path / "points.ply"
    points = Points(np.ones((5, 3), np.float32), np.zeros((5, 3), np.uint8), 50)
    write_points(path, points)
    assert read_points(path).of == 50
    whole = path.read_bytes()
    for content, said in (
        (whole[:-1], "does not hold"),
        (whole + b"x", "does not hold"),
        (b"ply\nformat ascii 1.0\n", "no file of points"),
        (whole.replace(b"vertex 5", b"vertex 99999999"), "promises 99999999"),
        (whole[:-15] + np.float32("nan").tobytes() * 3 + whole[-3:], "lie nowhere"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=said) as caught:
            read_points(path)
        assert str(path) in str(caught.value)


def test_slices_hold_every_point_and_triangle_once(rooms, prepared_rooms, box_room_folder):
    places = np.random.default_rng(0).uniform(0, 3, (250_000, 3)).astype(np.float32)
    slabs = slabs_of(places)
    rows = np.concatenate([slab.rows_N for slab in slabs])
    assert np.array_equal(np.sort(rows), np.arange(250_000)) and {slab.level for slab in slabs} == {0, 1, 2}
    assert sum(len(slab.rows_N) for slab in slabs if slab.level < 2) == 100_000
    assert all((places[slab.rows_N, 2] >= slab.bottom - 1e-4).all() for slab in slabs)
    scene = rooms.open("boxes").scene
    scans = scan_folders(str(box_room_folder), "posed")
    surface = geometry_of(scene, scans, "posed")
    assert surface.faces_F3 is not None and f"{len(surface.faces_F3)} triangles" in surface.said
    parts = np.concatenate([rows for _, rows in face_slabs(surface)])
    assert np.array_equal(np.sort(parts), np.arange(len(surface.faces_F3)))
    nothing = geometry_of(rooms.open("other").scene, {}, "posed")
    assert nothing.empty and "--overwrite" in nothing.said and "--scans" in nothing.said


def test_edits_are_saved_at_once_gone_on_with_and_never_written_over_others(rooms, tmp_path):
    room = rooms.open("boxes")
    assert rooms.open("boxes").boxes is room.boxes and rooms.edited() == []
    heard = []
    stop = room.boxes.listen(lambda: heard.append(room.boxes.history.undo))
    first, second = (box.id for box in room.boxes.boxes[:2])
    room.boxes.edit("rename", lambda boxes: renamed(boxes, first, "<b>throne</b>"))
    room.boxes.edit("remove", lambda boxes: removed(boxes, second))
    assert room.boxes.undo() == "remove" and room.boxes.redo() == "remove" and room.boxes.redo() is None
    assert heard == ["rename", "remove", "rename", "remove"]
    stop()
    file = tmp_path / "edits" / "boxes.json"
    assert room.boxes.file == file and "saved" in room.boxes.state() and rooms.edited() == [room.boxes]
    again = SharedBoxes(room.scene, file)
    assert again.boxes == room.boxes.boxes and again.history.undone().boxes == room.scene.objects
    file.write_text(json.dumps({"objects": []}))  # someone else writes it
    room.boxes.undo()
    assert room.boxes.file == tmp_path / "edits" / "boxes.2.json" and json.loads(file.read_text()) == {"objects": []}
    with pytest.raises(DataError, match="no object"):
        room.boxes.edit("remove", lambda boxes: removed(boxes, 999))


def test_edits_that_can_not_be_written_are_said_and_kept(rooms, tmp_path):
    scene = rooms.open("boxes").scene
    (tmp_path / "file").write_text("")
    boxes = SharedBoxes(scene, tmp_path / "file2" / "edits.json")
    (tmp_path / "file2").write_text("in the way")
    boxes.edit("rename", lambda old: renamed(old, scene.objects[0].id, "throne"))
    assert boxes.unsaved and "NOT SAVED" in boxes.state() and boxes.boxes[0].label == "throne"
    (tmp_path / "file2").unlink()
    assert boxes.save() and boxes.unsaved is None and boxes.file.is_file()


def test_a_file_of_another_alignment_is_refused(rooms, tmp_path):
    scene = rooms.open("boxes").scene
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"objects": [], "axis_align": (np.eye(4) * 2).tolist()}))
    with pytest.raises(DataError, match="aligned in another way") as caught:
        SharedBoxes(scene, path)
    assert str(path) in str(caught.value)


def test_prepare_takes_the_edits_with_names_and_numbers(rooms, box_room_folder, tmp_path):
    room = rooms.open("boxes")
    first, second, third, *_ = (box.id for box in room.boxes.boxes)
    room.boxes.edit("rename", lambda boxes: renamed(boxes, first, "throne"))
    room.boxes.edit("merge", lambda boxes: merged(boxes, second, [third]))
    target = room.boxes.boxes[0]
    x, y, z = target.size
    cutter = Cutter((target.center[0] + x / 2, target.center[1], target.center[2]), (x, 2 * y, 2 * z))
    room.boxes.edit("split", lambda boxes: split_off(boxes, first, cutter))
    arguments = PrepareArguments(
        scans=(str(box_room_folder),), out=str(tmp_path / "again"), frames=1, bev_size=120, points=0,
        objects=f"boxes:{room.boxes.file}",
    )  # fmt: skip
    report = prepare(arguments)
    assert report.done == ["boxes"] and not report.failed and not report.noted
    record = tmp_path / "again" / "scenes" / "boxes" / "scene.json"
    assert read_prepared(record).objects == tuple(sorted(room.boxes.boxes, key=lambda box: box.id))
    assert not points_file(record).exists()
    assert default_file(room.scene).parent == room.scene.record.parent


def test_pictures_name_what_they_show_and_escape_it(rooms):
    scene = rooms.open("boxes").scene
    number = scene.frames[0].markers[0].id
    html = gallery(scene, number, {number: '<img src=x onerror="alert(1)">'})
    shown = frames_showing(scene, number)
    assert html.count("<figure") == 1 + len(shown) >= 2 and "<img src=x" not in html and "&lt;img" in html
    assert f"{len(shown)} of 3 frames show object {number}" in html and 'alt="Frame 1' in html
    assert "<script>" not in chosen_html(1, "<script>", (1, 1, 1))
    assert "No frame has a number" in gallery(scene, 999, {})
    broken = replace(scene, bev=replace(scene.bev, image=scene.record))
    assert "can&#x27;t be read" in gallery(broken, None, {})


def test_calls_that_are_wrong_are_said_together(tmp_path, prepared_rooms):
    wrong = ViewArguments(("x",), scans=str(tmp_path / "gone"), format="tun", annotation_dir=str(tmp_path), port=0)
    with pytest.raises(ConfigError) as caught:
        wrong.check()
    assert all(word in str(caught.value) for word in ("gone", "tun", "--predictions", "--port"))
    record = prepared_rooms / "scenes" / "boxes" / "scene.json"
    with pytest.raises(DataError, match="two scenes are called 'boxes'"):
        named([record, tmp_path / "boxes" / "scene.json"])
