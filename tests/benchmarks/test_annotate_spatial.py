"""``annotate`` of spatial benchmarks: images of rows, frames of recordings and of prepared scenes, each task's list."""

import json
from pathlib import Path

import pytest
from commands import annotate as command
from PIL import Image
from spatial_files import (
    OF_SCENES,
    OWN,
    SCENES,
    base64_of,
    mindcube_rows,
    mmsi_rows,
    parquet,
    picture,
    sparbench_rows,
    write_raw,
    write_scenes,
)

from gpt4scene import cli
from gpt4scene.benchmarks.annotate import AnnotateArguments, annotate
from gpt4scene.benchmarks.questions import load_questions
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.signature import split_named
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.media import is_video
from gpt4scene.files.whole import read_json


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    write_raw(tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def scenes(tmp_path):
    write_scenes(tmp_path / "scenes")
    return tmp_path / "scenes"


@pytest.fixture
def make(raw, tmp_path):
    lines = []

    def run(**keys):
        arguments = {
            "raw": str(raw),
            "out": str(tmp_path / "out"),
            **{name: str(value) if isinstance(value, Path) else value for name, value in keys.items()},
        }
        lines.clear()
        made = annotate(AnnotateArguments(**arguments), say=lines.append)
        return made

    run.out, run.lines = tmp_path / "out", lines
    return run


def listed(out, task):
    return json.loads((out / f"images_{task}_val.json").read_text())


@pytest.mark.parametrize("task", OWN)
def test_questions_show_the_images_that_their_rows_bring(make, task):
    made = make(task=task).tasks[task]
    questions = load_questions(make.out, task)
    assert len(questions) == len(made.rows) > 0 and not made.dropped
    for question in questions:
        assert question.images and question.source
        for path in question.images:
            with Image.open(path) as image:
                assert image.size == (56, 56)
    assert set(listed(make.out, task)) == {question.scene_id for question in questions}
    assert not list(make.out.glob("selected_images*"))


def test_images_are_those_of_the_row_in_their_order(make):
    make(task="mmsi,mindcube,sparbench")
    of_task = {task: load_questions(make.out, task) for task in ("mmsi", "mindcube", "sparbench")}
    shown = {task: [[Path(p).read_bytes() for p in q.images] for q in found] for task, found in of_task.items()}
    assert shown["mmsi"] == [[picture(10), picture(20)], [picture(11), picture(20)]]
    assert shown["mindcube"] == [[picture(0), picture(1)]] * 2 + [[picture(2)]]
    assert shown["sparbench"] == [[picture(30)]] * 2
    assert len({question.scene_id for question in of_task["mindcube"]}) == 2  # the same images share a prefix
    assert len({question.scene_id for question in of_task["sparbench"]}) == 1


def test_a_second_run_gives_the_same_files(make):
    make(task="mmsi,mindcube")
    first = {path: path.read_bytes() for path in make.out.rglob("*") if path.is_file()}
    make(task="mmsi,mindcube")
    assert {path: path.read_bytes() for path in make.out.rglob("*") if path.is_file()} == first


@pytest.mark.parametrize("cell", [lambda seeds: str([base64_of(s) for s in seeds]), lambda seeds: base64_of(seeds[0])])
def test_images_in_a_table_are_base64(make, raw, cell):
    table = "index\timage\tquestion\tanswer\tcategory\n"
    table += f'1\t{cell([5, 6])}\t"Where?\nOptions: A: left, B: right, C: up, D: down"\tA\tMSR\n'
    (raw / "MMSIBench.tsv").write_text(table)
    make(task="mmsi", raw=f"mmsi={raw / 'MMSIBench.tsv'}")
    shown = [Path(path).read_bytes() for path in load_questions(make.out, "mmsi")[0].images]
    assert shown == [picture(5), picture(6)][: len(shown)]


def test_an_image_that_is_not_there_is_named_with_its_row_or_dropped_and_counted(make, raw):
    (raw / "set" / "c.png").unlink()
    with pytest.raises(
        DataError,
        match=r"tinybench.jsonl, row 2: image 'set/c.png' was not found; tried: .*--media_dir .*--absent_images drop",
    ):
        make(task="mindcube")
    made = make(task="mindcube", absent_images="drop").tasks["mindcube"]
    assert len(made.rows) == 2 and made.dropped == {"images that were not found": 1}
    assert any("mindcube: 2 rows; dropped: images that were not found: 1" in line for line in make.lines)


def test_media_dir_names_where_images_lie(make, raw, tmp_path):
    (raw / "set").rename(tmp_path / "elsewhere")
    (tmp_path / "set").mkdir()
    for path in (tmp_path / "elsewhere").iterdir():
        path.rename(tmp_path / "set" / path.name)
    (tmp_path / "other").mkdir()
    (tmp_path / "set").rename(tmp_path / "other" / "set")
    assert len(make(task="mindcube", media_dir=tmp_path / "other").tasks["mindcube"].rows) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": []}, r"MMSI_Bench.parquet, row 0: brings no images"),
        ({"images": [b"no picture"]}, r"row 0: image 0 is no image that can be read"),
    ],
)
def test_odd_images_are_named(make, raw, change, said):
    parquet(raw / "MMSI_Bench.parquet", [mmsi_rows()[0] | change])
    with pytest.raises(DataError, match=said):
        make(task="mmsi")


