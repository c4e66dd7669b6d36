"""The rows of a run: loaded, checked, split, and ready to become packs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainingArguments

from gpt4scene.data.datasets import LoadedRows, load_conversations
from gpt4scene.data.encoding import Encoder
from gpt4scene.data.fingerprint import fingerprint
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import PackDataset
from gpt4scene.data.plain_text import TextEncoder
from gpt4scene.data.split import split_rows
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import DataError
from gpt4scene.files.tokenized import TokenizedRows, has_tokenized, read_tokenized, write_tokenized
from gpt4scene.settings.arguments import DataArguments
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.processes import on_all, on_first
from gpt4scene.types import Conversation

HELD_OUT_PRINT, SHARED = "held_out_fingerprint", "held_out_with_trained_images"
"""Keys of ``run.json``: what shaped the rows of ``eval_dataset``, and how many held-out rows show trained images."""


@dataclass(frozen=True)
class RunData:
    """Rows to train on, rows held out (or None), and what was left out.

    ``summary`` goes to ``run.json``.
    """

    train: PackDataset
    evaluation: PackDataset | None
    skipped: tuple[str, ...]
    summary: dict[str, Any]

    @property
    def sentence(self) -> str:
        """How many rows there are and how many were skipped, the first few by name."""
        text = f"{len(self.train)} training rows in {self.summary['scenes']} scenes"
        if self.evaluation is not None:
            text += f", {len(self.evaluation)} held out"
        if self.skipped:
            shown = "\n  ".join(self.skipped[:5])
            text += f", {len(self.skipped)} skipped:\n  {shown}\n(run.json lists them all)"
        return text


def load_data(
    config: TrainConfig, folder: Path, tokenizer: PreTrainedTokenizerBase, arguments: TrainingArguments
) -> RunData:
    """Return the data of a run for the checkpoint in ``folder``; every process calls this.

    No image is decoded: token counts come from image headers. With ``tokenized_path``, rows are read from there,
    after the first process has written them where they are missing. Raises DataError for a wrong row (unless
    ``skip_bad_rows``), an unknown dataset, a row longer than ``cutoff_len``, or tokenized rows that do not fit this
    run; ValueError for an unknown template.
    """
    data = config.data
    encoder = on_all(lambda: _encoder(config, folder, tokenizer))
    reading = {
        "stage": config.tuning.stage,
        "media_dir": data.media_dir,
        "max_samples": data.max_samples,
        "mix_strategy": data.mix_strategy,
        "interleave_probs": data.interleave_probs,
        "skip_bad_rows": data.skip_bad_rows,
        "seed": arguments.seed,
    }
    expected = on_first(lambda: fingerprint(encoder, folder, data.dataset, data.dataset_dir, **reading))
    if path := data.tokenized_path:

        def write_missing() -> None:
            if not has_tokenized(path):
                usable, left_out = _read_rows(data.dataset, data, encoder, reading)
                write_tokenized(path, map(encoder.encode, usable), expected, left_out)

        on_first(write_missing)
        rows = on_all(lambda: read_tokenized(path, expected))
        skipped = rows.skipped
    else:
        rows, skipped = on_all(lambda: _read_rows(data.dataset, data, encoder, reading))
    images = _images(rows)
    kept, chosen = on_all(lambda: split_rows(images, data.val_size, seed=arguments.seed, by=data.val_split))
    held_out, noted = _select(rows, chosen), {}
    if data.eval_dataset:
        held_out, noted, more = _other_rows(data.eval_dataset, config, folder, encoder, reading)
        skipped = (*skipped, *more)
    # Every process must run the vision tower in every step where parameters are sharded, or gradients reduced.
    dummy = arguments.world_size > 1 or not config.tuning.freeze_vision_tower
    summary = {
        "rows": len(kept),
        "scenes": len({images[index] for index in kept}),
        "held_out": len(held_out),
        **_shared_images([images[index] for index in kept], held_out),
        "fingerprint": expected,
        **noted,
        "skipped": skipped,
    }
    return RunData(
        PackDataset(_select(rows, kept), encoder, dummy_image=dummy),
        PackDataset(held_out, encoder, dummy_image=dummy) if held_out else None,
        tuple(skipped),
        summary,
    )


def _other_rows(
    names: Sequence[str], config: TrainConfig, folder: Path, encoder: Encoder, reading: dict[str, Any]
) -> tuple[list[Conversation], dict[str, Any], tuple[str, ...]]:
    """Return the rows of the data sets that are held out, what ``run.json`` notes of them, and what was skipped.

    They are read as those to train on, end to end.
    """
    data = config.data
    reading = {**reading, "mix_strategy": "concat", "interleave_probs": None}
    noted = on_first(lambda: fingerprint(encoder, folder, names, data.dataset_dir, **reading))
    rows, skipped = on_all(lambda: _read_rows(names, data, encoder, reading))
    return rows, {HELD_OUT_PRINT: noted}, skipped


def _shared_images(trained: Sequence[tuple[str, ...]], held_out: Sequence[Any]) -> dict[str, int]:
    """Return how many held-out rows show images that are trained on too, empty where none does."""
    known = {path for shown in trained for path in shown}
    count = sum(not known.isdisjoint(shown) for shown in _images(held_out))
    return {SHARED: count} if count else {}


def _images(rows: Sequence[Conversation] | TokenizedRows) -> list[tuple[str, ...]]:
    return rows.images() if isinstance(rows, TokenizedRows) else [row.images for row in rows]


def _read_rows(
    names: Sequence[str], data: DataArguments, encoder: Encoder, reading: dict[str, Any]
) -> tuple[list[Conversation], tuple[str, ...]]:
    """Return the usable rows of the data sets ``names``, and a sentence for each that was skipped."""
    loaded = load_conversations(names, data.dataset_dir, **reading)
    usable = screen(loaded.rows, encoder, skip_bad_rows=data.skip_bad_rows)
    return usable.rows, (*loaded.skipped, *usable.skipped)


def screen(rows: Sequence[Conversation], encoder: Encoder, *, skip_bad_rows: bool = False) -> LoadedRows:
    """Return the rows that can be trained on: images open, and no row is longer than ``cutoff_len``.

    Every image's header is read once. A row is tokenised only where its bytes alone might pass ``cutoff_len``, or its
    two answers might differ in thoughts that are left out.
    Raises DataError at the first wrong row, or lists them all with ``skip_bad_rows``.
    """
    good: list[Conversation] = []
    skipped: list[str] = []
    encoder.read_sizes(rows)
    for row in rows:
        try:
            bound = encoder.length_bound(row)
            long = encoder.cutoff_len is not None and bound > encoder.cutoff_len
            if long or (row.rejected is not None and encoder.template.enable_thinking is False):
                encoder.encode(row)
            good.append(row)
        except DataError as error:
            if not skip_bad_rows:
                raise
            skipped.append(str(error))
    if not good:
        raise DataError(
            f"none of {len(rows)} rows can be used; the first because of {skipped[0] if skipped else 'none'}"
        )
    return LoadedRows(good, skipped)


def _select(rows: Any, indices: Sequence[int]) -> Any:
    return rows.select(indices) if isinstance(rows, TokenizedRows) else [rows[index] for index in indices]


def _encoder(config: TrainConfig, folder: Path, tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """Return the encoder that the settings describe, for the checkpoint in ``folder``.

    Of pairs, the two last answers are compared, so that nothing before them is learned.
    """
    data, thoughts, stage = config.data, config.family, config.tuning.stage
    kind = TextEncoder if stage == "pt" else Encoder
    return kind(
        tokenizer,
        TEMPLATES[data.template].told(thoughts.enable_thinking, thoughts.preserve_thinking),
        image_rule(folder, **asdict(data.image_limits), video=config.video.limits),
        data.cutoff_len,
        train_on_prompt=data.train_on_prompt,
        mask_history=data.mask_history or stage == "dpo",
    )
