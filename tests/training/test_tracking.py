"""What trackers are given, and what becomes of a run whose tracker fails."""

import sys
from types import SimpleNamespace

import pytest
from transformers import TrainerControl

from gpt4scene.errors import ConfigError, Stopped
from gpt4scene.settings.config import parse
from gpt4scene.settings.watching import swanlab_mode
from gpt4scene.training import tracking
from gpt4scene.training.tracking import Tracking, flat_settings, open_trackers, other_trackers, our_trackers, tracked

LEAST = ["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "saves/first"]


class Paper:
    """A tracker that writes down what it is given; ``breaks`` names the call that fails."""

    place = "a sheet"

    def __init__(self, about=None, breaks=""):
        self.about, self.breaks, self.calls = about, breaks, []

    def _note(self, *call):
        if call[0] == self.breaks:
            raise ConnectionError("the host\nis gone")
        self.calls.append(call)

    def log(self, figures, step):
        self._note("log", dict(figures), step)

    def text(self, name, lines, step):
        self._note("text", name, lines, step)

    def close(self, status):
        self._note("close", status)


def log(callback, step, **logs):
    callback.on_log(None, SimpleNamespace(global_step=step), TrainerControl(), logs)


def test_numbers_are_passed_on_and_nothing_else():
    paper = Paper()
    callback = Tracking({"paper": paper}, print)
    log(callback, 3, loss=1.5, epoch=1, note="words")
    callback.text("answers", [("q",), ("a",)], 3)
    callback.close("finished")
    log(callback, 4, loss=1.0)
    assert paper.calls == [
        ("log", {"loss": 1.5, "epoch": 1.0}, 3),
        ("text", "answers", [("q",), ("a",)], 3),
        ("close", "finished"),
    ]


@pytest.mark.parametrize("breaks", ["log", "text", "close"])
def test_one_that_fails_is_left_with_a_word_and_the_run_goes_on(breaks):
    said, good = [], Paper()
    callback = Tracking({"bad": Paper(breaks=breaks), "good": good}, said.append)
    for step in (1, 2):
        log(callback, step, loss=1.0)
        callback.text("answers", [("q",)], step)
    callback.close("finished")
    assert [call[0] for call in good.calls] == ["log", "text", "log", "text", "close"]
    assert len(said) == 1 and said[0].startswith("note: report_to: bad failed (the host is gone); the run goes on")


@pytest.mark.parametrize(
    ("error", "status"), [(None, "finished"), (Stopped("by hand"), "stopped"), (ValueError("wrong"), "failed")]
)
def test_runs_end_as_the_work_does(monkeypatch, error, status):
    papers = []
    monkeypatch.setattr(tracking, "TRACKERS", {"wandb": lambda about: papers.append(Paper(about)) or papers[-1]})
    said = []
    try:
        with tracked(parse([*LEAST, "--report_to", "wandb"]), True, said.append, batch="8 a step"):
            if error is not None:
                raise error
    except (Stopped, ValueError) as caught:
        assert caught is error
    (paper,) = papers
    assert paper.calls == [("close", status)] and said == ["tracked by wandb: a sheet"]
    assert paper.about.name == "first"
    assert paper.about.settings["batch"] == "8 a step" and paper.about.settings["model_name_or_path"] == "m"


def test_other_processes_open_none(monkeypatch):
    monkeypatch.setattr(tracking, "TRACKERS", {"wandb": None})
    with tracked(parse([*LEAST, "--report_to", "wandb"]), False, print) as nobody:
        log(nobody, 1, loss=1.0)


def test_one_that_cannot_begin_stops_the_run_and_ends_the_others(monkeypatch):
    first, said = Paper(), []

    def refuse(about):
        raise RuntimeError("no key\nwas given")

    monkeypatch.setattr(tracking, "TRACKERS", {"tensorboard": lambda about: first, "wandb": refuse})
    with pytest.raises(ConfigError, match=r"report_to: wandb could not begin \(no key was given\).*WANDB_MODE=offline"):
        open_trackers(parse([*LEAST, "--report_to", "tensorboard,wandb"]), {}, said.append)
    assert first.calls == [("close", "failed")]
    assert said[0].endswith("; to look at it while it learns: tensorboard --logdir saves/first/runs"), said


def test_settings_are_those_of_the_run():
    found = flat_settings(parse([*LEAST, "--learning_rate", "1e-5", "--scene_packing", "4"]))
    assert found["learning_rate"] == 1e-5 and found["scene_packing"] == 4 and found["cutoff_len"] == 32768
    assert "training" not in found and "said" not in found


def test_who_writes_to_which_tracker(monkeypatch):
    config = parse([*LEAST, "--report_to", "wandb,comet_ml", "--use_swanlab"])
    assert our_trackers(config) == ("wandb", "swanlab") and other_trackers(config) == ["comet_ml"]
    assert our_trackers(parse([*LEAST, "--report_to", "none"])) == ()
    assert our_trackers(parse([*LEAST, "--board", "--report_to", "tensorboard"])) == ("tensorboard",)
    with pytest.raises(ConfigError, match="board: true and report_to: none exclude each other"):
        parse([*LEAST, "--board", "--report_to", "none"])
    assert our_trackers(parse(LEAST)) == () and other_trackers(parse(LEAST)) == []
    monkeypatch.setattr(tracking, "_is_there", lambda module: module in ("tensorboardX", "mlflow"))
    assert our_trackers(parse([*LEAST, "--report_to", "all"])) == ("tensorboard", "mlflow")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--swanlab_project p", "swanlab_project has no effect: it needs report_to: swanlab, or use_swanlab"),
        ("--logging_dir logs", "logging_dir has no effect: it needs board, or report_to: tensorboard"),
        ("--run_name r", "run_name has no effect: it needs report_to"),
        ("--eval_generate_tokens 5", "eval_generate_tokens has no effect: it needs eval_generate"),
    ],
)
def test_keys_without_their_tracker_are_said(words, said):
    assert any(note.startswith(said) for note in parse([*LEAST, *words.split()]).notes)
    tracker = ["--report_to", "tensorboard,swanlab", "--eval_generate", "2", "--val_size", "0.1"]
    assert not any("has no effect" in note for note in parse([*LEAST, *tracker, *words.split()]).notes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--eval_generate 2", "eval_generate needs val_size"),
        ("--eval_generate 2.5 --val_size 0.1", "a share below 1 or a whole number of questions, not 2.5"),
        ("--eval_generate 2 --val_size 0.1 --tokenized_path t", "eval_generate needs the words of questions"),
        ("--eval_generate 2 --val_size 0.1 --fsdp full_shard", "eval_generate needs whole weights in each process"),
        ("--eval_generate 2 --val_size 0.1 --do_eval false", "eval_generate needs an evaluation, and do_eval: false"),
        ("--use_swanlab --report_to none", "use_swanlab: true and report_to: none exclude each other"),
        ("--swanlab_mode remote", "swanlab_mode"),
        ("--swanlab_api_key k", "SWANLAB_API_KEY"),
        ("--swanlab_lark_webhook_url u", "no messages are sent to Lark"),
    ],
)
def test_what_cannot_be_is_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        parse([*LEAST, *words.split()])


