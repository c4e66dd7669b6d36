import json

import pytest

from gpt4scene.benchmarks.questions import find_tasks, load_questions
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.images import image_list_file
from gpt4scene.files.media import paths_of, video_name
from gpt4scene.files.questions import read_questions


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def row(scene="scene0000_00", **extra):
    return {"scene_id": scene, "obj_id": 3, "prompt": "What is it?", "ref_captions": ["a chair"], **extra}


@pytest.fixture
def folder(tmp_path):
    """An annotation folder with one scene of two images beside the list of images."""
    annotation = tmp_path / "annotation"
    for name in ("bev", "frame"):
        write(annotation / "images" / f"{name}.png", "not opened by these tests")
    listed = {"scene0000_00": ["images/bev.png", "images/frame.png"]}
    write(annotation / "selected_images_mark_3D_val_32.json", listed)
    write(annotation / "scanqa_val.json", [row(qid="a"), row(qid="a"), row()])
    return annotation


def test_rows_without_or_with_equal_qid_are_all_asked(folder):
    questions = load_questions(folder, ["scanqa"])
    assert [question.key for question in questions] == [("scanqa", 0), ("scanqa", 1), ("scanqa", 2)]
    assert [question.qid for question in questions] == ["a", "a", None]
    assert questions[0].obj_id == 3 and questions[0].ref_captions == ("a chair",)
    assert [image.rsplit("/", 1)[1] for image in questions[0].images] == ["bev.png", "frame.png"]
    assert questions[0].images is questions[2].images


def test_keys_of_the_tasks(folder):
    write(folder / "sqa3d_val.json", [row(sqa_type=4)])
    write(folder / "multi3dref_mask3d_val.json", [row(eval_type="zt_w_d", ref_captions=[])])
    write(folder / "scan2cap_mask3d_val.json", [row(pred_id=7, iou=0.6)])
    write(folder / "scanrefer_mask3d_val.json", [row(obj_id="12")])
    found = {question.task: question for question in load_questions(folder, "all")}
    assert list(found) == ["scanqa", "sqa3d", "scan2cap", "scanrefer", "multi3dref"]
    assert (
        found["sqa3d"].type_info == 4 and found["multi3dref"].type_info == "zt_w_d" and found["scanqa"].type_info == 0
    )
    assert found["scan2cap"].pred_id == 7 and found["scanrefer"].obj_id == 12
    assert found["multi3dref"].ref_captions == ()


def test_proposal_files_go_first_and_plain_names_are_accepted(folder):
    write(folder / "scanrefer_val.json", [row(prompt="plain")])
    assert load_questions(folder, ["scanrefer"])[0].prompt == "plain"
    write(folder / "scanrefer_mask3d_val.json", [row(prompt="proposals")])
    assert load_questions(folder, ["scanrefer"])[0].prompt == "proposals"


def test_all_takes_what_is_there_and_names_are_checked(folder, tmp_path):
    assert find_tasks(folder, "all") == ["scanqa"]
    with pytest.raises(ConfigError, match="did you mean 'scanqa'"):
        find_tasks(folder, "scanq")
    with pytest.raises(DataError, match="scanrefer_mask3d_val.json"):
        find_tasks(folder, "scanqa,scanrefer")
    with pytest.raises(DataError, match="no question file"):
        find_tasks(tmp_path, "all")
    with pytest.raises(DataError, match="does not exist"):
        find_tasks(tmp_path / "absent", "all")


def test_list_of_images_is_chosen_or_asked_for(folder):
    assert image_list_file(folder).name == "selected_images_mark_3D_val_32.json"
    write(folder / "selected_images_val_32.json", {})
    assert image_list_file(folder).name == "selected_images_mark_3D_val_32.json"
    write(folder / "selected_images_mark_3D_val_8.json", {})
    write(folder / "selected_images_mark_3D_train_8.json", {})
    with pytest.raises(DataError, match="val_32.json, selected_images_mark_3D_val_8.json.*choose one with --images"):
        image_list_file(folder)
    assert image_list_file(folder, name="selected_images_val_32.json") == folder / "selected_images_val_32.json"
    assert image_list_file(folder, name=folder / "selected_images_val_32.json").is_file()
    with pytest.raises(DataError, match="tried"):
        image_list_file(folder, name="absent.json")


def test_images_are_found_in_all_four_places(folder, tmp_path, monkeypatch):
    def image():
        return load_questions(folder, ["scanqa"], media)[0].images[0]

    media = tmp_path / "media"
    media.mkdir()
    listed = folder / "selected_images_mark_3D_val_32.json"
    write(listed, {"scene0000_00": ["data/x.png"]})
    expected = [folder.parent / "data", folder / "data", media / "data"]
    for place in expected:
        write(place / "x.png", "")
        assert image() == str(place / "x.png")
    monkeypatch.chdir(write(tmp_path / "work" / "data" / "x.png", "").parent.parent)
    assert image() == "data/x.png"
    write(listed, {"scene0000_00": [str(media / "data" / "x.png")]})
    assert image() == str(media / "data" / "x.png")


