"""Lines of the table, their data as scripts, groups, plots and facts of the run, all without a browser."""

import json
import re
from datetime import datetime, timezone
from urllib.parse import parse_qs

import pytest

from gpt4scene.benchmarks.judging import Judged
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.files.answers import AnswerRow
from gpt4scene.report import answer_data, plots
from gpt4scene.report.addresses import view
from gpt4scene.report.answer_facts import Gap, TaskRun, gaps, go_on, read_run, run_facts
from gpt4scene.report.answer_rows import AnswerLine, answer_lines
from gpt4scene.report.grouping import Group, by_label, by_type
from gpt4scene.report.images import PageImage
from gpt4scene.report.judging import judge_all
from gpt4scene.report.scene_pages import ScenePage

DAY = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)


def line(verdict="wrong", task="scanqa", kind="what", labels=(), pred="a b", **more):
    judged = Judged(AnswerRow("s", pred), verdict, "why", ("two",))
    meant = tuple(enumerate(labels))
    return AnswerLine(task, "s", more.pop("place", 0), judged, "?", kind, meant=meant, words=len(pred.split()), **more)


def scripts(out):
    """Return what each script hands over, by file and function; read as JavaScript reads a text in quotes."""
    found = {}
    for path in sorted((out / "data").glob("*-*.js")) + [out / "data" / "head.js"]:
        text = path.read_bytes().decode("ascii")
        called = re.fullmatch(r"gpt4sceneReport\.(\w+)\(JSON\.parse\('(.*)'\)\)\n", text)
        assert called and "<" not in text
        found[path.name] = (called[1], json.loads(re.sub(r"\\(.)", r"\1", called[2])))
    return found


