"""Supervised fine-tuning, from top to bottom: settings, output folder, data, model, trainer, training, results."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import TrainingArguments, set_seed

from gpt4scene.data.packs import PackDataset
from gpt4scene.errors import Stopped
from gpt4scene.families.registry import family_of, shape_of
from gpt4scene.model.adapter_chain import merge_all
from gpt4scene.model.folder import ModelFolder, identity, local_folder, parameter_count
from gpt4scene.model.fused import fuse
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.noise import add_noise
from gpt4scene.model.quantized import quantised_on
from gpt4scene.model.recompute import inner_model, recompute
from gpt4scene.model.router import set_balance
from gpt4scene.model.threads import spare_threads
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import attention_backend
from gpt4scene.settings.config import TrainConfig, parse
from gpt4scene.training.adapter_start import AdapterStart, starting_adapters
from gpt4scene.training.advice import advice
from gpt4scene.training.callbacks import Progress, StepLog, plot_losses
from gpt4scene.training.checkpointing import Choice, choose, options_of, told_when_memory_runs_out
from gpt4scene.training.early_stopping import StopEarly
from gpt4scene.training.finite import RefuseBrokenStart
from gpt4scene.training.fitting import free_bytes, kernels_of, setup_of
from gpt4scene.training.held_out import answers_of
from gpt4scene.training.hf_arguments import training_arguments
from gpt4scene.training.known_images import keep_features
from gpt4scene.training.launch_files import deepspeed_content
from gpt4scene.training.manifest import Manifest
from gpt4scene.training.optimizers import try_out
from gpt4scene.training.output import BatchPlan, MarkComplete, open_output
from gpt4scene.training.packing import branches_of, widest_pack
from gpt4scene.training.parts_table import content, parts_of, size_of, table
from gpt4scene.training.preflight import attention_of, check_best_metric, check_model, check_settings, plan_of
from gpt4scene.training.processes import alike, gather_all, leave_in_order, on_all, on_first
from gpt4scene.training.repeating import check_repeat
from gpt4scene.training.resume import check_resume, find_checkpoint, has_result, settings_of, total_steps
from gpt4scene.training.run_data import RunData, load_data
from gpt4scene.training.signals import StopOnSignal
from gpt4scene.training.speed import run_operations
from gpt4scene.training.stages import objective_of
from gpt4scene.training.tracking import Tracking, tracked
from gpt4scene.training.trainer import PackTrainer

LARGE = 10**9
"""Parameters above which training without an accelerator is not tried once rows are tokenized."""


def main(words: Sequence[str]) -> int:
    """Train as ``words``, a YAML file and flags, say; return 0 when done. Wrong settings are found before any work."""
    config = alike(lambda: parse(words))
    if os.environ.get("RANK", "0") == "0":
        for note in config.notes:
            print(f"note: {note}", file=sys.stderr)
    return run(config)


def run(config: TrainConfig) -> int:
    """Train as ``config`` says and return 0; every process of the run calls this.

    Leaves in ``output_dir``: the checkpoint (weights, tokenizer, processor files), ``checkpoint-<step>`` folders,
    ``trainer_log.jsonl``, ``trainer_state.json``, ``train_results.json``, ``eval_results.json``, ``all_results.json``,
    ``training_loss.png`` (with ``plot_loss``) and ``run.json``.

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
    kept = checkpoint is None or on_first(lambda: has_result(config.output_dir))
    manifest = Manifest(config.output_dir, config.resolved(), writes=first, held=kept)
    manifest.update(resumed_from=str(checkpoint) if checkpoint else None)
    try:
        status = _run(config, arguments, checkpoint, manifest)
    except Stopped as stop:
        manifest.end("stopped", note=str(stop))
        leave_in_order()
        raise
    except BaseException as error:
        if checkpoint is not None:
            manifest.release()
        manifest.end("failed", note=f"{type(error).__name__}: {error}")
        raise
    manifest.end("finished", note=status)
    leave_in_order()
    return 0


