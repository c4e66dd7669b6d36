import io
import json

import pytest
from PIL import Image
from transformers import TrainerControl, TrainerState

from gpt4scene.training.callbacks import Progress, StepLog, duration, plot_losses, smoothed


def state_at(step, total=4):
    state = TrainerState()
    state.global_step, state.max_steps, state.epoch = step, total, step / total
    state.is_world_process_zero = True
    return state


def go(log, first, last, total=4):
    log.on_train_begin(None, state_at(first, total), TrainerControl())
    for step in range(first + 1, last + 1):
        log.on_step_end(None, state_at(step, total), TrainerControl())
        log.on_log(None, state_at(step, total), TrainerControl(), {"loss": 5.0 - step, "learning_rate": 1e-3})
    log.on_train_end(None, state_at(last, total), TrainerControl())


def lines(folder):
    return [json.loads(line) for line in (folder / "trainer_log.jsonl").read_text().splitlines()]


def test_log_has_llama_factorys_keys(tmp_path):
    go(StepLog(tmp_path), 0, 2)
    first, second = lines(tmp_path)
    assert list(first) == [
        "current_steps", "total_steps", "loss", "lr", "epoch", "percentage", "elapsed_time", "remaining_time", "ends",
    ]  # fmt: skip
    assert (first["current_steps"], first["total_steps"], first["loss"], first["lr"]) == (1, 4, 4.0, 1e-3)
    assert second["percentage"] == 50.0 and second["elapsed_time"] == "0:00:00"


def test_evaluations_are_logged_and_summaries_are_not(tmp_path):
    log = StepLog(tmp_path)
    go(log, 0, 1)
    log.on_log(None, state_at(1), TrainerControl(), {"eval_loss": 2.5})
    log.on_log(None, state_at(1), TrainerControl(), {"train_runtime": 3.0, "train_loss": 4.0})
    assert [line.get("eval_loss") for line in lines(tmp_path)] == [None, 2.5]


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
    go(StepLog(tmp_path), 0, 3)
    with (tmp_path / "trainer_log.jsonl").open("a") as stream:
        stream.write('{"current_steps": 4, "to')  # torn by a kill
    go(StepLog(tmp_path), 2, 4)
    assert [line["current_steps"] for line in lines(tmp_path)] == [1, 2, 3, 4]
    go(StepLog(tmp_path), 0, 1)
    assert [line["current_steps"] for line in lines(tmp_path)] == [1]


def test_other_processes_write_nothing(tmp_path):
    log, state = StepLog(tmp_path), state_at(1)
    state.is_world_process_zero = False
    log.on_train_begin(None, state, TrainerControl())
    log.on_log(None, state, TrainerControl(), {"loss": 1.0})
    assert not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_are_few_without_a_terminal(tmp_path):
    stream = io.StringIO()
    go(StepLog(tmp_path, Progress(stream)), 0, 4)
    shown = stream.getvalue().splitlines()
    assert [line.split(":")[0] for line in shown] == ["step 1/4", "step 4/4"]
    assert "loss 4.0000, lr 1.00e-03" in shown[0] and "left" in shown[0]


def test_a_terminal_gets_a_bar(tmp_path):
    stream = Terminal()
    go(StepLog(tmp_path, Progress(stream)), 0, 4)
    assert "4/4" in stream.getvalue() and "loss 1.0000" in stream.getvalue() and "left" in stream.getvalue()


def test_durations():
    assert duration(59.9) == "0:00:59"
    assert duration(3600 * 25 + 61) == "1 day, 1:01:01"


def test_plot(tmp_path):
    history = [{"step": step, "loss": 1 / step} for step in range(1, 30)] + [{"step": 29, "eval_loss": 0.4}]
    assert plot_losses(history, tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as image:
        assert image.width > 500
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    assert not plot_losses([{"step": 3, "train_loss": 1.0}], tmp_path / "none.png")
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_smoothing_keeps_a_constant_and_short_curves():
    assert smoothed([2.0] * 50) == pytest.approx([2.0] * 50)
    assert smoothed([3.0, 1.0]) == [3.0, 1.0]
    rough = [0.0, 1.0] * 100
    assert max(smoothed(rough)[100:]) < 0.6
