"""Training, from top to bottom: settings, output folder, data, model, trainer, steps, results."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainingArguments, set_seed

from gpt4scene import talk
from gpt4scene.errors import Stopped
from gpt4scene.families.registry import family_of
from gpt4scene.launched import alike
from gpt4scene.model.folder import ModelFolder, identity, local_folder, parameter_count
from gpt4scene.model.loading import load_tokenizer
from gpt4scene.model.threads import spare_threads
from gpt4scene.settings.config import TrainConfig, parse
from gpt4scene.training.adapter_start import AdapterStart, check_same_start, starting_adapters
from gpt4scene.training.advice import advice
from gpt4scene.training.callbacks import Progress, StepLog
from gpt4scene.training.checkpoint_parts import check_own_parts
from gpt4scene.training.checkpointing import told_when_memory_runs_out
from gpt4scene.training.early_stopping import StopEarly
from gpt4scene.training.finite import RefuseBrokenStart
from gpt4scene.training.held_out import answers_of
from gpt4scene.training.hf_arguments import training_arguments
from gpt4scene.training.known_images import keep_features
from gpt4scene.training.launch_files import launched
from gpt4scene.training.manifest import Manifest
from gpt4scene.training.occupancy import leave, occupy
from gpt4scene.training.optimizers import try_out
from gpt4scene.training.output import MarkComplete, holds_run
from gpt4scene.training.packing import branches_of
from gpt4scene.training.parts_table import content, parts_of, table
from gpt4scene.training.planned_run import PlannedRun, batch_content, result, say
from gpt4scene.training.preflight import attention_of, check_best_metric, check_model, check_settings, plan_of
from gpt4scene.training.processes import leave_in_order, on_all, on_first, processes_here
from gpt4scene.training.ready_model import hasten, last_adapter, parameters_of, ready_model
from gpt4scene.training.repeating import check_repeat, earlier_run
from gpt4scene.training.results import evaluate_only, finish, take_steps
from gpt4scene.training.resume import (
    check_resume,
    find_checkpoint,
    has_result,
    settings_of,
    start_output,
    total_steps,
)
from gpt4scene.training.run_data import load_data
from gpt4scene.training.signals import StopOnSignal
from gpt4scene.training.speed import in_half, run_operations
from gpt4scene.training.stages import objective_of
from gpt4scene.training.tracking import Tracking, tracked
from gpt4scene.training.trainer import PackTrainer

LARGE = 10**9
"""Parameters above which training without an accelerator is not tried once rows are tokenized."""


AtEnd = Callable[[str], None]
"""Is told the output folder of a run that has ended, once ``run.json`` says how; it must not raise."""


def main(words: Sequence[str], at_end: AtEnd | None = None) -> int:
    """Train as ``words``, a YAML file and flags, say; return 0 when done. Wrong settings are found before any work."""
    config = alike(lambda: parse(words))
    if os.environ.get("RANK", "0") == "0":
        for note in config.notes:
            talk.note(note)
    return run(config, at_end)


def run(config: TrainConfig, at_end: AtEnd | None = None) -> int:
    """Train as ``config`` says and return 0; every process of the run calls this.

    Leaves in ``output_dir``: the checkpoint (weights, tokenizer, processor files), ``checkpoint-<step>`` folders,
    ``trainer_log.jsonl``, ``trainer_state.json``, ``train_results.json``, ``eval_results.json``, ``all_results.json``,
    ``training_loss.png`` (with ``plot_loss``) and ``run.json``. ``at_end`` is called on the first process where the
    run has left something, however it ended.

    Raises DataError or ValueError for what the user can mend, and ``Stopped`` after Ctrl-C or SIGTERM, when a
    checkpoint has been saved.
    """
    alike(lambda: check_settings(config))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else forked loader workers complain
    arguments = alike(lambda: training_arguments(config))
    on_all(lambda: try_out(config, arguments))
    set_seed(arguments.seed)  # the Trainer does so too, but only after adapters have drawn their first weights
    first = arguments.process_index == 0
    checkpoint = on_first(lambda: find_checkpoint(config))
    if checkpoint is not None:
        on_all(lambda: check_own_parts(checkpoint, arguments.process_index))
    place = on_all(lambda: occupy(config.output_dir) if first else None)
    manifest = Manifest(config.output_dir, config.resolved(), writes=first, held=True)
    manifest.update(resumed_from=str(checkpoint) if checkpoint else None, launch=launched(config))
    try:
        status = _run(config, arguments, checkpoint, manifest)
    except Stopped as stop:
        manifest.end("stopped", note=str(stop))
        _tell(at_end, manifest, config)
        leave_in_order()
        raise
    except BaseException as error:
        with suppress(OSError):  # on a full disk the error itself says more
            manifest.end("failed", note=f"{type(error).__name__}: {error}")
        _tell(at_end, manifest, config)
        raise
    else:
        manifest.end("finished", note=status)
        _tell(at_end, manifest, config)
    finally:
        leave(place)
    leave_in_order()
    return 0


def _tell(at_end: AtEnd | None, manifest: Manifest, config: TrainConfig) -> None:
    """Call ``at_end`` on the process that writes ``run.json``, and only where that is this run's own by now."""
    if at_end is not None and manifest.released:
        at_end(config.output_dir)