def _run(config: TrainConfig, arguments: TrainingArguments, checkpoint: Path | None, manifest: Manifest) -> str:
    """Do the work and return one sentence about how it ended."""
    folder = on_all(lambda: local_folder(config.model.model_name_or_path))
    if about := on_all(lambda: check_model(config, folder)):
        _say(arguments, about)
    spare_threads(parameter_count(folder), arguments.device)
    tokenizer = on_all(lambda: load_tokenizer(folder))
    stops = bool(config.data.tokenized_path) and (config.data.tokenize_only or _too_large_for_cpu(folder))
    attention = None if stops else on_all(lambda: attention_of(config, arguments, folder))
    data = load_data(config, folder, tokenizer, arguments)
    plan = plan_of(config, arguments, data, branches_of(config, arguments, folder, data.train, checkpoint))
    if checkpoint is None:
        manifest.release()
    weights = on_first(lambda: identity(ModelFolder(folder, _adapter(config))))
    manifest.update(data=data.summary, batch=_batch(plan), attention=attention, checkpoint=weights)
    for note in on_first(lambda: check_repeat(config, manifest.content)) if config.repeats else ():
        _say(arguments, f"note: {note}")
    _say(arguments, f"{data.sentence}; {_batch(plan)['sentence']}")
    if stops:
        return _stop_after_tokenizing(arguments, config)
    settings = settings_of(config, arguments, data.summary["fingerprint"])
    left = total = total_steps(arguments, plan)
    notes = on_first(lambda: advice(config, arguments, data, plan, total))
    manifest.update(advice=notes)
    for note in notes:
        _say(arguments, f"note: {note}")
    if checkpoint is not None:
        left = on_first(lambda: check_resume(checkpoint, arguments, plan, settings))
        if not (left or config.evaluates_only) and on_first(lambda: has_result(config.output_dir)):
            sentence = f"finished before: {checkpoint} is the end of all {total} steps, and nothing was changed"
            _say(arguments, f"{sentence}; raise num_train_epochs or max_steps to train on")
            return sentence
        manifest.release()

    about = {"batch": _batch(plan)["sentence"], "rows": len(data.train), "resumed_from": str(checkpoint or "")}
    with tracked(config, arguments.process_index == 0, lambda line: _say(arguments, line), **about) as tracking:
        return _work(config, arguments, folder, checkpoint, manifest, data, plan, settings, left, tracking)


def _work(
    config: TrainConfig,
    arguments: TrainingArguments,
    folder: Path,
    checkpoint: Path | None,
    manifest: Manifest,
    data: RunData,
    plan: BatchPlan,
    settings: dict,
    left: int,
    tracking: Tracking,
) -> str:
    """Load the model, train or evaluate it, save what came of it, and return one sentence about that."""
    model = on_all(lambda: _model(config, arguments, folder))
    if checkpoint is None:  # nothing can be wrong any more that would be the end of an earlier run for nothing
        on_first(lambda: open_output(config.output_dir, overwrite=config.tuning.overwrite_output_dir, resume=None))
    objective, reference = on_all(lambda: objective_of(config, arguments, folder, model))
    if reference:
        _say(arguments, reference)
    activations = _hasten(config, arguments, model, data, plan, manifest)
    manifest.update(parameters=_parameters(model), arguments=arguments.to_sanitized_dict())
    if not config.evaluates_only:
        parts = parts_of(model, config.methods, arguments.learning_rate, family_of(model.config))
        manifest.update(parts=content(parts))
        _say(arguments, table(parts))
    start = AdapterStart(config.methods, model, starting_adapters(config)[0])
    answers = answers_of(data.evaluation, config, arguments.seed, tracking, lambda line: _say(arguments, line))
    trainer = PackTrainer(
        model=model,
        args=arguments,
        train_dataset=data.train,
        eval_dataset=data.evaluation,
        plan=plan,
        methods=config.methods,
        family=family_of(model.config),
        objective=objective,
        eval_branches=arguments.per_device_eval_batch_size,
        base=folder,
        tokenizer=data.train.encoder.tokenizer,
        stop=(stop := StopOnSignal()),
        operations=run_operations(config, arguments.world_size, model),
        answers=answers,
        callbacks=[
            stop,
            RefuseBrokenStart(checkpoint or config.model.adapter_name_or_path or folder),
            start,
            MarkComplete(config.output_dir, plan, settings),
            *([StopEarly(patience)] if (patience := config.methods.early_stopping_steps) else []),
            tracking,
            *([] if config.evaluates_only else [StepLog(config.output_dir, _progress(config, arguments))]),
        ],
    )
    manifest.update(feature_cache=_features(trainer, config, arguments))
    check_best_metric(arguments, trainer.evaluated + (answers.names if answers else []))
    if config.evaluates_only:
        return _evaluate_only(trainer, config, arguments)
    with told_when_memory_runs_out(config, activations, trainer):
        metrics = _train(trainer, config, stop, checkpoint)
    return _finish(trainer, config, arguments, metrics if left else None, start)


