"""Boxes over the images of a prepared room: they lie where its markers say, and are not drawn over anything else."""

import json
import shutil

import numpy as np
import pytest
from commands import report as report_command
from PIL import Image
from prepared_room import SCENE, prepare_room, record_of

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.judging import Judged, Pointed
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.prepared import read_prepared
from gpt4scene.metrics.answer_boxes import answer_boxes
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.report import overlay
from gpt4scene.report.images import PageImage
from gpt4scene.report.overlay import Pointing, overlays
from gpt4scene.report.plan import RoomPlan
from gpt4scene.report.projecting import from_above, in_frame
from gpt4scene.report.scene_records import cameras_of, disagreement


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The furnished room, prepared: three frames, a bird's-eye view, scene.json and attribute files."""
    return prepare_room(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def room(prepared, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(prepared, tmp_path / "room")


def page_images(folder):
    listed = json.loads((folder / "selected_images_mark_3D_val_3.json").read_text())[SCENE]
    names = ["bird's-eye view", *(name.rsplit("/")[-1].removesuffix(".jpg") for name in listed[1:])]
    sizes = [Image.open(folder / name).size for name in listed]
    return [
        PageImage(name, f"images/{at}.jpg", *size, source=folder / path, full=size)
        for at, (name, path, size) in enumerate(zip(names, listed, sizes, strict=True))
    ]


def drawn(folder, *pointed, annotation=None, images=None, given=None):
    annotation = annotation or Annotation(folder)
    items = [
        Judged(AnswerRow(SCENE, "", origin=f"row {at}"), "", "", (), pointed=one) for at, one in enumerate(pointed)
    ]
    tasks = {"task": Pointing(items, RoomPlan.of(annotation, SCENE), annotation)}
    return overlays(SCENE, page_images(folder) if images is None else images, tasks, given)


def holds(shape_K2, pixel):
    """Whether a convex shape holds the middle of a pixel, one pixel of rounding allowed."""
    point, ahead_K2 = np.array(pixel) + 0.5, np.roll(shape_K2, -1, axis=0) - shape_K2
    away_K2 = point - shape_K2
    turn_K = ahead_K2[:, 0] * away_K2[:, 1] - ahead_K2[:, 1] * away_K2[:, 0]
    return bool((turn_K / np.linalg.norm(ahead_K2, axis=1) >= -1).all())


def test_every_marker_lies_inside_its_box_and_most_in_no_other_one(prepared):
    scene = read_prepared(record_of(prepared))
    boxes = {item.id: np.array([*item.center, *item.size]) for item in scene.objects}
    inside, elsewhere = [], []
    for camera, project in [(scene.bev, from_above), *((frame, in_frame) for frame in scene.frames)]:
        shapes = {number: found for number, box in boxes.items() if (found := project(box, camera)) is not None}
        for marker in camera.markers:
            inside.append(holds(shapes[marker.id].outline_K2, marker.pixel))
            elsewhere += [holds(one.outline_K2, marker.pixel) for other, one in shapes.items() if other != marker.id]
    assert len(inside) >= 15 and all(inside)
    assert np.mean(elsewhere) < 0.3, "boxes that are too large would hold every marker"


def test_an_answer_shows_the_view_from_above_and_frames_with_its_numbers(prepared):
    sofa, cup = 6, 1
    found = drawn(prepared, Pointed((sofa,), (cup,)), Pointed((sofa,), (sofa,)))
    assert not found.missing and found.tasks == {"task"}
    first, second = found.looks["task", 0], found.looks["task", 1]
    assert first.views[0].image_name == "bird's-eye view" and 2 <= len(first.views) <= 1 + overlay.FRAMES
    names = {shape.id: shape.name for shape in found.shapes}
    assert [names[id] for id in first.views[0].shapes] == ["object 1 cup (meant)", "marked 6 sofa (named)"]
    scene = read_prepared(record_of(prepared))
    for view in first.views[1:]:
        markers = {marker.id for marker in scene.frames[view.image - 1].markers} & {sofa, cup}
        said = f"number{'s' if len(markers) > 1 else ''} {', '.join(map(str, sorted(markers)))} "
        assert not markers or said in view.said
        assert len(view.shapes) == len(markers) or "may be hidden" in view.said
    assert {"meant", "named"} == {shape.kind for shape in found.shapes}
    both = set(first.views[0].shapes) & set(second.views[0].shapes)
    assert len(both) == 1, "the same box in the same image is there once"
    assert found.sizes[0] == (scene.bev.width, scene.bev.height) and set(found.sizes) <= {0, 1, 2, 3}


def test_a_box_that_no_frame_shows_is_said(room):
    content = json.loads(record_of(room).read_text())
    for frame in content["frames"]:
        frame["markers"] = []
        frame["pose"][2][3] += 50.0  # far above, where nothing is large enough
    record_of(room).write_text(json.dumps(content))
    found = drawn(room, Pointed((6,), ()))
    assert found.looks["task", 0].hidden == ("marked 6 sofa",) and len(found.looks["task", 0].views) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content["objects"][2]["center"].__setitem__(0, 9.0), "object 2 differs by 9.30 m"),
        (lambda content: content["objects"].pop(), "other marked boxes (object 6 is in one of them only)"),
        (lambda content: content["ground_truth"].pop(0), "other annotated boxes (object 0 is in one of them only)"),
        (lambda content: content["frames"][1].update(width=777), "pixels, not 777 x 150"),
        (lambda content: content["frames"][0].update(image="images_2D/boxes/x.jpg"), "has no image 'boxes/00000'"),
        (lambda content: content.pop("bev"), "is damaged; remove it and prepare the scene again"),
    ],
)
def test_nothing_is_drawn_where_images_or_boxes_are_others(change, said, room):
    content = json.loads(record_of(room).read_text())
    change(content)
    record_of(room).write_text(json.dumps(content))
    found = drawn(room, Pointed((2,), (2,)))
    assert len(found.missing) == 1 and said in found.missing[0]
    assert not found.shapes and not found.looks and not found.sizes


