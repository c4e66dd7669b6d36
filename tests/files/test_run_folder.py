import json
import math

import pytest

from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import is_page, newest_checkpoint, read_run, seconds_of


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_log_is_read_without_a_torn_line(tmp_path):
    first = {"current_steps": 5, "total_steps": 20, "loss": 2.0, "lr": 1e-3, "epoch": 0.5, "elapsed_time": "0:01:05"}
    broken = {"current_steps": 10, "total_steps": 20, "loss": math.nan, "percentage": 50.0, "note": "words"}
    (tmp_path / "trainer_log.jsonl").write_text(lines(first, broken, {"current_steps": 10, "eval_loss": 3}) + '{"cur')
    record = read_run(tmp_path)
    assert [line.step for line in record.log] == [5, 10, 10] and record.total_steps == 20
    assert record.log[0].figures == {"loss": 2.0, "lr": 1e-3}
    assert (record.log[0].epoch, record.log[0].elapsed) == (0.5, 65.0)
    assert (record.log[1].figures, record.log[1].broken) == ({}, ("loss",))
    assert record.about == {} and record.checkpoint is None and not record.notes


def test_the_state_of_the_trainer_stands_in_for_a_log(tmp_path):
    history = [
        {"step": 10, "loss": 1.5, "learning_rate": 5e-6, "epoch": 0.1},
        {"step": 20, "eval_loss": 1.2, "eval_runtime": 3.0, "reward": None},
        {"step": 20, "train_runtime": 100.0, "train_loss": 1.4},
    ]
    checkpoint = tmp_path / "checkpoint-20"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": history, "max_steps": 40}))
    record = read_run(tmp_path)
    assert [line.figures for line in record.log] == [{"loss": 1.5, "lr": 5e-6}, {"eval_loss": 1.2}]
    assert record.total_steps == 40 and record.checkpoint is None, "no mark: it may be half written"
    (checkpoint / "batches.json").write_text("{}")
    (tmp_path / "checkpoint-3").mkdir()
    assert newest_checkpoint(tmp_path) == checkpoint


def test_what_is_broken_is_said_and_the_rest_is_read(tmp_path):
    (tmp_path / "run.json").write_text("{")
    (tmp_path / "all_results.json").write_text('{"train_loss": 0.5, "epoch": 1}')
    (tmp_path / "trainer_log.jsonl").write_text('{"loss": 1}\n')
    answer = {"step": "one", "task": "t", "row": "r", "question": "q", "truth": "a", "answer": "b"}
    (tmp_path / "eval_answers.jsonl").write_text(lines({**answer, "step": 1}, answer))
    record = read_run(tmp_path)
    assert record.results == {"train_loss": 0.5, "epoch": 1.0} and not record.log and not record.answers
    assert [note.split(": ")[0].rsplit("/", 1)[1] for note in record.notes] == [
        "run.json",
        "trainer_log.jsonl, line 1",
        "eval_answers.jsonl, line 2",
    ]


@pytest.mark.parametrize("inside", ["nothing", "an empty log", "a list"])
def test_a_folder_without_figures_is_refused(inside, tmp_path):
    if inside != "nothing":
        (tmp_path / "trainer_log.jsonl").write_text("" if inside == "an empty log" else "[1]\n")
    with pytest.raises(DataError, match="holds no training run: no run.json of one"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        read_run(tmp_path / "gone")


def test_a_run_that_ended_before_its_first_figures_is_one(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"status": "failed", "note": "why", "config": {"tuning": {}}}))
    record = read_run(tmp_path)
    assert record.word("note") == "why" and not record.log and not record.results
    (tmp_path / "run.json").write_text(json.dumps({"status": "failed"}))
    with pytest.raises(DataError, match="holds no training run"):
        read_run(tmp_path)


def test_times_and_pages_are_known(tmp_path):
    assert [seconds_of(text) for text in ("0:00:07", "1 day, 2:03:04", "soon", None)] == [7.0, 93784.0, None, None]
    (tmp_path / "index.html").write_text("<p>my own</p>")
    assert not is_page(tmp_path / "index.html") and not is_page(tmp_path)