def test_swanlabs_modes(monkeypatch):
    monkeypatch.delenv("SWANLAB_MODE", raising=False)
    assert [swanlab_mode(word) for word in (None, "cloud", "local", "offline")] == [
        *("online", "online", "local", "offline")
    ]
    monkeypatch.setenv("SWANLAB_MODE", "offline")
    assert swanlab_mode(None) == "offline" and swanlab_mode("cloud") == "online"


def test_swanlabs_dashboard_is_asked_for_before_anything_is_written(monkeypatch):
    monkeypatch.setitem(sys.modules, "swanlab", None)
    monkeypatch.setattr(tracking, "_is_there", lambda module: False)
    with pytest.raises(ConfigError, match=r"local needs the dashboard, pip install 'swanlab\[dashboard\]'"):
        open_trackers(parse([*LEAST, "--use_swanlab", "--swanlab_mode", "local"]), {}, print)


def test_no_password_of_an_address_is_said():
    def refuse(about):
        raise RuntimeError("https://me:secret@host/api does not answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "TRACKERS", {"mlflow": refuse})
        with pytest.raises(ConfigError, match=r"\(https://host/api does not answer\)"):
            open_trackers(parse([*LEAST, "--report_to", "mlflow"]), {}, print)


@pytest.mark.slow
def test_variables_that_nobody_reads_are_said(monkeypatch):
    monkeypatch.setattr(tracking, "TRACKERS", {"wandb": Paper})
    monkeypatch.setenv("WANDB_LOG_MODEL", "end")
    said = []
    open_trackers(parse([*LEAST, "--report_to", "wandb"]), {}, said.append)
    assert said[0].startswith("note: WANDB_LOG_MODEL has no effect")