@pytest.mark.parametrize("task", OF_SCENES)
def test_questions_about_prepared_scenes_show_their_images(make, scenes, task):
    made = make(task=task, scenes=scenes).tasks[task]
    questions = load_questions(make.out, task)
    assert {question.scene_id for question in questions} <= set(SCENES)
    assert made.dropped.get("scene without images", 0) == (2 if task in ("vsibench", "revsi") else 0)
    for question in questions:
        assert [Path(path).name for path in question.images] == ["bev.jpg", "0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert not list(make.out.glob("*.pt")) and not list(make.out.glob("selected_images*"))


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"frames": 2}, ["images_3D/bev.jpg", "images_2D/0.jpg", "images_2D/3.jpg"]),
        ({"bev": False}, [f"images_2D/{n}.jpg" for n in range(4)]),
        ({"marks": False, "frames": 1}, ["images_3D_unmarked/bev.jpg", "images_2D_unmarked/0.jpg"]),
        ({"bev": False, "marks": False, "frames": 3}, [f"images_2D_unmarked/{n}.jpg" for n in (0, 1, 3)]),
    ],
)
def test_what_is_shown_of_a_prepared_scene_can_be_chosen(make, scenes, keys, names):
    make(task="vsibench", scenes=scenes, **keys)
    shown = [Path(path) for path in listed(make.out, "vsibench")[SCENES[0]]]
    assert [f"{path.parts[-3]}/{path.name}" for path in shown] == names


def test_unmarked_images_that_were_not_kept_are_said(make, scenes):
    (scenes / "selected_images_3D_val_4.json").unlink()
    with pytest.raises(DataError, match="no list of images without marks .*--keep_unmarked true"):
        make(task="vsibench", scenes=scenes, marks=False)


@pytest.mark.parametrize(
    ("marks", "said"),
    [(True, r"no list of images \(.*_9\.json\)"), (False, r"no list has 9 frames .*_4\.json\); give")],
)
def test_more_frames_than_were_prepared_are_refused(make, scenes, marks, said):
    with pytest.raises(DataError, match=said):
        make(task="vsibench", scenes=scenes, marks=marks, frames=9)


def test_a_list_without_a_number_of_frames_is_named(make, scenes):
    (scenes / "selected_images_mark_3D_val_4.json").rename(scenes / "selected_images_mark_3D_val.json")
    with pytest.raises(DataError, match="does not end with the number of frames"):
        make(task="vsibench", scenes=scenes)


def test_frames_are_taken_again_when_pictures_were_added(make, tmp_path):
    """Also where the questions are written beside the recordings, whose frames are no recordings."""
    folder = tmp_path / "out" / SCENES[0]
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.png").write_bytes(picture(number))
        if number > 2:
            make(task="vsibench", videos=tmp_path / "out", frames=4)
            found = [Path(path).name for path in listed(make.out, "vsibench")[SCENES[0]]]
            assert found == [f"00000{n}.jpg" for n in ((0, 1, 2, 3) if number == 3 else (0, 1, 2, 4))]


def test_frames_come_from_folders_of_pictures(make, tmp_path):
    for scene, count in zip((f"002-scannet-{SCENES[0]}", SCENES[1]), (9, 2), strict=True):
        folder = tmp_path / "videos" / "scannet" / scene
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}-rgb.png").write_bytes(picture(number))
            (folder / f"{number}-depth.png").write_bytes(picture(50))
    made = make(task="vsibench,open_eqa", videos=tmp_path / "videos", frames=4)
    assert made.tasks["vsibench"].dropped == {"scene without images": 2}
    names = {scene: [Path(path).name for path in paths] for scene, paths in listed(make.out, "open_eqa").items()}
    assert names == {SCENES[0]: [f"00000{n}.jpg" for n in (0, 2, 5, 8)], SCENES[1]: ["000000.jpg", "000001.jpg"]}
    assert read_json(make.out / "frames_4" / SCENES[0] / "frames.json")["frames"] == [0, 2, 5, 8]
    assert listed(make.out, "vsibench") == listed(make.out, "open_eqa")
    assert load_questions(make.out, "all")[0].images[0].endswith(f"frames_4/{SCENES[0]}/000000.jpg")


