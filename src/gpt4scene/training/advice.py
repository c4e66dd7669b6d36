"""Usual mistakes that nothing forbids: each is said once before a run, with its reason and the way out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from transformers import TrainingArguments

from gpt4scene.data.packs import PackDataset
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.metrics.object_ids import object_ids
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.run_data import SHARED, RunData
from gpt4scene.types import Conversation

LOW_FOR_LORA, HIGH_FOR_ALL = 2e-5, 1e-4
"""Learning rates that adapters hardly move by, and that all weights rarely stand."""
FEW_ROWS = 20
MANY_CHECKPOINTS = 20
LEAST_SIDE = 280
"""Pixels of the longer side of an image below which the numbers of marks are a few pixels high."""
LOOKED_AT = 500
"""Rows that are looked at for marks."""
EVALUATED = 3.0
"""Rows evaluated for each row trained, above which a note is due."""


def advice(config: TrainConfig, arguments: TrainingArguments, data: RunData, plan: BatchPlan, total: int) -> list[str]:
    """Return sentences about settings that usually are mistakes, for a run of ``total`` steps."""
    if config.evaluates_only:
        return list(_images(config, data))
    return [
        *_learning_rate(config, arguments),
        *_rows(config, arguments, data, plan),
        *_steps(config, arguments, plan, total),
        *_evaluation(config, arguments, data, plan, total),
        *_images(config, data),
        *_precision(config, arguments),
    ]


def _learning_rate(config: TrainConfig, arguments: TrainingArguments) -> Iterator[str]:
    rate, lora = arguments.learning_rate, config.tuning.finetuning_type == "lora"
    other = config.methods.low_rank or config.methods.use_muon or "adam" not in _word(arguments.optim)
    if other or config.tuning.stage != "sft":  # others have other rates
        return
    if lora and 0 < rate < LOW_FOR_LORA:
        yield (
            f"learning_rate {rate:g} is usual for finetuning_type: full; adapters hardly move by it: LoRA usually "
            "takes 1e-4 to 2e-4"
        )
    if config.tuning.finetuning_type == "full" and rate >= HIGH_FOR_ALL:
        yield (
            f"learning_rate {rate:g} is usual for LoRA; training all weights of a large model by it usually ruins "
            "them: take 5e-6 to 2e-5"
        )


def _rows(config: TrainConfig, arguments: TrainingArguments, data: RunData, plan: BatchPlan) -> Iterator[str]:
    rows, step = plan.training_rows, plan.questions_per_step * plan.processes
    epochs = arguments.num_train_epochs
    if rows < FEW_ROWS:
        yield f"{rows} training rows are few: a model learns them by heart; fine for a trial, add rows for more"
    if arguments.max_steps <= 0 and epochs > rows:
        yield f"num_train_epochs {epochs:g} is more than the {rows} rows; it counts passes over all rows, not steps"
    if step == 1:
        yield (
            "a step learns from one question, so its gradient says little of the others; raise "
            "gradient_accumulation_steps (16 to 64 questions a step are usual)"
        )
    elif step > rows:
        yield (
            f"a step takes all {rows} rows, though {step} were asked for; lower per_device_train_batch_size or "
            "gradient_accumulation_steps"
        )
    packs = -(-plan.questions_per_step // plan.questions_per_pack) * plan.processes
    if step > 1 and packs == 1 and data.summary["scenes"] > 1:
        yield (
            f"the {plan.questions_per_step} questions of a step are all of one room; raise gradient_accumulation_steps "
            f"or lower scene_packing ({plan.questions_per_pack} now), so that a step sees several"
        )
    yield from _max_samples(config.data.max_samples, data)


def _max_samples(most: int | None, data: RunData) -> Iterator[str]:
    if most is None:
        return
    counted = Counter(
        row.origin.dataset for dataset in (data.train, data.evaluation) for row in _conversations(dataset)
    )
    full = [name for name, count in counted.items() if count >= most]
    if full:
        yield (
            f"max_samples {most} leaves out what follows in {', '.join(full)}: only the first rows are used; leave it "
            "out for the whole run"
        )


def _conversations(dataset: PackDataset | None) -> Iterable[Conversation]:
    """Return the rows with their words; none where they are tokens already."""
    return () if dataset is None or isinstance(dataset.rows, TokenizedRows) else dataset.rows


def _steps(config: TrainConfig, arguments: TrainingArguments, plan: BatchPlan, total: int) -> Iterator[str]:
    for name, strategy, lost in (
        ("save_steps", arguments.save_strategy, "there is no checkpoint before the last step"),
        ("eval_steps", arguments.eval_strategy, "there is no evaluation before the last step"),
        ("logging_steps", arguments.logging_strategy, "the log has no line on the way"),
    ):
        every: Any = getattr(arguments, name)
        if name in config.said and _word(strategy) == "steps" and every >= 1 and every > total:
            yield f"{name} {every:g} lies past the end, after {total} steps: {lost}; lower it"
    warmup = arguments.warmup_steps
    if warmup >= 1 and warmup >= total:
        yield (
            f"warmup_steps {warmup:g} is no less than the {total} steps of the run, so that learning_rate is never "
            "reached; lower it, or write a share such as warmup_ratio: 0.1"
        )
    saved = _times(arguments.save_strategy, arguments.save_steps, total, plan)
    if arguments.save_total_limit is None and saved > MANY_CHECKPOINTS and config.tuning.finetuning_type == "full":
        yield (
            f"{saved} checkpoints will be kept, each several times as large as the model; save_total_limit: 3 keeps "
            "the newest ones"
        )


def _evaluation(
    config: TrainConfig, arguments: TrainingArguments, data: RunData, plan: BatchPlan, total: int
) -> Iterator[str]:
    if data.evaluation is None:
        return
    shared = data.summary.get(SHARED, 0)
    if config.data.eval_dataset and shared:
        yield (
            f"{shared} of {len(data.evaluation)} rows of eval_dataset show images that are trained on: figures say "
            "little about new scenes"
        )
    times, held_out = _times(arguments.eval_strategy, arguments.eval_steps, total, plan), len(data.evaluation)
    trained = total * plan.questions_per_step * plan.processes
    if times > 1 and times * held_out > EVALUATED * trained:
        yield (
            f"{times} evaluations of {held_out} rows take longer than training on {trained}; raise eval_steps or lower "
            f"{'max_samples' if config.data.eval_dataset else 'val_size'}"
        )


def _images(config: TrainConfig, data: RunData) -> Iterator[str]:
    """Say where the user's own limits leave images too small for the numbers on them, and rows name such numbers."""
    side, area = config.data.image_resolution, config.data.image_max_pixels
    sides = [side] if side else []
    sides += [int(math.sqrt(area * 4 / 3))] if area else []
    if not sides or min(sides) >= LEAST_SIDE:
        return
    if any(_names_objects(row) for row in islice(_conversations(data.train), LOOKED_AT)):
        named = "image_resolution" if side and min(sides) == side else "image_max_pixels"
        yield (
            f"{named} leaves images at most {min(sides)} pixels wide, in which the numbers of marks can't be read, and "
            "rows name objects by them; 512 is usual"
        )


def _names_objects(row: Conversation) -> bool:
    return bool(row.images) and any(object_ids(turn.text) for turn in row.turns)


def _precision(config: TrainConfig, arguments: TrainingArguments) -> Iterator[str]:
    if arguments.device.type == "cuda" and not (arguments.bf16 or arguments.fp16 or config.tuning.pure_bf16):
        yield "the GPU computes in fp32, several times slower and larger than it needs to be; write bf16: true"


def _times(strategy: Any, every: float | None, total: int, plan: BatchPlan) -> int:
    """Return how often something is done in ``total`` steps; ``every`` may be a share of them."""
    if _word(strategy) == "epoch":
        return -(-total // plan.steps_per_epoch)
    if _word(strategy) != "steps" or not every:
        return 0
    return int(total // (every if every >= 1 else max(1, math.ceil(every * total))))


def _word(strategy: Any) -> str:
    return str(getattr(strategy, "value", strategy))
