"""What lies in a model's folder: a checkpoint, a training output or a LoRA adapter, and which files each has.

Nothing here loads weights or imports torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.whole import copy_file, read_json
from gpt4scene.model.checkpoint import check_config, check_generation, check_processor, check_vocabulary, known_config
from gpt4scene.model.weight_files import Stored, check_files

ADAPTER_CONFIG = "adapter_config.json"
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
"""Files beside weights and tokenizer that transformers and vLLM want; copied into every checkpoint that we write."""

_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
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
_WEIGHTS = re.compile(r"(model|pytorch_model|adapter_model)[^/]*\.(safetensors|bin)")
_STEP = re.compile(r"checkpoint-(\d+)")
_WHOLE_BELOW = 64 * 2**20
_SAMPLES, _SAMPLE_BYTES = 256, 2**16


@dataclass(frozen=True)
class ModelFolder:
    """Where the weights are: ``base`` holds the checkpoint, ``adapter`` a LoRA to merge into it, or is None."""

    base: Path
    adapter: Path | None = None


def find_model(model: str | Path) -> ModelFolder:
    """Return the folders that ``model`` stands for.

    A folder with weights is itself; a training output folder without final weights gives its last ``checkpoint-<n>``;
    a folder with ``adapter_config.json`` gives that adapter and the base it names; a hub name gives its snapshot.
    ``DataError`` says what is missing.
    """
    folder = local_folder(model)
    for path in (folder, *reversed(step_folders(folder))):
        if is_adapter(path):
            return ModelFolder(base_of_adapter(path), path)
        if (path / ADAPTER_CONFIG).is_file():
            check_adapter_folder(path)
        if _is_checkpoint(path):
            return ModelFolder(path)
    raise DataError(
        f"{folder}: no model in this folder; expected config.json with *.safetensors (a checkpoint), {ADAPTER_CONFIG} "
        "(a LoRA adapter), or checkpoint-<step> folders (a training output)"
    )


def is_hub_name(model: str | Path) -> bool:
    """Return whether ``model``, which is no folder here, can be a name on the model hub: ``owner/name``."""
    name = str(model)
    return not name.startswith(("/", ".", "~")) and name.count("/") == 1


def local_folder(model: str | Path) -> Path:
    """Return the folder of a checkpoint: the path itself, or the hub snapshot of that name (downloaded if need be).

    Raises ``DataError`` where there is neither; and for a family that is not known here, before weights are downloaded.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if not is_hub_name(model):
        raise DataError(
            f"{model}: no such folder; give a checkpoint folder or a hub name such as Qwen/Qwen2-VL-7B-Instruct"
        )
    _described(model)
    return _snapshot(model)


def look_for(model: str | Path) -> None:
    """Raise ``DataError`` where ``find_model`` would; of what lies on the hub, descriptions are fetched, no weights."""
    folder = Path(model)
    if not folder.is_dir() and is_hub_name(model):
        _described(model)
    elif not any(is_adapter(path) and local_base(path) is None for path in (folder, *step_folders(folder))):
        find_model(model)


def _described(model: str | Path) -> None:
    """Fetch the description of a model on the hub. Raises ``DataError`` for none, and for a family not known here."""
    described = _snapshot(model, "config.json")
    if (described / "config.json").is_file():  # an adapter has none
        known_config(described)


