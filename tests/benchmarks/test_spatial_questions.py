"""Questions of rooms as a task: written by annotate, asked, learned and scored like any other."""

import json
from collections import Counter

import pytest
from commands import annotate, score
from plan_scenes import plan, write_plan_scenes

from gpt4scene.benchmarks.questions import load_questions
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.spatial import spatial_report
from gpt4scene.benchmarks.spatial_questions import BENCHMARK, VARIANTS
from gpt4scene.files.annotation import read_attributes
from gpt4scene.files.whole import read_json

TASK = BENCHMARK.name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_plan_scenes(tmp_path_factory.mktemp("rooms") / "scenes", [plan(0), plan(1), plan(2)], 8, "both")


def made(folder, out, *words):
    assert annotate(["--task", TASK, "--scenes", folder, "--out", out, *words]) == 0
    return json.loads((out / "spatial_val.json").read_text())


@pytest.mark.slow
def test_question_files_are_written_without_official_files(folder, tmp_path, capsys):
    rows = made(folder, tmp_path / "out", "--seed", "3")
    said = capsys.readouterr().err
    kinds = Counter(row["type_info"] for row in rows)
    for kind, count in kinds.items():
        assert f"  {kind}: {count}" in said
    assert "left out: " in said and len(kinds) == 10
    questions = load_questions(tmp_path / "out", TASK)
    assert len(questions) == len(rows) and all(len(one.images) == 9 for one in questions)
    assert questions[0].source["question_type"] == questions[0].type_info
    assert read_attributes(tmp_path / "out" / "scannet_val_attributes.pt")
    assert rows == made(folder, tmp_path / "again", "--seed", "3") != made(folder, tmp_path / "other", "--seed", "4")


@pytest.mark.slow
def test_letters_of_right_options_are_spread_evenly(folder, tmp_path):
    rows = made(folder, tmp_path / "out")
    for kind in ("object_rel_distance", "object_rel_direction_hard", "object_rel_direction_medium"):
        letters = Counter(row["ref_captions"][0] for row in rows if row["type_info"] == kind)
        assert max(letters.values()) - min(letters.values()) <= 1 and len(letters) >= 3, kind


@pytest.mark.slow
def test_so_many_of_a_kind_and_scene_as_wanted(folder, tmp_path):
    rows = made(folder, tmp_path / "out", "--per_kind", "2")
    assert max(Counter((row["scene_id"], row["type_info"]) for row in rows).values()) == 2


@pytest.mark.slow
def test_training_rows_are_a_dataset_of_their_own(folder, tmp_path):
    assert annotate(["--task", TASK, "--scenes", folder, "--out", tmp_path, "--split", "train"]) == 0
    (name,) = read_json(tmp_path / "dataset_info.json")
    assert name == "sharegpt_data_spatial_8_images_3D_mark"
    rows = json.loads((tmp_path / f"{name}.json").read_text())
    first = rows[0]["messages"]
    assert (
        first[0]["content"].startswith("<image>" * 9 + "These are frames of a video.\n") and len(rows[0]["images"]) == 9
    )
    texts = {row["messages"][0]["content"].split("\n")[1].split()[0] for row in rows}
    assert len(texts) > 5, "several wordings"
    assert all(row["messages"][1]["content"] for row in rows)


@pytest.mark.slow
def test_perfect_answers_get_full_marks_and_silence_nothing(folder, tmp_path):
    rows = made(folder, tmp_path / "out")
    for answers, expected in ((lambda row: row["ref_captions"][0], 1.0), (lambda row: "", 0.0)):
        journal = [{"pred": answers(row), **row} for row in rows]
        for variant in VARIANTS:
            report = spatial_report(TASK, variant, journal)
            assert set(report.scores.values()) == {expected}, (variant.name, report.scores)
            assert not report.notes


@pytest.mark.slow
def test_the_score_command_reads_answers_to_them(folder, tmp_path, capsys):
    rows = made(folder, tmp_path / "out")
    answered = [{**row, "pred": row["ref_captions"][0], "index": place} for place, row in enumerate(rows)]
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred" / "spatial.json").write_text(json.dumps(answered))
    assert score(["--predictions", tmp_path / "pred", "--annotation_dir", tmp_path / "out"]) == 0
    assert "overall" in capsys.readouterr().out


