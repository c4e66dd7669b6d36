"""What ``--model`` means: a checkpoint, a training output or a LoRA adapter, and which weights those are."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.errors import DataError

ADAPTER_CONFIG = "adapter_config.json"
_WEIGHTS = re.compile(r"(model|pytorch_model|adapter_model)[^/]*\.(safetensors|bin)")
_SHAPING_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    ADAPTER_CONFIG,
)
_WHOLE_BELOW = 64 * 2**20
_SAMPLES, _SAMPLE_BYTES = 256, 2**16


@dataclass(frozen=True)
class ModelFolder:
    """Where the weights are: ``base`` holds the checkpoint, ``adapter`` a LoRA to merge into it, or is None."""

    base: Path
    adapter: Path | None = None


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a checkpoint or adapter folder, by name."""
    return sorted(path for path in folder.iterdir() if _WEIGHTS.fullmatch(path.name)) if folder.is_dir() else []


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file() and bool(weight_files(folder))


def _is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file() and bool(weight_files(folder))


def find_model(model: str | Path) -> ModelFolder:
    """Return the folders that ``model`` stands for.

    A folder with weights is itself; a training output folder without final weights gives its last ``checkpoint-<n>``;
    a folder with ``adapter_config.json`` gives that adapter and the base it names; a hub name gives its snapshot.
    ``DataError`` says what is missing.
    """
    folder = Path(model)
    if not folder.is_dir():
        from gpt4scene.model.loading import local_folder

        folder = local_folder(model)
    if _is_adapter(folder):
        return ModelFolder(_base_of(folder), folder)
    if _is_checkpoint(folder):
        return ModelFolder(folder)
    steps = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    for path in sorted(steps, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True):
        if _is_adapter(path):
            return ModelFolder(_base_of(path), path)
        if _is_checkpoint(path):
            return ModelFolder(path)
    raise DataError(
        f"{folder}: no model in this folder; expected config.json with *.safetensors (a checkpoint), {ADAPTER_CONFIG} "
        "(a LoRA adapter), or checkpoint-<step> folders (a training output)"
    )


def _base_of(adapter: Path) -> Path:
    path = adapter / ADAPTER_CONFIG
    try:
        name = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a readable adapter description ({error})") from None
    if not isinstance(name, str) or not name:
        raise DataError(f"{path}: 'base_model_name_or_path' is missing, so the base model is not known")
    tried = [Path(name)] if Path(name).is_absolute() else [Path(name), adapter / name, adapter.parent / name]
    for folder in tried:
        if _is_checkpoint(folder):
            return folder
    from gpt4scene.model.loading import local_folder

    try:
        return local_folder(name)
    except DataError:
        raise DataError(
            f"{path}: the base model '{name}' was not found; tried: {', '.join(str(folder) for folder in tried)}; "
            "download it and write its folder into base_model_name_or_path"
        ) from None


def _hash_weights(path: Path, digest) -> None:
    """Feed the size of ``path`` and its bytes into ``digest``; of a large file its ends and 256 blocks between."""
    size = path.stat().st_size
    digest.update(f"{path.name} {size}\n".encode())
    with open(path, "rb") as file:
        if size <= _WHOLE_BELOW:
            while block := file.read(2**20):
                digest.update(block)
            return
        for index in range(_SAMPLES + 1):
            file.seek((size - _SAMPLE_BYTES) * index // _SAMPLES)
            digest.update(file.read(_SAMPLE_BYTES))


def identity(model: ModelFolder) -> str:
    """Return a short hash of the files that shape the model's answers, the same wherever the folder lies.

    Weight files over 64 MB are sampled (16 MB of each), so that 15 GB take well under a second; training changes
    weights everywhere.
    """
    digest = hashlib.sha256()
    for folder in (model.base, model.adapter):
        if folder is None:
            continue
        for name in _SHAPING_FILES:
            if (folder / name).is_file():
                digest.update(name.encode() + b"\n" + _content(folder / name))
        for path in weight_files(folder):
            _hash_weights(path, digest)
    return digest.hexdigest()[:16]


def _content(path: Path) -> bytes:
    """Return the bytes of ``path``; of an adapter's description without the place of its base model."""
    content = path.read_bytes()
    if path.name != ADAPTER_CONFIG:
        return content
    keys = json.loads(content)
    keys.pop("base_model_name_or_path", None)
    return json.dumps(keys, sort_keys=True).encode()