def test_two_recordings_of_one_scene_are_refused(make, tmp_path):
    for folder in ("16_frame", "32_frame"):
        (tmp_path / "videos" / folder / SCENES[0]).mkdir(parents=True)
        (tmp_path / "videos" / folder / SCENES[0] / "0.png").write_bytes(picture(0))
    with pytest.raises(DataError, match=f"several recordings of scene '{SCENES[0]}' .*name the folder"):
        make(task="vsibench", videos=tmp_path / "videos")


def test_a_task_keeps_its_own_list_beside_others(make, scenes, tmp_path):
    make(task="vsibench", scenes=scenes, bev=False)
    make(task="revsi", scenes=scenes, frames=1)
    make(task="mindcube")
    counts = {question.task: len(question.images) for question in load_questions(make.out, "all")}
    assert counts == {"vsibench": 4, "revsi": 2, "mindcube": 1}
    other = {scene: [str(scenes / f"images_2D/{scene}/2.jpg")] for scene in SCENES}
    (make.out / "other.json").write_text(json.dumps(other))
    counts = {q.task: len(q.images) for q in load_questions(make.out, "all", images="other.json")}
    assert counts == {"vsibench": 1, "revsi": 1, "mindcube": 1}  # the last has scenes that the named list lacks
    assert load_questions(make.out, "mindcube", images="other.json")[0].images[0].endswith("set/a.png")
    (make.out / "images_mindcube_val.json").unlink()
    with pytest.raises(DataError, match="images_mindcube_val.json: the list of the images of mindcube is not there"):
        load_questions(make.out, "mindcube")


def test_all_makes_what_is_there_and_says_the_rest_in_one_line(make, raw, scenes):
    for path in (raw / "open-eqa-v0.json", raw / "metadata_scannet_qa.json"):
        path.unlink()
    made = make(scenes=scenes)
    assert {"vsibench", "revsi", *OWN} == set(made.tasks)
    assert [line for line in make.lines if line.startswith("skipped")] == [make.lines[-1]]
    assert (
        make.lines[-1].startswith("skipped, for want of official files: scanqa, ") and " open_eqa, " in make.lines[-1]
    )
    assert not any(f" {task}" in make.lines[-1] for task in made.tasks)


def test_official_files_can_be_named_one_by_one(make, raw, scenes):
    (raw / "MindCube_tinybench_raw_qa.jsonl").write_text(json.dumps(mindcube_rows()[0] | {"input_prompt": "Draw."}))
    assert (
        make(task="mindcube", raw=raw / "MindCube_tinybench_raw_qa.jsonl").tasks["mindcube"].rows[0]["prompt"]
        == "Draw."
    )
    vsi = raw / "VSI-Bench" / "test-00000-of-00001.parquet"
    found = make(raw=f"vsibench={vsi}, {raw / 'ViewSpatial-Bench' / 'ViewSpatial-Bench.json'}", scenes=scenes)
    assert set(found.tasks) == {"vsibench", "viewspatial"} and not found.skipped
    with pytest.raises(ConfigError, match="--raw names no official file of 'mindcube'; add mindcube=FILE"):
        make(raw=f"vsibench={vsi}", task="vsibench,mindcube", scenes=scenes)


def test_another_split_of_the_official_files_is_read_by_name(make, raw, scenes):
    place = raw / "VSI-Bench"
    (place / "test-00000-of-00001.parquet").rename(place / "test_debiased.parquet")
    with pytest.raises(DataError, match="VSI-Bench/test-.*parquet or VSI-Bench/test.parquet or .* is not in"):
        make(task="vsibench", scenes=scenes)
    assert len(make(task="vsibench", scenes=scenes, raw_split="test_debiased").tasks["vsibench"].rows) == 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            {"task": "vsibench", "split": "train"},
            "'vsibench' is for evaluation only, and has no training rows; use --split val",
        ),
        (
            {"task": "vsibench"},
            "vsibench asks about scenes; give --scenes, a folder that `gpt4scene prepare` wrote, or --videos",
        ),
        ({"task": "scanrefer", "marks": "false"}, "--marks false: scanrefer names objects by their marks"),
        ({"task": "vsibench", "videos": "none"}, "--videos none: there is no such folder"),
        ({"task": "mindcube", "media_dir": "none"}, "--media_dir none: there is no such folder"),
        ({"task": "mindcube", "raw": "none"}, "--raw none: there is no such folder, and no such file"),
        ({"task": "mindcube", "absent_images": "pass"}, 'Choose from: "refuse", "drop"'),
        ({"task": "vsibench", "frames": "-1"}, "--frames"),
    ],
)
def test_wrong_calls_are_one_sentence(raw, tmp_path, capsys, flags, said):
    (raw / "ScanRefer_filtered_val.json").write_text("[]")
    words = {"raw": raw, "out": tmp_path / "out", **flags}
    status = command([word for name, value in words.items() for word in (f"--{name}", value)])
    captured = capsys.readouterr()
    assert status in (1, 2) and said in captured.err and "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_every_spatial_benchmark_is_tried_here():
    tried = {*OWN, *OF_SCENES, "beacon3d_grounding", "spatial"}
    assert {name for name, one in BENCHMARKS.items() if one.image_list or one.references} - {"scan2cap"} == tried


