"""The rows of a run: loaded, looked at, split, and ready to be dealt out as packs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerBase, TrainingArguments

from gpt4scene.arguments import DataArguments
from gpt4scene.config import TrainConfig
from gpt4scene.data.collator import PackDataset
from gpt4scene.data.encoding import Encoder
from gpt4scene.data.screening import screen
from gpt4scene.data.sources import load_conversations
from gpt4scene.data.split import split_rows
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionSpec
from gpt4scene.types import Conversation

LARGE = 10**9
"""Parameters above which training without an accelerator is not tried once rows are tokenized."""


@dataclass(frozen=True)
class RunData:
    """Rows to train on, rows held out (or None), and what was left out.

    ``summary`` goes to ``run.json``; ``tokenized_only`` says that the run ends here.
    """

    train: PackDataset
    evaluation: PackDataset | None
    skipped: tuple[str, ...]
    summary: dict[str, Any]
    tokenized_only: bool = False

    @property
    def sentence(self) -> str:
        """How many rows there are and how many were skipped, the first few by name."""
        text = f"{len(self.train)} training rows of {self.summary['scenes']} scenes"
        if self.evaluation is not None:
            text += f", {len(self.evaluation)} held out"
        if self.skipped:
            shown = "\n  ".join(self.skipped[:5])
            text += f", {len(self.skipped)} skipped:\n  {shown}\n(run.json lists them all)"
        return text


def load_data(
    config: TrainConfig, folder: Path, tokenizer: PreTrainedTokenizerBase, arguments: TrainingArguments
) -> RunData:
    """Return the data of a run for the checkpoint in ``folder``.

    No picture is decoded: token counts come from image headers. Raises DataError for a wrong row (unless
    ``skip_bad_rows``), an unknown dataset, or a row longer than ``cutoff_len``; ValueError for an unknown template.
    """
    data = config.data
    encoder = make_encoder(data, folder, tokenizer)
    loaded = load_conversations(
        data.dataset,
        data.dataset_dir,
        data.media_dir,
        max_samples=data.max_samples,
        mix_strategy=data.mix_strategy,
        interleave_probs=data.interleave_probs,
        skip_bad_rows=data.skip_bad_rows,
        seed=arguments.seed,
    )
    usable = screen(loaded.rows, encoder, skip_bad_rows=data.skip_bad_rows)
    rows = usable.rows
    kept, held_out = split_rows([row.images for row in rows], data.val_size, seed=arguments.seed, by=data.val_split)
    # Every process must run the vision tower in every step where parameters are sharded, or gradients reduced.
    dummy = arguments.world_size > 1 or not config.tuning.freeze_vision_tower
    train = PackDataset([rows[index] for index in kept], encoder, dummy_image=dummy)
    evaluation = PackDataset([rows[index] for index in held_out], encoder, dummy_image=dummy) if held_out else None
    skipped = (*loaded.skipped, *usable.skipped)
    summary = {
        "rows": len(train),
        "scenes": len({row.images for row in train.rows}),
        "held_out": len(held_out),
        "fingerprint": fingerprint(rows),
        "skipped": skipped,
    }
    return RunData(train, evaluation, skipped, summary)


def make_encoder(data: DataArguments, folder: Path, tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """Return the encoder that the settings describe, for the checkpoint in ``folder``."""
    return Encoder(
        tokenizer,
        TEMPLATES[data.template],
        VisionSpec.from_folder(folder),
        data.image_resolution,
        data.cutoff_len,
        train_on_prompt=data.train_on_prompt,
        mask_history=data.mask_history,
    )


def fingerprint(rows: Iterable[Conversation]) -> str:
    """Return a SHA-256 of the words, picture names and order of all rows."""
    digest = hashlib.sha256()
    for row in rows:
        for turn in row.turns:
            digest.update(f"{turn.role}\0{turn.text}\0".encode())
        digest.update(("\0".join(Path(image).name for image in row.images) + "\n").encode())
    return digest.hexdigest()


def too_large_for_cpu(folder: Path) -> bool:
    """Return whether the checkpoint has over a billion parameters and there is no accelerator here."""
    if torch.accelerator.is_available():
        return False
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    return sum(parameter.numel() for parameter in model.parameters()) > LARGE