def test_missing_image_names_every_place_tried(folder, tmp_path):
    (folder / "images" / "frame.png").unlink()
    with pytest.raises(DataError, match=r"media: there is no such folder"):
        load_questions(folder, ["scanqa"], tmp_path / "media")
    (tmp_path / "media").mkdir()
    with pytest.raises(DataError) as caught:
        load_questions(folder, ["scanqa"], tmp_path / "media")
    message = str(caught.value)
    assert "scene0000_00" in message and "--media_dir" in message
    for place in ("images", tmp_path / "media" / "images", folder / "images", tmp_path / "images"):
        assert f"{place}/frame.png" in message


def test_scene_without_images(folder):
    write(folder / "scanqa_val.json", [row(), row(scene="scene0011_00")])
    with pytest.raises(DataError, match="scene 'scene0011_00' is in the questions but not in the list"):
        load_questions(folder, ["scanqa"])
    write(folder / "selected_images_mark_3D_val_32.json", {"scene0000_00": [], "scene0011_00": []})
    with pytest.raises(DataError, match="scene0000_00"):
        load_questions(folder, ["scanqa"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ('[{"scene_id": "a"', "not JSON"),
        ("{}", "expected a list"),
        ("[3]", "row 0"),
        ('[{"scene_id": "a", "prompt": "x"}, {"scene_id": "a"}]', "row 1: 'prompt'"),
        ('[{"scene_id": "a", "prompt": "x", "obj_id": "chair"}]', "row 0: 'obj_id'"),
        ('[{"scene_id": "a", "prompt": "x", "ref_captions": [{}]}]', "row 0: 'ref_captions'"),
    ],
)
def test_bad_question_files_are_named_with_their_row(folder, content, words):
    path = write(folder / "scanqa_val.json", content)
    with pytest.raises(DataError) as caught:
        load_questions(folder, ["scanqa"])
    assert str(path) in str(caught.value) and words in str(caught.value)


def test_zero_byte_list_of_images(folder):
    write(folder / "selected_images_mark_3D_val_32.json", "")
    with pytest.raises(DataError, match="selected_images_mark_3D_val_32.json: the list of images is empty"):
        load_questions(folder, ["scanqa"])


@pytest.mark.parametrize("name", ["images", "image", "video", "audios", "tools", "system", "messages", "conversations"])
def test_a_key_that_would_change_what_is_asked_is_refused(tmp_path, name):
    path = tmp_path / "scanqa_val.json"
    rows = [{"scene_id": "a", "prompt": "What?"}, {"scene_id": "a", "prompt": "What?", name: ["x.png"]}]
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=f"row 1: '{name}' is not asked"):
        read_questions(path, "scanqa")
    path.write_text(json.dumps([{**rows[0], name: None}, {**rows[0], name: []}, {**rows[0], "split": "val"}]))
    assert len(read_questions(path, "scanqa")) == 3


def test_a_row_with_videos_shows_these_and_needs_no_list(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "frames").mkdir()
    rows = [
        {"scene_id": "a", "prompt": "What?", "videos": ["a.mp4"]},
        {"scene_id": "a", "prompt": "Who?", "videos": "a.mp4"},
        {"scene_id": "b", "prompt": "<video> Where?", "videos": ["frames"]},
    ]
    path = tmp_path / "scanqa_val.json"
    path.write_text(json.dumps(rows))
    a, _, b = load_questions(tmp_path, ["scanqa"])
    assert a.images == (video_name([str(tmp_path / "a.mp4")]),) and paths_of(b.images[0]) == [str(tmp_path / "frames")]
    path.write_text(json.dumps([rows[0], {"scene_id": "far", "prompt": "?", "videos": ["not copied.mp4"]}]))
    assert len(load_questions(tmp_path, ["scanqa"], scenes=["a"])) == len(load_questions(tmp_path, ["scanqa"], limit=1))
    for row, words in (
        ({"videos": ["b.mp4"]}, "row 1: video 'b.mp4' is not there; tried .*set media_dir"),
        ({"videos": ["frames"]}, "row 1: shows other 'videos' than row 0 of the same scene 'a'"),
        ({"videos": [["0.jpg"]]}, "row 1: 'videos' must be a list of paths"),
        ({}, "row 1: shows other 'videos'"),
    ):
        first = rows[0] if words.startswith("row 1: shows") else {**rows[0], "scene_id": "c"}
        path.write_text(json.dumps([first, {"scene_id": "a", "prompt": "What?", **row}]))
        with pytest.raises(DataError, match=words):
            load_questions(tmp_path, ["scanqa"])