def test_rows_of_a_shard_are_read_one_file_after_the_other(make, raw):
    assert [row["qid"] for row in make(task="sparbench").tasks["sparbench"].rows] == [0, 1]
    parquet(raw / "elsewhere" / "SPAR-Bench" / "data" / "test-00000-of-00001.parquet", sparbench_rows())
    with pytest.raises(DataError, match="is in several folders .*keep one"):
        make(task="sparbench")


def test_a_missing_shard_is_named(make, raw):
    (raw / "SPAR-Bench" / "data" / "test-00000-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"1 of 2 files are not there, .* test-00000-of-00002\.parquet; download"):
        make(task="sparbench")


@pytest.mark.parametrize(
    ("name", "split"),
    [("test-00000-of-00001.parquet", "test"), ("test_debiased.parquet", "test_debiased"), ("test.jsonl", "test")],
)
def test_a_signature_tells_which_official_split_was_asked(name, split):
    assert split_named(Path("VSI-Bench", name), BENCHMARKS["vsibench"]) == split


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--task", "scanqa", "--per_kind", "3"),
            "--per_kind shape questions made of scenes, and no task here makes any",
        ),
        (("--task", "scanqa", "--refer", "number", "--rules", "revsi"), "--rules and --refer shape questions"),
        (("--task", "spatial", "--raw", "."), "--raw . is not read: the questions are made of scenes"),
    ],
)
def test_flags_that_no_task_uses_are_refused(tmp_path, capsys, flags, sentence):
    more = () if "--raw" in flags else ("--raw", str(tmp_path))
    assert cli.main(["annotate", "--out", str(tmp_path / "out"), *more, *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_frames_of_a_replaced_picture_are_taken_again(make, tmp_path):
    folder = tmp_path / "videos" / SCENES[0]
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.png").write_bytes(picture(number))
    make(task="vsibench", videos=tmp_path / "videos")
    taken = make.out / "frames_32" / SCENES[0] / "000001.jpg"
    before = taken.read_bytes()
    (folder / "1.png").write_bytes(picture(90))
    make(task="vsibench", videos=tmp_path / "videos")
    assert taken.read_bytes() != before


@pytest.mark.parametrize(
    ("task", "keys", "said"),
    [
        (
            "mindcube",
            {"videos": "x", "frames": 4, "bev": False},
            "--frames, --bev and --videos have no use here: mindcu",
        ),
        ("vsibench", {"media_dir": "x", "absent_images": "drop"}, "--media_dir and --absent_images have no use here"),
        ("mindcube", {"scenes": "x"}, "--scenes has no use here: mindcube shows images that its rows bring; leave it"),
        ("vsibench", {"videos": "x", "marks": False}, "--marks has no use here: vsibench shows frames of recordings"),
    ],
)
def test_flags_about_images_that_no_task_shows_are_refused(make, scenes, tmp_path, task, keys, said):
    (tmp_path / "x").mkdir()
    keys = {name: tmp_path / "x" if value == "x" else value for name, value in keys.items()}
    if task == "vsibench" and "videos" not in keys:
        keys["scenes"] = scenes
    with pytest.raises(ConfigError, match=said):
        make(task=task, **keys)


def test_recordings_are_shown_as_videos_where_that_is_asked_for(make, tmp_path):
    """The lists name the recordings, nothing is written of them, and questions show them."""
    folder = tmp_path / "videos" / SCENES[0]
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(picture(0))
    (tmp_path / "videos" / f"{SCENES[1]}.mp4").write_bytes(b"not looked at here")
    make(task="vsibench", videos=tmp_path / "videos", as_video=True)
    assert not list(make.out.glob("frames_*"))
    assert {tuple(map(Path, paths))[0].name for paths in listed(make.out, "vsibench").values()} <= {
        SCENES[0],
        f"{SCENES[1]}.mp4",
    }
    shown = {question.images for question in load_questions(make.out, "vsibench")}
    assert all(len(names) == 1 and is_video(names[0]) for names in shown) and len(shown) == 2
    with pytest.raises(ConfigError, match="--frames are taken by video_fps and video_maxlen with --as_video"):
        make(task="vsibench", videos=tmp_path / "videos", as_video=True, frames=4)