@pytest.mark.slow
def test_both_sets_of_rules_share_the_figures(folder, tmp_path):
    ours, theirs = (made(folder, tmp_path / name, "--rules", name) for name in ("vsi", "revsi"))
    journal = [{"pred": row["ref_captions"][0], **row} for row in [*ours, *theirs]]
    report = spatial_report(TASK, VARIANTS[0], journal)
    assert set(report.scores) == {"overall", *BENCHMARK_FIGURES}


BENCHMARK_FIGURES = (
    *("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation"),
    *("object_rel_distance", "object_rel_direction", "route_planning", "obj_appearance_order"),
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rules", "vsx"], "rules 'vsx'"),
        (["--per_kind", "-1"], "--per_kind"),
        (["--refer", "name"], "--refer"),
        (["--refer", "number", "--rules", "revsi"], "take --rules vsi"),
        (["--split", "test"], "--split"),
    ],
)
def test_wrong_words_are_answered_in_one_sentence(folder, tmp_path, capsys, words, said):
    assert annotate(["--task", TASK, "--scenes", folder, "--out", tmp_path / "out", *words]) == 2
    message = capsys.readouterr().err.strip()
    assert said in message and "Traceback" not in message and not (tmp_path / "out").exists()


def test_folders_that_are_not_named_are_asked_for(folder, tmp_path, capsys):
    assert annotate(["--task", TASK, "--out", tmp_path]) == 2
    assert f"{TASK} asks about scenes; give --scenes" in capsys.readouterr().err
    assert annotate(["--task", "scanqa", "--scenes", folder, "--out", tmp_path]) == 2
    assert "--raw is missing" in capsys.readouterr().err


def test_scenes_without_a_description_are_counted(folder, tmp_path, capsys):
    copy = write_plan_scenes(tmp_path / "scenes", [plan(0), plan(1)], 8)
    (copy / "scenes" / plan(0).scene_id / "scene.json").unlink()
    rows = made(copy, tmp_path / "out")
    assert {row["scene_id"] for row in rows} == {plan(1).scene_id}
    assert "1 x scene without scene.json" in capsys.readouterr().err
    (copy / "scenes" / plan(1).scene_id / "scene.json").write_text("{")
    assert annotate(["--task", TASK, "--scenes", copy, "--out", tmp_path / "more"]) != 0
    assert "scene.json: is damaged" in capsys.readouterr().err


def test_all_tasks_leave_it_out_since_its_questions_have_no_official_files():
    assert BENCHMARKS[TASK].from_scenes and not BENCHMARKS[TASK].raw_files


@pytest.mark.slow
def test_the_pages_commands_do_what_they_say(folder, tmp_path, root):
    """The annotate commands of the page, with its folders put elsewhere; the others are those of other pages."""
    page = (root / "docs" / "spatial-questions.md").read_text()
    commands = [line.split()[2:] for line in page.splitlines() if line.startswith("gpt4scene annotate")]
    assert len(commands) == 2
    for words in commands:
        places = {"--scenes": str(folder), "--out": str(tmp_path / "out")}
        words = [places.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        assert annotate(words) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"sharegpt_data_spatial_8_images_3D_mark.json", "spatial_val.json"} <= names
    for flag in ("--rules", "--per_kind", "--refer", "--seed", "--wordings"):
        assert f"`{flag} " in page


def test_scenes_of_an_earlier_version_are_counted_with_the_way_out(tmp_path, capsys):
    copy = write_plan_scenes(tmp_path / "scenes", [plan(0)], 8)
    path = copy / "scenes" / plan(0).scene_id / "scene.json"
    content = json.loads(path.read_text())
    del content["room"]
    path.write_text(json.dumps(content))
    kinds = {row["type_info"] for row in made(copy, tmp_path / "out")}
    assert "room_size_estimation" not in kinds and "object_abs_distance" in kinds
    assert "1 x scene prepared by an earlier version" in (said := capsys.readouterr().err) and "--overwrite" in said