def _run(config: TrainConfig, arguments: TrainingArguments, checkpoint: Path | None, manifest: Manifest) -> str:
    """Do the work and return one sentence about how it ended.

    What an earlier run has left in ``output_dir``, its ``run.json`` too, stays until nothing can be wrong any more.
    """
    earlier = on_first(lambda: (earlier_run(config), holds_run(config.output_dir)))
    folder = on_all(lambda: local_folder(config.model.model_name_or_path))
    if about := on_all(lambda: check_model(config, folder)):
        say(arguments, about)
    spare_threads(parameter_count(folder), arguments.device)
    tokenizer = on_all(lambda: load_tokenizer(folder))
    stops = bool(config.data.tokenized_path) and (config.data.tokenize_only or _too_large_for_cpu(folder))
    attention = None if stops else on_all(lambda: attention_of(config, arguments, folder))
    data = load_data(config, folder, tokenizer, arguments)
    plan = plan_of(config, arguments, data, branches_of(config, arguments, folder, data.train, checkpoint))
    if checkpoint is None and not earlier[1]:
        manifest.release()
    weights, batch = on_first(lambda: identity(ModelFolder(folder, last_adapter(config)))), batch_content(plan)
    manifest.update(data=data.summary, batch=batch, attention=attention, checkpoint=weights)
    for note in on_first(lambda: check_repeat(config, earlier[0], manifest.content)) if config.repeats else ():
        talk.note(note, partial(say, arguments))
    say(arguments, f"{data.sentence}; {batch['sentence']}")
    if stops:
        return _stop_after_tokenizing(arguments, config)
    settings = settings_of(config, arguments, data.summary["fingerprint"])
    left = total = total_steps(arguments, plan)
    notes = on_first(lambda: advice(config, arguments, data, plan, total))
    manifest.update(advice=notes)
    for note in notes:
        talk.note(note, partial(say, arguments))
    if checkpoint is not None:
        left, by_others = on_first(lambda: check_resume(checkpoint, arguments, plan, settings))
        on_first(lambda: check_same_start(checkpoint, folder, starting_adapters(config)[0]))
        if by_others:
            talk.note(by_others, partial(say, arguments))
        if not (left or config.evaluates_only) and on_first(lambda: has_result(config.output_dir)):
            sentence = f"finished before: {checkpoint} is the end of all {total} steps, and nothing was changed"
            say(arguments, f"{sentence}; raise num_train_epochs or max_steps to train on")
            result(arguments, output_dir=config.output_dir, status=sentence, steps=total)
            return sentence
        manifest.release()
    run = PlannedRun(config, arguments, folder, checkpoint, manifest, data, plan, settings, left)
    about = {"batch": batch["sentence"], "rows": len(data.train), "resumed_from": str(checkpoint or "")}
    with tracked(config, arguments.process_index == 0, run.say, **about) as tracking:
        return _work(run, tracking)