def _train(trainer: PackTrainer, config: TrainConfig, stop: StopOnSignal, checkpoint: Path | None) -> dict:
    """Take the steps that are left and return their figures; ``Stopped`` where a signal ended them."""
    with stop:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.received:
        _plot(trainer, config)
        name = signal.Signals(stop.received).name
        step, total = trainer.state.global_step, trainer.state.max_steps
        kept = f"after step {step} of {total}, saved in checkpoint-{step}"
        raise Stopped(f"stopped by {name} {kept}; go on with --resume_from_checkpoint true", stop.received)
    return result.metrics | {f"train_{name}": value for name, value in trainer.speed.total().items()}


def _features(trainer: PackTrainer, config: TrainConfig, arguments: TrainingArguments) -> str:
    """Let the tower keep what it makes of images, as the settings say, and return a word about it."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return keep_features(trainer.tower, config.model.feature_cache, processes, lambda line: _say(arguments, line))


def _finish(
    trainer: PackTrainer, config: TrainConfig, arguments: TrainingArguments, metrics: dict | None, start: AdapterStart
) -> str:
    """Save the trained model and the figures; evaluate where rows were held out.

    Without ``metrics``, no step was left to take.
    """
    trainer.save_trained()
    if also := on_first(lambda: start.finish(Path(config.output_dir))):
        _say(arguments, also)
    sentence = f"no step was left after step {trainer.state.global_step}"
    if metrics:
        trainer.save_metrics("train", metrics)
        sentence = f"trained {trainer.state.global_step} steps, mean loss {metrics['train_loss']:.4f}"
    if trainer.eval_dataset is not None and config.training.get("do_eval") is not False:
        evaluation = _last_evaluation(trainer) or trainer.evaluate()
        trainer.save_metrics("eval", evaluation)
        sentence += f", evaluation loss {evaluation['eval_loss']:.4f}"
    trainer.save_state()
    _plot(trainer, config)
    _say(arguments, f"{sentence}; saved in {config.output_dir}")
    return sentence


def _evaluate_only(trainer: PackTrainer, config: TrainConfig, arguments: TrainingArguments) -> str:
    """Save the figures of the held-out rows, and nothing else: no training was asked for."""
    evaluation = trainer.evaluate()
    trainer.save_metrics("eval", evaluation)
    sentence = f"evaluation loss {evaluation['eval_loss']:.4f} of {len(_held_out(trainer))} held-out rows, not trained"
    _say(arguments, f"{sentence}; figures in {config.output_dir}/eval_results.json")
    return sentence


def _held_out(trainer: PackTrainer) -> PackDataset:
    assert isinstance(trainer.eval_dataset, PackDataset)
    return trainer.eval_dataset


def _plot(trainer: PackTrainer, config: TrainConfig) -> None:
    if config.tuning.plot_loss and trainer.is_world_process_zero():
        plot_losses(trainer.state.log_history, Path(config.output_dir) / "training_loss.png")


def _last_evaluation(trainer: PackTrainer) -> dict | None:
    """Return the evaluation of the weights that were saved, where the last step has had one."""
    if trainer.args.load_best_model_at_end:
        return None
    now = [entry for entry in trainer.state.log_history if entry["step"] == trainer.state.global_step]
    return next((entry for entry in reversed(now) if "eval_loss" in entry), None)


def _model(config: TrainConfig, arguments: TrainingArguments, folder: Path):
    """Return the model, ready to train.

    Weights come in the precision of their file and are then set by ``prepare_for_training``. DeepSpeed instead wants
    all of them in the precision that it computes in, and keeps fp32 masters itself.
    """
    attention, note = attention_backend(config.model.flash_attn)
    if note:
        _say(arguments, note)
    bf16 = arguments.bf16 or config.tuning.pure_bf16
    deepspeed = arguments.deepspeed is not None
    computing = torch.bfloat16 if bf16 else torch.float16 if arguments.fp16 else torch.float32
    model = load_model(
        folder,
        dtype=computing if deepspeed else "auto",
        attention=attention,
        **quantised_on(config.methods, folder, computing, arguments.device),
    )
    set_balance(model.config, config.family.moe_aux_loss_coef)
    merged, adapter = starting_adapters(config)
    return prepare_for_training(
        merge_all(model, merged),
        config.tuning,
        methods=config.methods,
        bf16=bf16,
        adapter=adapter,
        said=config.said,
        keep_dtype=deepspeed,
    )


def _adapter(config: TrainConfig) -> Path | None:
    merged, last = starting_adapters(config)
    return last or (merged[-1] if merged else None)


def _hasten(
    config: TrainConfig,
    arguments: TrainingArguments,
    model: torch.nn.Module,
    data: RunData,
    plan: BatchPlan,
    manifest: Manifest,
) -> Choice:
    """Fuse kernels and set what is computed again; ``run.json`` says both. Return how much is computed again."""
    inner = inner_model(model)
    if alpha := config.training.get("neftune_noise_alpha"):
        add_noise(inner, alpha)
    kernels, sentence = kernels_of(config, inner, arguments.device)
    if sentence:
        _say(arguments, sentence)
    if kernels is not None:
        fuse(inner, kernels)
    fused = kernels is not None and kernels.both
    activations = _spare_memory(config, arguments, model, data, plan, fused=fused)
    manifest.update(activations=activations.content(), fused_kernels=kernels.name if kernels else None)
    return activations


def _spare_memory(
    config: TrainConfig,
    arguments: TrainingArguments,
    model: torch.nn.Module,
    data: RunData,
    plan: BatchPlan,
    *,
    fused: bool,
) -> Choice:
    """Set which layers compute their activations again, the same ones on all processes, and return what was chosen."""
    found = gather_all(free_bytes(arguments.device))
    free = None if None in found or config.evaluates_only else min(size for size in found if size is not None)
    pack = None
    if free is not None and config.tuning.disable_gradient_checkpointing is None:
        pack = on_first(lambda: widest_pack(data.train, plan.questions_per_pack))
    shape = shape_of(model.config)
    setup = setup_of(config, shape, arguments.world_size, deepspeed=deepspeed_content(config), fused=fused)
    setup = replace(setup, trained=_parameters(model)["trained"])
    choice = choose(config, shape, setup, pack, free)
    recompute(model, choice.every, options_of(config))
    if choice.memory is not None:
        _say(arguments, choice.sentence)
    return choice


def _too_large_for_cpu(folder: Path) -> bool:
    """Return whether the checkpoint has over a billion parameters and there is no accelerator here."""
    return not torch.accelerator.is_available() and parameter_count(folder) > LARGE


def _stop_after_tokenizing(arguments: TrainingArguments, config: TrainConfig) -> str:
    sentence = f"rows are tokenized in {config.data.tokenized_path}; training was not started"
    if not config.data.tokenize_only:
        sentence += ", because a model of over 1 billion parameters needs an accelerator and there is none here"
    _say(arguments, sentence)
    return sentence


def _batch(plan: BatchPlan) -> dict:
    """Return the batch arithmetic, as figures and as a sentence."""
    here, packing = plan.questions_per_step, plan.questions_per_pack
    total = here * plan.processes
    packs = f"in packs of up to {packing}" if packing > 1 else "one by one"
    sentence = f"{total} questions a step ({here} on each of {plan.processes} processes, {packs})"
    return {"questions_per_step": total, "scene_packing": packing, "sentence": sentence}


def _parameters(model: torch.nn.Module) -> dict[str, int]:
    """Return how many numbers there are and how many are trained."""
    sizes = [(size_of(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return {"all": sum(size for size, _ in sizes), "trained": sum(size for size, trained in sizes if trained)}


def _progress(config: TrainConfig, arguments: TrainingArguments) -> Progress | None:
    return Progress() if arguments.process_index == 0 and not config.training.get("disable_tqdm") else None


def _say(arguments: TrainingArguments, sentence: str) -> None:
    if arguments.process_index == 0:
        print(sentence, file=sys.stderr, flush=True)
