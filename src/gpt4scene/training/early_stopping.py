"""Stopping where evaluations get no better, exactly so in a run that goes on from a checkpoint."""

from __future__ import annotations

from typing import Any

from transformers import EarlyStoppingCallback

from gpt4scene import talk


class StopEarly(EarlyStoppingCallback):
    """Ends a run after ``patience`` evaluations in a row without a better ``metric_for_best_model``.

    A checkpoint keeps all evaluations, so a resumed run counts as the uninterrupted one did. One that had stopped at
    its checkpoint takes no further step.
    """

    def __init__(self, patience: int) -> None:
        super().__init__(early_stopping_patience=patience)

    def on_train_begin(self, args, state, control, **_: object):
        """Count what has been evaluated before the checkpoint, if there is one."""
        assert args.metric_for_best_model is not None  # training_arguments sees to it
        name, best = _name(args), None
        for value in (entry[name] for entry in state.log_history if name in entry):
            better = best is None or (value > best if args.greater_is_better else value < best)
            best = value if better else best
            self.early_stopping_patience_counter = 0 if better else self.early_stopping_patience_counter + 1
        if state.global_step and self.early_stopping_patience_counter >= self.early_stopping_patience:
            state.max_steps = state.global_step

    def on_evaluate(self, args, state, control, metrics: dict[str, Any], **others: object):
        """Count, and say so once where that ends the run."""
        before = control.should_training_stop
        super().on_evaluate(args, state, control, metrics, **others)
        if control.should_training_stop and not before and state.is_world_process_zero:
            talk.say(
                f"early_stopping_steps: {_name(args)} was {state.best_metric:.4f} and got no better in "
                f"{self.early_stopping_patience_counter} evaluations; training ends after step {state.global_step}"
            )


def _name(args) -> str:
    """Return the name that evaluations give the metric."""
    return f"eval_{args.metric_for_best_model.removeprefix('eval_')}"