def _work(run: PlannedRun, tracking: Tracking) -> str:
    """Load the model, train or evaluate it, save what came of it, and return one sentence about that."""
    config, arguments, manifest = run.config, run.arguments, run.manifest
    model = on_all(lambda: ready_model(run))
    objective, reference = on_all(lambda: objective_of(config, arguments, run.folder, model))
    if reference:
        run.say(reference)
    activations, family = hasten(run, model), family_of(model.config)
    manifest.update(parameters=parameters_of(model), arguments=arguments.to_sanitized_dict())
    if not config.evaluates_only:
        parts = parts_of(model, config.methods, arguments.learning_rate, family)
        manifest.update(parts=content(parts))
        run.say(table(parts))
    start, stop = AdapterStart(config.methods, model, starting_adapters(config)[0]), StopOnSignal()
    begun = total_steps(arguments, run.plan) - run.left
    answers = answers_of(run.data, config, arguments.seed, begun, tracking, run.say)
    trainer = PackTrainer(
        model=model,
        args=arguments,
        train_dataset=run.data.train,
        eval_dataset=run.data.evaluation,
        plan=run.plan,
        methods=config.methods,
        family=family,
        objective=objective,
        eval_branches=arguments.per_device_eval_batch_size,
        base=run.folder,
        tokenizer=run.data.train.encoder.tokenizer,
        stop=stop,
        half=in_half(config, arguments),
        operations=run_operations(config, arguments.world_size, model),
        answers=answers,
        callbacks=_callbacks(run, stop, start, tracking),
    )
    manifest.update(feature_cache=_features(run, trainer))
    check_best_metric(arguments, trainer.evaluated + (answers.names if answers else []))
    if run.checkpoint is None:  # nothing can be wrong any more that would be the end of an earlier run for nothing
        on_first(lambda: start_output(config))
        manifest.release()
    if config.evaluates_only:
        return evaluate_only(run, trainer)
    with told_when_memory_runs_out(config, activations, trainer):
        metrics = take_steps(run, trainer, stop)
    return finish(run, trainer, metrics if run.left else None, start)


def _callbacks(run: PlannedRun, stop: StopOnSignal, start: AdapterStart, tracking: Tracking) -> list[TrainerCallback]:
    """Return what acts between steps, in this order."""
    config = run.config
    found = [
        stop,
        RefuseBrokenStart(run.checkpoint or config.model.adapter_name_or_path or run.folder),
        start,
        MarkComplete(config.output_dir, run.plan, run.settings),
    ]
    if patience := config.methods.early_stopping_steps:
        found.append(StopEarly(patience))
    found.append(tracking)
    if not config.evaluates_only:
        shows = run.arguments.process_index == 0 and not config.training.get("disable_tqdm")
        found.append(StepLog(config.output_dir, Progress() if shows else None))
    return found


def _features(run: PlannedRun, trainer: PackTrainer) -> str:
    """Let the tower keep what it makes of images, as the settings say, and return a word about it."""
    return keep_features(trainer.tower, run.config.model.feature_cache, processes_here(), run.say)


def _too_large_for_cpu(folder: Path) -> bool:
    """Return whether the checkpoint has over a billion parameters and there is no accelerator here."""
    return not torch.accelerator.is_available() and parameter_count(folder) > LARGE


def _stop_after_tokenizing(arguments: TrainingArguments, config: TrainConfig) -> str:
    sentence = f"rows are tokenized in {config.data.tokenized_path}; training was not started"
    if not config.data.tokenize_only:
        sentence += ", because a model of over 1 billion parameters needs an accelerator and there is none here"
    say(arguments, sentence)
    result(arguments, output_dir=config.output_dir, status=sentence, steps=0)
    return sentence
