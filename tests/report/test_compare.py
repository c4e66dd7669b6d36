"""Two runs side by side: what got better and worse, what only one has, and what is refused."""

import json

import pytest
from commands import report as report_command

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.metrics import texts as text_metrics
from gpt4scene.report import compare_pages, pages
from gpt4scene.report.compare import Pair, Side, compare_runs

SETTINGS = {"engine": "server", "model": "small", "temperature": 0.0}
TRUE = ["red", "dark blue", "pale red", "green", "grey", "white"]
ROWS = [
    {"scene_id": f"room_{at // 3}", "obj_id": 0, "qid": at, "prompt": f"What is {at}?", "ref_captions": [word]}
    for at, word in enumerate(TRUE)
]
OTHER = ["red", "black", "red", "<b>gr</b>", "grey", "black"]
THIS = ["red", "dark blue", "pale red", "teal", "blue", "black"]


@pytest.fixture
def annotation(tmp_path, monkeypatch):
    monkeypatch.setattr(text_metrics, "find_java", lambda: None)
    folder = tmp_path / "annotation"
    folder.mkdir()
    for task in ("scanqa", "sqa3d"):
        (folder / BENCHMARKS[task].question_name("val")).write_text(json.dumps(ROWS))
    return folder


@pytest.fixture
def runs(annotation, tmp_path):
    return write(tmp_path / "other", OTHER), write(tmp_path / "this", THIS, model="large")


def write(folder, answers, task="scanqa", **settings):
    """Write a journal; an answer of None is not there."""
    folder.mkdir(exist_ok=True)
    lines = [{"settings": SETTINGS | settings, "fingerprint": "0"}]
    for row, answer in zip(ROWS, answers, strict=True):
        said = {**row, "gt_id": row["obj_id"], "pred_id": None, "pred": answer, "type_info": 0}
        lines += [] if answer is None else [said | {"index": row["qid"], "task": task}]
    (folder / f"{task}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def compared(annotation, other, this):
    reports = pages.score_folders({"o": (other, annotation), "t": (this, annotation)})
    return compare_runs(Side.of(other, reports["o"]), Side.of(this, reports["t"]), BENCHMARKS)


def call(annotation, other, this, out, *more):
    words = [
        "--predictions",
        str(this),
        "--compare",
        str(other),
        "--annotation_dir",
        str(annotation),
        "--out",
        str(out),
    ]
    return report_command([*words, *more])


def test_questions_get_better_and_worse_by_verdict_and_figure(annotation, runs):
    (task,) = compared(annotation, *runs).tasks
    assert task.changes == {"better": 2, "worse": 1, "reworded": 1, "same": 2}
    assert [pair.this.question for pair in task.changed("better")] == ["What is 1?", "What is 2?"], "two steps go first"
    assert task.verdicts == {
        ("right", "right"): 1,
        ("wrong", "right"): 1,
        ("partly", "right"): 1,
        ("wrong", "wrong"): 2,
        ("right", "wrong"): 1,
    }
    gain = task.differences["EM1"]
    assert (gain.first, gain.second, gain.rows) == (2 / 6, 3 / 6, 6)
    assert task.words == ["wrong", "partly", "right"]


def test_a_figure_alone_tells_where_the_verdicts_are_the_same(annotation, runs):
    (task,) = compared(annotation, *runs).tasks
    line = task.pairs[0].this
    better = Pair(line, type(line)(**{**vars(line), "figure": line.figure + 0.25}))
    assert (better.change, better.gain, better.steps) == ("better", 0.25, 0)
    unlike = Pair(line, type(line)(**{**vars(line), "figure": 0.0, "metric": "another"}))
    assert (unlike.change, unlike.gain) == ("same", 0.0)
    assert Pair(line, type(line)(**{**vars(line), "figure": None})).change == "same"


def test_what_one_run_lacks_is_named_and_not_compared(annotation, runs, tmp_path):
    write(runs[0], [None, *OTHER[1:]])
    write(runs[1], [*THIS[:5], None], model="large")
    write(runs[1], THIS, task="sqa3d")
    found = compared(annotation, *runs)
    assert found.notes == ("SQA3D is answered in this only and not compared",)
    (task,) = found.tasks
    assert [line.question for line in task.only_this] == ["What is 0?"]
    assert [line.question for line in task.only_other] == ["What is 5?"]
    assert len(task.pairs) == task.differences["EM1"].rows == 4
    assert any("other: 1 of 6 questions have no answer" in warning for warning in task.warnings)


def test_settings_that_differ_stand_on_top(annotation, runs):
    found = compared(annotation, *runs)
    assert found.settings["model"] == ("small", "large") and "engine" not in found.settings


def test_the_page_shows_both_answers_in_a_row_that_leads_to_the_scene(annotation, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(compare_pages, "FIRST", 1)
    monkeypatch.setattr(compare_pages, "MORE", 1)
    out = tmp_path / "out"
    assert call(annotation, *runs, out) == 0
    text, index = (out / "compare.html").read_text(), (out / "index.html").read_text()
    assert 'href="compare.html"' in index
    assert "2 got better, 1 worse" in text and "large" in text
    assert 'href="scenes/room_0.html#scanqa-1"' in text and 'id="scanqa-1"' in (out / "scenes/room_0.html").read_text()
    assert "<b>gr<" not in text and "http" not in text
    assert 'href="compare/scanqa-better-1.html">All 2</a>' in text and "scanqa-worse" not in text
    first, second = (out / f"compare/scanqa-better-{at}.html" for at in (1, 2))
    assert "Questions 1 to 1 of 2" in first.read_text() and 'rel="next"' in first.read_text()
    assert 'href="../scenes/room_0.html#scanqa-2"' in second.read_text() and 'rel="prev"' in second.read_text()
    assert report_command(["--predictions", str(runs[1]), "--annotation_dir", str(annotation), "--out", str(out)]) == 0
    assert not (out / "compare.html").exists() and "compare.html" not in (out / "index.html").read_text()


def test_runs_that_can_not_be_compared_leave_nothing_behind(annotation, runs, tmp_path, capsys):
    only = write(tmp_path / "only", THIS, task="sqa3d")
    assert call(annotation, only, runs[1], tmp_path / "out") == 1
    assert "the two runs answer no task in common" in capsys.readouterr().err
    apart = [
        write(tmp_path / name, answers)
        for name, answers in (("a", [*THIS[:3], *[None] * 3]), ("b", [*[None] * 3, *THIS[3:]]))
    ]
    assert call(annotation, *apart, tmp_path / "out") == 1
    assert "answer no question in common" in capsys.readouterr().err
    assert call(annotation, tmp_path / "nowhere", runs[1], tmp_path / "out") == 2
    assert "--compare names the answers of another run" in capsys.readouterr().err
    assert call(annotation, runs[1], runs[1], tmp_path / "out") == 2
    assert "is --predictions itself" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