def _snapshot(model: str | Path, patterns: str | None = None) -> Path:
    """Return the folder with the files of a model on the hub, of those that ``patterns`` name where it is given."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(str(model), allow_patterns=patterns))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise DataError(
            f"{model}: neither a folder here nor reachable on the model hub ({type(error).__name__})"
        ) from error


def check_folder(folder: Path) -> None:
    """Raise ``DataError`` that lists everything a checkpoint folder lacks, or says that its family is none here."""
    if (folder / "config.json").is_file():
        known_config(folder)
    missing = [name for name in ("config.json", "preprocessor_config.json") if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        missing.append("tokenizer.json")
    if not weight_files(folder):
        missing.append("model weights (*.safetensors)")
    if missing:
        raise DataError(
            f"{folder}: not a complete checkpoint, missing {', '.join(missing)}; copy them from the base model"
        )


def check_weights(folder: Path) -> dict[str, Stored]:
    """Return the tensors of a checkpoint folder by name, once all its files are whole; cheap.

    Raises ``DataError`` that names the first file that can't be what it should.

    Looks at ``config.json``, the weight files' headers and sizes, the index, the tokenizer's vocabulary, the image
    processor's patches and ``generation_config.json``. No weight is read.
    """
    check_folder(folder)
    config = check_config(folder)
    stored = check_files(folder)
    check_vocabulary(folder, config, stored)
    check_processor(folder, config)
    check_generation(folder)
    return stored


def step_folders(output_dir: Path) -> list[Path]:
    """Return the ``checkpoint-<step>`` folders of a training output, by step; none where it does not exist."""
    if not output_dir.is_dir():
        return []
    found = [(int(match[1]), path) for path in output_dir.iterdir() if (match := _STEP.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file() and bool(weight_files(folder))


def is_adapter(folder: Path) -> bool:
    """Return whether ``folder`` holds an adapter: its description and its weights."""
    return (folder / ADAPTER_CONFIG).is_file() and any((folder / name).is_file() for name in _ADAPTER_WEIGHTS)


def adapter_weights(folder: Path) -> Path:
    """Return the weight file of the adapter in ``folder``; ``DataError`` says what lies there instead of an adapter."""
    check_adapter_folder(folder)
    return next(folder / name for name in _ADAPTER_WEIGHTS if (folder / name).is_file())


def check_adapter_folder(folder: Path) -> None:
    """Raise ``DataError`` that says what ``folder`` is, and what to give instead, where it holds no adapter."""
    if is_adapter(folder):
        return
    files = f"{ADAPTER_CONFIG} and adapter_model.safetensors"
    steps = [path for path in reversed(step_folders(folder)) if is_adapter(path)]
    if not folder.is_dir():
        state = f"no such folder; give the folder that holds {files}"
    elif (folder / ADAPTER_CONFIG).is_file():
        state = f"holds {ADAPTER_CONFIG}, but no {_ADAPTER_WEIGHTS[0]} beside it; fetch it, or save the adapter again"
    elif any((folder / name).is_file() for name in _ADAPTER_WEIGHTS):
        state = f"holds an adapter's weights, but no {ADAPTER_CONFIG} beside them; fetch it, or save the adapter again"
    elif _is_checkpoint(folder):
        state = "a whole checkpoint, not a LoRA adapter: there is nothing to merge; use it as the model itself"
    elif steps:
        state = f"a training output without a LoRA adapter of its own; give one of its checkpoints, such as {steps[0]}"
    else:
        what = "an empty folder" if not any(folder.iterdir()) else "no LoRA adapter in this folder"
        state = f"{what}; give the folder that holds {files}"
    raise DataError(f"{folder}: {state}")


def base_of_adapter(adapter: Path) -> Path:
    """Return the folder of the base checkpoint that a LoRA folder names in its ``adapter_config.json``.

    A relative name counts from the working directory, then from the adapter, then from beside it; else it is taken as
    a hub name. ``DataError`` lists the places tried.
    """
    path, name, tried = _named_base(adapter)
    if name is None:
        raise DataError(f"{path}: 'base_model_name_or_path' is missing, so the base model is not known")
    here = local_base(adapter)
    if here is not None:
        return here
    try:
        return local_folder(name)
    except DataError:
        raise DataError(
            f"{path}: the base model '{name}' was not found; tried: {', '.join(str(folder) for folder in tried)}; "
            "download it and write its folder into base_model_name_or_path"
        ) from None


def local_base(adapter: Path) -> Path | None:
    """Return the folder of the base checkpoint that an adapter names, where it is one here; nothing is downloaded."""
    return next((folder for folder in _named_base(adapter)[2] if _is_checkpoint(folder)), None)


def _named_base(adapter: Path) -> tuple[Path, str | None, list[Path]]:
    """Return the adapter's description, the base that it names, and the folders that this may mean."""
    path = adapter / ADAPTER_CONFIG
    described = read_json(path, "adapter's description")
    name = described.get("base_model_name_or_path") if isinstance(described, dict) else None
    if not isinstance(name, str) or not name:
        return path, None, []
    return path, name, [Path(name)] if Path(name).is_absolute() else [Path(name), adapter / name, adapter.parent / name]


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a checkpoint or adapter folder, by name."""
    return sorted(path for path in folder.iterdir() if _WEIGHTS.fullmatch(path.name)) if folder.is_dir() else []


def _loaded_weights(folder: Path) -> list[Path]:
    """Return the weight files that a loader takes: safetensors where there are any, else the older ``.bin`` files."""
    files = weight_files(folder)
    return [path for path in files if path.suffix == ".safetensors"] or files


def weights_bytes(folder: Path) -> int:
    """Return the size of a checkpoint's weights in bytes; 0 where there are none."""
    return sum(path.stat().st_size for path in _loaded_weights(folder))


def parameter_count(folder: Path) -> int:
    """Return how many parameters a checkpoint has.

    Counts from the headers of its safetensors files; for other files, from their size at two bytes a parameter.
    ``DataError`` names a file that was cut off.
    """
    from safetensors import SafetensorError, safe_open

    count = 0
    for file in _loaded_weights(folder):
        if file.suffix != ".safetensors":
            count += file.stat().st_size // 2
            continue
        try:
            with safe_open(file, framework="np") as weights:
                count += sum(math.prod(weights.get_slice(name).get_shape()) for name in list(weights.keys()))
        except SafetensorError as error:
            raise DataError(f"{file}: the weights can't be read ({error}); copy or download the file again") from None
    return count


def save_processor_files(source: Path, target: Path) -> list[str]:
    """Copy the processor files of checkpoint ``source`` into ``target``; return the names copied."""
    names = [name for name in PROCESSOR_FILES if (source / name).is_file()]
    for name in names:
        copy_file(source / name, target / name)
    return names


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
    if path.name != ADAPTER_CONFIG:
        return path.read_bytes()
    described = dict(read_json(path, "adapter's description"))
    described.pop("base_model_name_or_path", None)
    return json.dumps(described, sort_keys=True).encode()


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
