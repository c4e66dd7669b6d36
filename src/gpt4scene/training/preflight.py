"""What a training run checks before it loads a weight. ``train`` stops at what is wrong, ``doctor`` names all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoConfig, TrainingArguments

from gpt4scene.data.planning import even_size
from gpt4scene.errors import ConfigError
from gpt4scene.families.family import check_template
from gpt4scene.families.registry import family_of, shape_of
from gpt4scene.files.run_folder import MARK
from gpt4scene.files.whole import read_json
from gpt4scene.model.adapter_chain import check_chain
from gpt4scene.model.attention import attention_sentence, refuse_dropout
from gpt4scene.model.fused import check_fusing
from gpt4scene.model.kernels import use_flash_3
from gpt4scene.model.loading import check_checkpoint, meta_model, unused_weights
from gpt4scene.model.noise import check_noise
from gpt4scene.model.quantized import unquantised
from gpt4scene.model.recompute import check_reentrant
from gpt4scene.model.rope import refuse_growing_positions
from gpt4scene.model.router import set_balance
from gpt4scene.model.tuning import check_tuning
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import attention_backend
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.adapter_start import check_same_start, starting_adapters
from gpt4scene.training.checkpointing import options_of
from gpt4scene.training.fitting import wanted_kernels
from gpt4scene.training.held_out import answering_problems
from gpt4scene.training.launch_files import launch_problems
from gpt4scene.training.optimizers import check_target_modules, option_problems
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.packages import missing_packages
from gpt4scene.training.packing import branches_of
from gpt4scene.training.parameter_groups import check_low_rank_targets
from gpt4scene.training.resume import check_resume, find_checkpoint, settings_of
from gpt4scene.training.run_data import RunData
from gpt4scene.training.stages import reference_place, reference_problems


def check_settings(config: TrainConfig) -> None:
    """Raise ``ConfigError`` for missing packages, options that nobody reads, and files or variables that contradict."""
    problems = [*missing_packages(config), *option_problems(config), *launch_problems(config)]
    if problems := [*problems, *reference_problems(config), *answering_problems(config)]:
        raise ConfigError(*problems)


def check_model(config: TrainConfig, folder: Path) -> str | None:
    """Return a sentence about weights that are passed over or stay whole, and the adapter to go on with, if any.

    Raises ``DataError`` or ``ConfigError`` where the checkpoint in ``folder`` can't be trained as ``config`` says.
    Looks at its files' headers and at a model without weights, so it costs seconds and no memory.
    """
    network = meta_model(folder) if config.data.tokenize_only else check_checkpoint(folder)
    check_template(family_of(network.config), config.data.template)
    set_balance(network.config, config.family.moe_aux_loss_coef)
    refuse_growing_positions(network.config, config.data.cutoff_len)
    check_reentrant(network.config, bool(options_of(config).get("use_reentrant")))
    check_target_modules(config, network)
    check_low_rank_targets(network, config.methods, family_of(network.config))
    reference_place(config, folder)
    if config.training.get("neftune_noise_alpha"):
        check_noise(network)
    check_fusing(config.tuning.use_liger_kernel, network, *wanted_kernels(config))
    if not config.evaluates_only:
        refuse_dropout(network.config, attention_backend(config.model.flash_attn)[0])
    merged, adapter = starting_adapters(config)
    check_chain(merged, network, folder)
    about = check_tuning(network, config.tuning, adapter, config.said, config.methods)
    whole = unquantised(config.methods, shape_of(network.config))
    return "; ".join(filter(None, (unused_weights(folder), whole, about))) or None


def check_best_metric(arguments: TrainingArguments, known: list[str]) -> None:
    """Raise ``ConfigError`` where ``metric_for_best_model`` is none of the figures that an evaluation will have.

    The Trainer looks it up at every evaluation, also where nothing is chosen by it.
    """
    metric = arguments.metric_for_best_model
    if arguments.eval_strategy != "no" and metric and metric.removeprefix("eval_") not in known:
        raise ConfigError(
            f"metric_for_best_model {metric} is not among the figures of this run's evaluation"
            f"{nearest(metric.removeprefix('eval_'), known)} (they are: {', '.join(known)})"
        )


def attention_of(config: TrainConfig, arguments: TrainingArguments, folder: Path) -> str:
    """Return what computes the attention over packs; ``folder`` is the checkpoint. ``ConfigError`` where nothing can.

    FlashAttention 3, where it was asked for, takes its place now, or is refused.
    """
    backend, _ = attention_backend(config.model.flash_attn)
    if backend == "flash_attention_3":
        use_flash_3()
    dtype = torch.float16 if arguments.fp16 else torch.float32
    if arguments.bf16 or config.tuning.pure_bf16:
        dtype = torch.bfloat16
    network = AutoConfig.from_pretrained(folder)
    instead = "take another precision, or plain attention (flash_attn: disabled)"
    return attention_sentence(network, backend, arguments.device, dtype, instead)


def plan_of(config: TrainConfig, arguments: TrainingArguments, data: RunData, branches: int) -> BatchPlan:
    """Return how the run shares its rows out to steps, at most ``branches`` to a pack."""
    return BatchPlan(
        questions_per_step=config.rows_per_step,
        questions_per_pack=even_size(config.rows_per_step, branches),
        processes=arguments.world_size,
        training_rows=len(data.train),
        seed=arguments.data_seed if arguments.data_seed is not None else arguments.seed,
    )


def check_output(config: TrainConfig, arguments: TrainingArguments, data: RunData | None) -> Path | None:
    """Return the checkpoint that the run would go on from, if any; delete nothing.

    Raises ``DataError`` as the run itself would. The number of processes is taken to be that of the checkpoint.
    """
    checkpoint = find_checkpoint(config)
    if checkpoint is not None and data is not None:
        processes = read_json(checkpoint / MARK).get("processes", 1)
        folder = Path(config.model.model_name_or_path)
        branches = branches_of(config, arguments, folder, data.train, checkpoint)
        plan = replace(plan_of(config, arguments, data, branches), processes=processes)
        check_resume(checkpoint, arguments, plan, settings_of(config, arguments, data.summary["fingerprint"]))
        check_same_start(checkpoint, folder, starting_adapters(config)[0])
    return checkpoint