def test_a_line_has_type_figure_labels_and_iou_of_its_answer(tmp_path):
    boxes = {"s": {str(n): [3.0 * n, 0, 0, 1, 1, 1] for n in range(3)}}
    rows = [
        {"scene_id": "s", "object_id": str(n), "object_name": "bed", "ann_id": "0", "description": f"bed {n}"}
        for n in range(3)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    said = {"s_0_0": [0.5, 0, 0, 1, 1, 1], "s_1_0": [3, 0, 0, 1, 1, 1], "s_2_0": [0, 0, 9, 1, 1, 1]}
    (tmp_path / "scanrefer.json").write_text(json.dumps(said))
    words = {"references": [f"scanrefer={tmp_path / 'rows.json'}"], "boxes": tmp_path / "boxes.json"}
    reports = score_folder(tmp_path / "scanrefer.json", None, ["scanrefer"], **words)
    from gpt4scene.benchmarks.chosen import under_rules

    benchmarks, found = under_rules(reports), reports["scanrefer"]
    judged = {"scanrefer": judge_all(benchmarks["scanrefer"], found.answers, found, found.annotation)}
    runs = {"scanrefer": read_run(tmp_path / "scanrefer.json", "scanrefer")}
    lines = answer_lines(judged, reports, benchmarks, runs)
    assert [one.place for one in lines] == [0, 1, 2] and [one.labels for one in lines] == [("bed",)] * 3
    assert [one.iou for one in lines] == pytest.approx([1 / 3, 1, 0])
    assert [(one.metric, one.figure) for one in lines] == [("Acc@0.25", 1), ("Acc@0.25", 1), ("Acc@0.25", 0)]
    assert runs["scanrefer"].settings is None and not any(one.cut_off for one in lines)


def test_data_is_plain_ascii_that_javascript_reads_and_lines_name_what_they_share_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(answer_data, "LINES", 2)
    odd = "</script> \u2028 'x' \\ \"\n \ud800 \x01 \U0001f600"
    lines = [line("right", pred=odd, labels=("sofa",)), line(place=1, figure=0.12345, metric="EM1"), line("", place=2)]
    pages = [ScenePage("s", "scenes/s.html", {"scanqa": [one.judged for one in lines]}, {})]
    shown = {"s": [PageImage("lost", missing="gone"), PageImage("bird's-eye view", "images/s/00.jpg", 10, 20)]}
    written = answer_data.write_data(tmp_path, lines, pages, shown)
    assert written.scripts == ("data/table.js", "data/head.js", "data/answers-000.js", "data/answers-001.js")
    found = scripts(tmp_path)
    number, first = found["answers-000.js"][1]
    assert number == 0 and len(first) == 2 and found["answers-001.js"][1][0] == 1
    assert first[0][7] == odd.replace("\ud800", "\ufffd").replace("\x01", "\ufffd")
    assert first[1][4] == 1 and first[1][10] == 0.1235 and first[0][10] is None
    head = found["head.js"][1]
    assert head["metrics"][first[1][11]] == "EM1" and head["labels"][first[0][9][0]] == ["sofa", 1]
    assert head["scenes"] == [["s", "scenes/s.html", 3, ["images/s/00.jpg", 10, 20, "bird's-eye view"]]]
    assert dict(head["verdicts"]) == {"right": 1, "partly": 0, "wrong": 1, "": 1}
    assert found["details-001.js"] == ("details", [1, [["why", None, None, [], None, [], [], None]]])


def test_groups_count_judged_answers_and_their_views_find_them():
    lines = [
        *[line("right", kind="how")] * 3,
        *[line("wrong", kind="what is <b>", labels=("bed", "bed", "sofa"))] * 2,
        line("partly", kind="how", labels=("sofa",)),
        line("", labels=("bed",)),
        line("wrong", task="sqa3d", kind="how"),
    ]
    assert by_type(lines) == [
        Group("scanqa", "how", 3, 1, 0),
        Group("scanqa", "what is <b>", 0, 0, 2),
        Group("sqa3d", "how", 0, 0, 1),
    ]
    assert by_label(lines) == [Group("", "bed", 0, 0, 2), Group("", "sofa", 0, 1, 2)]
    assert parse_qs(view(task="scanqa", type="what is <b> & ü", verdict="")[1:]) == {
        "task": ["scanqa"],
        "type": ["what is <b> & ü"],
    }


def test_plots_show_what_their_tables_say():
    lines = [line("right", iou=1.0), line("right", iou=0.5), line("wrong", pred="x " * 30, iou=0.1), line("", iou=0.26)]
    titles = {"scanqa": "ScanQA"}
    types = plots.accuracy_by_type(by_type(lines), titles)
    assert types.rows == (("ScanQA", "what", "3", "2", "0", "1", "66.7 %"),) and "2 of 3 judged" in types.says
    right, wrong = types.bars
    assert right.width == pytest.approx(2 * wrong.width, abs=0.2) and wrong.link == view(
        task="scanqa", type="what", verdict="wrong"
    )
    overlap = plots.iou_histogram(lines)
    assert "Of 4 answers" in overlap.says and "3 reach an IoU of 0.25 and 2 one of 0.5" in overlap.says
    assert [bar.kind for bar in overlap.bars] == ["wrong", "partly", "right", "right"]
    assert {name: count for name, count in overlap.rows if count != "0"} == {
        "0.10–0.15": "1",
        "0.25–0.30": "1",
        "0.50–0.55": "1",
        "0.95–1.00": "1",
    }
    lengths = plots.length_histogram(lines)
    assert ("21–40", "0 (0.0 %)", "1 (100.0 %)") in lengths.rows and ("2", "2 (100.0 %)", "0 (0.0 %)") in lengths.rows
    for plot in (types, overlap, lengths):
        assert all(bar.x >= 0 and bar.x + bar.width <= plot.width + 0.2 and bar.y >= 0 for bar in plot.bars)
    assert (
        plots.accuracy_by_type([], titles)
        is plots.iou_histogram([line()])
        is plots.length_histogram([line("")])
        is None
    )
    many = [Group("scanqa", f"type {n}", 1, 0, n) for n in range(60)]
    assert len(plots.accuracy_by_type(many, titles).rows) == 60 and len(plots.accuracy_by_type(many, titles).bars) == 80


def test_the_run_says_what_its_journals_say(tmp_path):
    rows = [{"scene_id": "s", "pred": "x", "task": "scanqa", "index": n} for n in range(3)]
    rows[1]["finish_reason"] = "length"
    settings = {"engine": "local", "model": "abc", "template": None, "questions": "1"}
    for shard, some in ((0, rows[:2]), (1, rows[2:])):
        lines = [{"settings": settings, "fingerprint": "f"}, *some]
        path = tmp_path / f"scanqa.shard{shard}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    run = read_run(tmp_path, "scanqa")
    assert run.settings == settings and run.cut_off == {1} and run.journal
    other = TaskRun({**settings, "questions": "2"}, DAY, True)
    facts = run_facts({"scanqa": TaskRun(settings, DAY, True), "sqa3d": other, "scanrefer": TaskRun(None, DAY, False)})
    assert facts.model == "checkpoint abc (fingerprint of its files)" and facts.written == "2026-01-02 03:04 UTC"
    named = run_facts({"scanqa": TaskRun(settings, DAY, True, model="outputs/run")})
    assert named.model == "outputs/run, checkpoint abc (fingerprint of its files)"
    assert facts.shared == {"engine": "local", "template": "not set"}
    assert facts.own == {"scanqa": {"questions": "1"}, "sqa3d": {"questions": "2"}} and facts.silent == ("scanrefer",)


def test_the_command_that_goes_on_names_tasks_of_journals_alone(tmp_path):
    runs = {"scanqa": TaskRun({}, DAY, True), "sqa3d": TaskRun(None, DAY, False)}
    missing = [Gap("scanqa", 3, 0, ()), Gap("sqa3d", 2, 0, ()), Gap("scanrefer", 9, 0, ())]
    folder = tmp_path / "my annotation"
    command = go_on(tmp_path, folder, missing, runs)
    assert command.endswith("--tasks scanqa,scanrefer") and f"--annotation_dir '{folder}'" in command
    assert go_on(tmp_path, None, missing, runs) == "" and go_on(tmp_path, folder, missing[1:2], runs) == ""
    assert go_on(tmp_path, folder, [Gap("scanqa", 0, 4, ())], runs) == ""
    assert gaps({}, {}, {"scanqa": 4}) == [Gap("scanqa", 4, 0, ("none of 4 questions has an answer",))]
