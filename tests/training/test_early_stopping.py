"""Stopping early counts as transformers does, and a resumed run as the uninterrupted one did."""

from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from gpt4scene.errors import ConfigError
from gpt4scene.training.early_stopping import StopEarly
from gpt4scene.training.preflight import check_best_metric


def arguments(folder, **keys):
    given = {"metric_for_best_model": "loss", "eval_strategy": "steps", "eval_steps": 1, "use_cpu": True} | keys
    return TrainingArguments(folder, report_to="none", **given)


def evaluated(args, losses, before=(), patience=2):
    """Return after which of ``losses`` a run stops, None where none ends it; ``before`` lie before its checkpoint."""
    one, state, control = StopEarly(patience), TrainerState(), TrainerControl()
    state.global_step = len(before)
    state.log_history = [{"eval_loss": loss, "step": index + 1} for index, loss in enumerate(before)]
    better = max if args.greater_is_better else min
    state.best_metric = better(before) if before else None
    state.max_steps = 100
    one.on_train_begin(args, state, control)
    if state.max_steps == len(before):
        return 0
    for number, loss in enumerate(losses, 1):
        one.on_evaluate(args, state, control, {"eval_loss": loss})
        if control.should_training_stop:
            return number
        state.best_metric = loss if state.best_metric is None else better(loss, state.best_metric)
    return None


LOSSES = [5.0, 4.0, 4.5, 3.0, 3.0, 3.1, 2.0]


@pytest.mark.parametrize(
    ("losses", "patience", "stops"),
    [(LOSSES, 2, 6), (LOSSES, 1, 3), (LOSSES, 3, None), ([1.0, 1.0, 1.0], 2, 3), ([3.0, 2.0, 1.0], 1, None)],
)
def test_a_resumed_run_stops_where_the_whole_one_does(tmp_path, losses, patience, stops):
    args = arguments(tmp_path)
    assert evaluated(args, losses, patience=patience) == stops
    for cut in range(1, (stops or len(losses)) + 1):
        found = evaluated(args, losses[cut:], losses[:cut], patience)
        assert found == (None if stops is None else stops - cut)


def test_a_metric_that_should_grow(tmp_path):
    args = arguments(tmp_path, greater_is_better=True)
    assert evaluated(args, [1.0, 2.0, 1.5, 1.9, 3.0]) == 4
    assert evaluated(args, [1.9], [1.0, 2.0, 1.5]) == 1


def test_a_metric_that_no_evaluation_has_is_refused_before_the_first_one(tmp_path):
    known = ["loss", "loss_rooms"]
    check_best_metric(arguments(tmp_path, metric_for_best_model="eval_loss_rooms"), known)
    check_best_metric(arguments(tmp_path, metric_for_best_model="loss_room", eval_strategy="no"), known)
    with pytest.raises(ConfigError, match="loss_room is not among the figures .*did you mean 'loss_rooms'"):
        check_best_metric(arguments(tmp_path, metric_for_best_model="loss_room"), known)


def test_the_end_is_said_once_with_the_reason(tmp_path, capsys):
    evaluated(arguments(tmp_path), [2.0, 3.0, 3.0])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "eval_loss was 2.0000 and got no better in 2 evaluations" in said


@pytest.mark.parametrize("strategy", ["no", "epoch"])
def test_a_figure_that_no_evaluation_has_is_refused_whatever_it_is_for(strategy):
    """transformers looks for it at each evaluation, also where nothing is chosen by it."""
    arguments = SimpleNamespace(metric_for_best_model="exact_matsh", eval_strategy=strategy)
    if strategy == "no":
        check_best_metric(arguments, ["loss"])
        return
    with pytest.raises(ConfigError, match=r"exact_matsh is not among.*did you mean 'exact_match'"):
        check_best_metric(arguments, ["loss", "exact_match"])