def test_scene_files_are_found_beside_the_images_or_where_the_user_says(room, tmp_path):
    record = record_of(room)
    away = record.rename(tmp_path / "scene.json")
    (missing,) = drawn(room, Pointed((2,), ())).missing
    assert "no scene.json" in missing and "--scenes names the folder" in missing
    other = tmp_path / "other" / "scenes" / SCENE / "scene.json"
    other.parent.mkdir(parents=True)
    assert drawn(room, Pointed((2,), ()), given={SCENE: away.rename(other)}).shapes
    assert drawn(room, Pointed((2,), ()), given={}).missing == (f"--scenes has no scene '{SCENE}'",)
    shown = [PageImage("bird's-eye view", missing="lost")]
    assert drawn(room, Pointed((2,), ()), images=shown).missing == ("no image of this scene is shown",)
    assert overlays(SCENE, page_images(room), {}) == overlay.Overlays()


def test_boxes_of_answers_themselves_need_true_boxes_that_say_where_they_lie(prepared):
    truth = Annotation(prepared).ground_truth
    own = answer_boxes({"row 0": truth[SCENE][6:] + [0.1, 0, 0, 0, 0, 0]}, {"row 0": SCENE})
    found = drawn(prepared, Pointed((0,), (6,)), annotation=Annotation(prepared, marked=own))
    assert not found.missing
    assert any("number 6 drawn" in view.said for view in found.looks["task", 0].views), "by its overlap"
    turned = SceneBoxes({SCENE: truth[SCENE][:, [1, 0, 2, 4, 3, 5]]}, "boxes of another frame")
    scene = cameras_of(SCENE, page_images(prepared), None).scene
    assert "boxes of another frame and" in disagreement(Annotation(prepared, marked=own, truth=turned), scene)


def test_the_page_draws_them(room, tmp_path, capsys):
    rows = [{"scene_id": SCENE, "obj_id": 6, "qid": 0, "prompt": "Which?", "ref_captions": ["<OBJ006>."]}]
    (room / "scanrefer_mask3d_val.json").write_text(json.dumps(rows))
    answers = [{"scene_id": SCENE, "gt_id": 6, "pred": f"<OBJ001>. {'long ' * 99}", "prompt": "Which?", "index": 0}]
    (tmp_path / "scanrefer.jsonl").write_text(json.dumps(answers[0]) + "\n")
    words = ["--predictions", str(tmp_path / "scanrefer.jsonl"), "--annotation_dir", str(room), "--out"]
    assert report_command([*words, str(tmp_path / "out")]) == 0
    text = (tmp_path / "out/scenes/boxes.html").read_text()
    assert text.count("Boxes in the images</summary>") == 1 and 'id="scanrefer-0"' in text
    assert text.count("<li data-see=") >= 2
    assert "marked 1 cup (named)" in text and "object 6 sofa (meant)" in text and "all 505 characters" in text
    used = {part.split('"')[0] for part in text.split('href="#')[1:]}
    used |= {id for part in text.split('data-see="')[1:] for id in part.split('"')[0].split()[1:]}
    for name in used:
        assert text.count(f'id="{name}"') == 1, "every name that is used is there once"
    assert (tmp_path / "out/scenes/scene.js").is_file()
    assert report_command([*words, str(tmp_path / "out"), "--scenes", str(room / "images_2D")]) == 1
    assert "holds no prepared scene" in capsys.readouterr().err
    record_of(room).unlink()
    assert report_command([*words, str(tmp_path / "out")]) == 0
    text = (tmp_path / "out/scenes/boxes.html").read_text()
    assert "Boxes are not drawn in the images: no scene.json" in text and "data-see" not in text
