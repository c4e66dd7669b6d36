from __future__ import annotations

import json
import os
import subprocess

import pytest
from commands import demo as main
from five import FIVE

from gpt4scene.benchmarks.spatial_questions import NAME
from gpt4scene.demo import pipeline, steps
from gpt4scene.demo.kinds import read_kinds
from gpt4scene.demo.page import COLUMNS
from gpt4scene.demo.pipeline import DemoArguments, Step, demo
from gpt4scene.errors import DataError

SMALL = dict(rooms=2, held_out=1, frames=2, image_width=112, epochs=1)
FLAGS = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """A demo of two steps that only note their names, and what they noted."""
    called = []

    def step(name):
        return Step(name, f"do {name}", lambda arguments, out: called.append(name))

    monkeypatch.setattr(pipeline, "STEPS", (step("first"), step("second")))
    monkeypatch.setattr(steps, "write_summary", lambda settings, out, took: called.append("summary"))
    monkeypatch.setattr("gpt4scene.demo.pipeline.write_page", lambda out: out / "index.html")
    return called


def quiet(_):
    pass


def test_finished_steps_are_skipped_and_other_settings_start_over(counted, tmp_path):
    demo(DemoArguments(str(tmp_path / "out")), quiet)
    assert counted == ["first", "second", "summary"]
    (tmp_path / "out" / "run").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    demo(DemoArguments(str(tmp_path / "out")), quiet)
    assert counted[3:] == ["summary"] and (tmp_path / "out" / "run").is_dir()
    demo(DemoArguments(str(tmp_path / "out"), seed=1), quiet)
    assert counted[4:] == ["first", "second", "summary"]
    assert not (tmp_path / "out" / "run").exists() and (tmp_path / "out" / "mine.txt").exists()


def test_a_failed_step_is_named_and_the_next_call_goes_on_there(counted, tmp_path, monkeypatch, capsys):
    def breaks(arguments, out):
        raise OSError("no space left")

    working = pipeline.STEPS
    monkeypatch.setattr(pipeline, "STEPS", (working[0], Step("second", "break", breaks)))
    assert main(["--out", str(tmp_path / "out")]) == 1
    assert "step 2 of 2, second: failed: no space left" in capsys.readouterr().err
    monkeypatch.setattr(pipeline, "STEPS", working)
    assert main(["--out", str(tmp_path / "out")]) == 0
    assert counted == ["first", "second", "summary"]


def test_a_stop_is_no_failure(counted, tmp_path, monkeypatch, capsys):
    def stops(arguments, out):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "STEPS", (Step("train", "stop", stops),))
    assert main(["--out", str(tmp_path / "out")]) == 130
    assert "goes on" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(DataError, match="not the demo's"):
        demo(DemoArguments(str(tmp_path)), quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_note_starts_over(counted, tmp_path):
    (tmp_path / "steps.json").write_text("{")
    demo(DemoArguments(str(tmp_path)), quiet)
    assert counted == ["first", "second", "summary"]


def test_wrong_values_are_named_together(capsys):
    assert main(["--rooms", "1", "--epochs", "0"]) == 2
    message = capsys.readouterr().err
    assert "--rooms must be 2 or more, not 1" in message and "epochs must be above 0" in message
    assert main(["--rooms", "many"]) == 2
    assert main(["--help"]) == 0


def test_every_scene_is_shown_the_next_ones_images():
    assert steps.swapped({"a": ["1"], "b": ["2"], "c": ["3"]}) == {"a": ["2"], "b": ["3"], "c": ["1"]}


def test_training_flags_are_settings_that_train_reads(tmp_path):
    from gpt4scene.settings.config import parse

    config = parse(steps.training_flags(DemoArguments(), tmp_path))
    assert config.data.image_resolution == 112 and config.tuning.freeze_vision_tower
    assert config.rows_per_step == config.tuning.scene_packing == DemoArguments().questions_per_step
    assert not config.notes


def test_the_script_passes_flags_and_names_the_failed_part(root, tmp_path):
    scripts = tmp_path / "clone" / "scripts"
    binaries = tmp_path / "clone" / ".venv" / "bin"
    for folder in (scripts, binaries):
        folder.mkdir(parents=True)
    (scripts / "demo.sh").write_text((root / "scripts" / "demo.sh").read_text())
    (scripts / "setup.sh").write_text('echo "$@" >extras; exit ${SETUP:-0}\n')
    python = binaries / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)

    def run(**environment):
        command = ["bash", str(scripts / "demo.sh"), "--seed", "3"]
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )

    done = run()
    assert done.returncode == 0
    assert done.stdout.split() == f"-m gpt4scene.demo --out {tmp_path}/clone/outputs/demo --seed 3".split()
    assert (tmp_path / "extras").read_text() == "gui\n", "what the demo's last two lines call"
    failed = run(SETUP="1")
    assert failed.returncode != 0 and "demo.sh: failed in scripts/setup.sh" in failed.stderr


@pytest.mark.slow
def test_the_whole_demo_in_small(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["--out", str(out), *FLAGS]) == 0
    page, look, ask = capsys.readouterr().out.splitlines()
    assert page == f"open the page: {out / 'index.html'}" and "run/index.html" in (out / "index.html").read_text()
    assert look.endswith(f"gpt4scene view {out}/scenes")
    assert ask.endswith(f"gpt4scene chat --model {out}/run --scenes {out}/scenes --image_resolution 112 --task scanqa")
    assert f"--model {out}/run --annotation_dir {out}/annotation" in (out / "run/index.html").read_text()
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["scores"]) == set(COLUMNS)
    for name, scores in summary["scores"].items():
        assert list(scores) == [*FIVE, NAME], name
        values = [value for metrics in scores.values() for key, value in metrics.items() if "CIDEr" not in key]
        assert all(0 <= value <= 1 for value in values)
    assert set(summary["wall_s"]) == {step.name for step in pipeline.STEPS} | {"total"}
    for name, questions in steps.ASKED.items():
        for task in (*FIVE, NAME):
            files = [*(out / "predictions" / name).glob(f"{task}.json*")]
            assert files, (name, task)
        assert summary["questions"][questions]
    assert summary["training_rows"] > 0 and (out / "run" / "training_loss.png").is_file()
    assert _same_questions(out)
    kinds = read_kinds(out)
    assert len(kinds) > 5 and all(one.values["perfect"] == 1 and one.values["silent"] == 0 for one in kinds)
    assert kinds[-1].count == sum(one.count for one in kinds[:-1]) and kinds[0].name in (out / "index.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in (out / "run").iterdir()}
    assert main(["--out", str(out), *FLAGS]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (out / "run").iterdir()}, "nothing was trained again"


def _same_questions(out) -> bool:
    """Training prompts are those of the question files: the same wordings in training and evaluation."""
    files = sorted((out / "data").glob("sharegpt*.json"))
    assert len(files) == 2
    rows = [row for path in files for row in json.loads(path.read_text())]
    learned = {row["messages"][0]["content"].replace("<image>", "") for row in rows}
    asked = set()
    for path in (out / "annotation").glob("*_val.json"):
        if not path.name.startswith("images_"):
            asked |= {row["prompt"] for row in json.loads(path.read_text())}
    return learned == asked
