"""The end of a run: steps taken, model and figures saved, held-out rows evaluated."""

from __future__ import annotations

import signal
from pathlib import Path

from gpt4scene.data.packs import PackDataset
from gpt4scene.errors import Stopped
from gpt4scene.training.adapter_start import AdapterStart
from gpt4scene.training.callbacks import plot_losses
from gpt4scene.training.output import leave_one_model
from gpt4scene.training.planned_run import PlannedRun
from gpt4scene.training.processes import on_first
from gpt4scene.training.signals import StopOnSignal
from gpt4scene.training.trainer import PackTrainer


def take_steps(run: PlannedRun, trainer: PackTrainer, stop: StopOnSignal) -> dict:
    """Take the steps that are left and return their figures, none where there were none; ``Stopped`` after a signal."""
    with stop:
        result = trainer.train(resume_from_checkpoint=str(run.checkpoint) if run.checkpoint else None)
    if stop.received:
        _plot(run, trainer)
        name = signal.Signals(stop.received).name
        step, total = trainer.state.global_step, trainer.state.max_steps
        kept = f"after step {step} of {total}, saved in checkpoint-{step}"
        raise Stopped(f"stopped by {name} {kept}; go on with --resume_from_checkpoint true", stop.received)
    if trainer.state.global_step == trainer._initial_global_step:  # it had stopped early at its checkpoint
        return {}
    return result.metrics | {f"train_{name}": value for name, value in trainer.speed.total().items()}


def finish(run: PlannedRun, trainer: PackTrainer, metrics: dict | None, start: AdapterStart) -> str:
    """Save the trained model and the figures; evaluate where rows were held out. Return one sentence about it.

    Without ``metrics``, no step was left to take.
    """
    output = run.config.output_dir
    trainer.save_trained()
    if about := on_first(lambda: leave_one_model(output, adapter=run.config.tuning.finetuning_type == "lora")):
        run.say(about)
    if also := on_first(lambda: start.finish(Path(output))):
        run.say(also)
    sentence = f"no step was left after step {trainer.state.global_step}"
    if metrics:
        trainer.save_metrics("train", metrics)
        sentence = f"trained {trainer.state.global_step} steps, mean loss {metrics['train_loss']:.4f}"
    evaluation = None
    if trainer.eval_dataset is not None and run.config.training.get("do_eval") is not False:
        evaluation = _last_evaluation(trainer) or trainer.evaluate()
        trainer.save_metrics("eval", evaluation)
        sentence += f", evaluation loss {evaluation['eval_loss']:.4f}"
    trainer.save_state()
    _plot(run, trainer)
    run.say(f"{sentence}; saved in {output}")
    trained = {"steps": trainer.state.global_step, "loss": (metrics or {}).get("train_loss")}
    run.result(output_dir=output, status=sentence, **trained, eval_loss=(evaluation or {}).get("eval_loss"))
    return sentence


def evaluate_only(run: PlannedRun, trainer: PackTrainer) -> str:
    """Save the figures of the held-out rows, and nothing else: no training was asked for."""
    assert isinstance(trainer.eval_dataset, PackDataset)
    evaluation = trainer.evaluate()
    trainer.save_metrics("eval", evaluation)
    sentence = (
        f"evaluation loss {evaluation['eval_loss']:.4f} of {len(trainer.eval_dataset)} held-out rows, not trained"
    )
    run.say(f"{sentence}; figures in {run.config.output_dir}/eval_results.json")
    run.result(output_dir=run.config.output_dir, status=sentence, steps=0, eval_loss=evaluation["eval_loss"])
    return sentence


def _plot(run: PlannedRun, trainer: PackTrainer) -> None:
    if run.config.tuning.plot_loss and trainer.is_world_process_zero():
        plot_losses(trainer.state.log_history, Path(run.config.output_dir) / "training_loss.png")


def _last_evaluation(trainer: PackTrainer) -> dict | None:
    """Return the evaluation of the weights that were saved, where the last step has had one."""
    if trainer.args.load_best_model_at_end:
        return None
    now = [entry for entry in trainer.state.log_history if entry["step"] == trainer.state.global_step]
    return next((entry for entry in reversed(now) if "eval_loss" in entry), None)
