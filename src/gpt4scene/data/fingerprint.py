"""What shaped a folder of encoded rows: every setting and the content of every file, as plain values."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpt4scene.data.dataset_info import DatasetEntry, Stage, read_dataset_info
from gpt4scene.data.encoding import Encoder
from gpt4scene.errors import DataError
from gpt4scene.files.rows import dataset_files
from gpt4scene.files.tokenized import VIDEOS

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")
"""Files of a checkpoint that decide token ids. The chat template is not among them: rows are written by ours."""

AREAS = ("image_max_pixels", "image_min_pixels")
"""Settings that are named where they are used only, so that rows tokenized before they came still fit."""
_BLOCK = 1 << 20


def fingerprint(
    encoder: Encoder,
    model_folder: str | os.PathLike,
    datasets: Sequence[str],
    dataset_dir: str | os.PathLike,
    stage: Stage = "sft",
    **reading: Any,
) -> dict[str, Any]:
    """Return every setting and file content that decides the encoded rows, as JSON values by name.

    Args:
        encoder: its template, limits and vision rule count.
        model_folder: checkpoint whose tokenizer files count, by content.
        datasets: names in ``dataset_info.json``; entries count, and their files by content. What a hub serves can't
            be looked into; its name counts.
        dataset_dir: folder of ``dataset_info.json``; may move.
        stage: what the rows are read for.
        reading: further settings that choose rows, as given to ``load_conversations`` and to the split.

    Raises DataError when a file is missing.
    """
    folder = Path(dataset_dir)
    entries = read_dataset_info(folder, datasets, stage)
    vision = asdict(encoder.vision)
    video = vision.pop("video", None)
    settings = {
        "template": encoder.template.identity(),
        "image_resolution": vision.pop("image_resolution"),
        **{key: area for key in AREAS if (area := vision.pop(key)) is not None},
        "cutoff_len": encoder.cutoff_len,
        "train_on_prompt": encoder.train_on_prompt,
        "mask_history": encoder.mask_history,
        "image processor": vision,
        **({VIDEOS: video} if video is not None else {}),
        "tokenizer files": _tokenizer_files(Path(model_folder)),
        "dataset": {entry.name: _content(entry) for entry in entries},
        "dataset files": {
            entry.name: _digests(folder / entry.file_name)
            for entry in entries
            if entry.file_name and not (entry.hf_hub_url or entry.script_url)
        },
        **({} if stage == "sft" else {"stage": stage}),
        **reading,
    }
    return json.loads(json.dumps(settings))


def _content(entry: DatasetEntry) -> dict[str, Any]:
    """Return the entry's values; ``ranking`` where it is set, so that rows tokenized before it came still fit."""
    return {key: value for key, value in asdict(entry).items() if key != "ranking" or value}


def _digests(place: Path) -> dict[str, str]:
    """Return the digest of every file of a data set, by its path in the data set's folder."""
    inside = place if place.is_dir() else place.parent
    return {file.relative_to(inside).as_posix(): _digest(file) for file in dataset_files(place)}


def _tokenizer_files(folder: Path) -> dict[str, str]:
    digests = {name: _digest(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()}
    if not digests:
        raise DataError(f"{folder}: no tokenizer files in the model folder; copy those of the base model into it")
    return digests


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
