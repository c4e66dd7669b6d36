"""Weight files, told whole from broken by their headers: no tensor is read.

torch is imported by ``read_pickle`` alone: only its own reader knows what a ``.bin`` file holds.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json

_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4},
    **{"U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1},
}
_PLAIN = ("F64", "F32", "F16", "BF16")
_TORCH_NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
SINGLES = ("model.safetensors", "pytorch_model.bin")
"""Names of a checkpoint's only weight file, in the order in which loaders look for them."""
_LFS = b"version https://git-lfs"
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors format itself."""


@dataclass(frozen=True)
class Stored:
    """A tensor as its file describes it: the format's name of its numbers, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Stored]:
    """Return what the safetensors file ``path`` holds, by tensor name.

    Raises ``DataError`` where the file is empty, a pointer of git-lfs, no safetensors file, shorter or longer than its
    header says, or holds numbers that are not plain floating ones.
    """
    size = _size(path)
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _LONGEST_HEADER:
            raise DataError(f"{path}: no safetensors file; fetch it again")
        if 8 + length > size:
            raise DataError(f"{path}: cut off inside its header, {size:,} bytes; fetch it again")
        text = file.read(length)
    try:
        header = json.loads(text)
        found = {name: entry for name, entry in header.items() if name != "__metadata__"}
        stored = {name: Stored(str(entry["dtype"]), tuple(entry["shape"])) for name, entry in found.items()}
        ends = {name: (int(first), int(last)) for name, (first, last) in _offsets(found)}
        total = 8 + length + max((end for _, end in ends.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: the header of the weights can't be read; fetch it again") from error
    if total != size:
        state = "cut off" if size < total else "too long"
        raise DataError(f"{path}: {state}: {size:,} bytes, and its header says {total:,}; fetch it again")
    _refuse_quantised(path, stored)
    place = 0
    for name in sorted(stored, key=ends.__getitem__):
        tensor, (first, last) = stored[name], ends[name]
        if last - first != math.prod(tensor.shape) * _BYTES[tensor.dtype]:
            raise DataError(f"{path}: '{name}' does not have the bytes of its shape {list(tensor.shape)}")
        if first != place:
            state = "overlap" if first < place else "leave a gap"
            raise DataError(f"{path}: the tensors in it {state} before '{name}'; fetch it again")
        place = last
    return stored


def _offsets(entries: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, entry["data_offsets"]) for name, entry in entries.items()]


def _refuse_quantised(path: Path, stored: dict[str, Stored]) -> None:
    for name, tensor in stored.items():
        if tensor.dtype not in _PLAIN:
            raise DataError(
                f"{path}: '{name}' holds {tensor.dtype} numbers: quantised weights are not supported; take the "
                "checkpoint in bf16, fp16 or fp32"
            )


def read_pickle(path: Path) -> dict[str, Stored]:
    """Return what the ``.bin`` file ``path`` holds, by tensor name; no number is kept.

    Raises ``DataError`` as ``check_pickle`` does, and where it holds something else than tensors by name, or numbers
    that are not plain floating ones.
    """
    import torch

    tensors = load_pickle(path, "meta")
    if not tensors:
        raise DataError(f"{path}: holds no tensors; fetch it again")
    stored = {
        name: Stored(_TORCH_NAMES.get(str(one.dtype).removeprefix("torch."), str(one.dtype)), tuple(one.shape))
        for name, one in tensors.items()
    }
    sparse = [name for name, one in tensors.items() if one.layout != torch.strided]
    if sparse:
        raise DataError(f"{path}: {_few(sparse)} is no plain tensor; take the checkpoint as safetensors")
    _refuse_quantised(path, stored)
    return stored


def load_pickle(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Return the tensors of a ``.bin`` file by name; on the device ``meta`` they have no numbers, and cost no memory.

    Raises ``DataError`` where the file is broken or holds something else.
    """
    import torch

    check_pickle(path)
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file makes torch's unpickler fail in every way there is
        said = (" ".join(str(error).split()) or type(error).__name__)[:200]
        raise DataError(f"{path}: can't be read ({said}); fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, not tensors by name; save the model's state_dict")
    other = [str(n) for n, value in content.items() if not (isinstance(n, str) and isinstance(value, torch.Tensor))]
    if other:
        raise DataError(f"{path}: holds something else than tensors ({_few(other)}); save the model's state_dict alone")
    return content


def read_tensors(path: Path) -> dict[str, Stored]:
    """Return what a weight file of either kind holds, by tensor name; ``DataError`` where it is broken."""
    return read_header(path) if path.suffix == ".safetensors" else read_pickle(path)


def check_pickle(path: Path) -> None:
    """Raise ``DataError`` where the ``.bin`` file ``path`` is empty, a pointer of git-lfs, cut off or no pickle."""
    _size(path)
    with open(path, "rb") as file:
        start = file.read(2)
    if start == b"PK" and not zipfile.is_zipfile(path):  # the archive's directory stands at its end
        raise DataError(f"{path}: cut off, its archive has no end; fetch it again")
    if start[:1] not in (b"P", b"\x80"):
        raise DataError(f"{path}: no weights of PyTorch; fetch it again")


def _size(path: Path) -> int:
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: empty; fetch it again")
    with open(path, "rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise DataError(f"{path}: a pointer of git-lfs, not the weights; fetch them with git lfs pull")
    return size


def chosen_weights(folder: Path) -> list[Path]:
    """Return the files that a loader reads a checkpoint from: one file, or the shards that the index names.

    Raises ``DataError`` where the index is broken, names files that are not there, or is missing beside shards.
    """
    for single in SINGLES:
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            return _shards(index)
        loose = shards_of(folder, single)
        if loose:
            raise DataError(f"{index}: missing beside {loose[0].name}; fetch it again")
    raise DataError(f"{folder}: no model.safetensors and no model.safetensors.index.json in it; fetch the weights")


def shards_of(folder: Path, single: str) -> list[Path]:
    """Return the files in ``folder`` that are called as shards of the weight file ``single`` are."""
    stem, _, suffix = single.partition(".")
    return sorted(folder.glob(f"{stem}-*-of-*.{suffix}"))


def _shards(index: Path) -> list[Path]:
    names = sorted(set(_weight_map(index).values()))
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise DataError(f"{index}: names {_few(absent)}, which is missing; fetch it again")
    if not isinstance(read_json(index).get("metadata"), dict):
        raise DataError(f"{index}: 'metadata' is missing, and transformers wants it; fetch it again")
    return [index.parent / name for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    content = read_json(index, "index of the weights")
    mapped: Any = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(mapped, dict) or not mapped or not all(isinstance(name, str) for name in mapped.values()):
        raise DataError(f"{index}: 'weight_map' is missing, so the shards are not known; fetch it again")
    return mapped


def check_files(folder: Path) -> dict[str, Stored]:
    """Return the tensors of the checkpoint in ``folder`` by name.

    Raises ``DataError`` that names the first file that is broken, or is no part of what the index describes.
    """
    stored: dict[str, Stored] = {}
    for path in chosen_weights(folder):
        held = read_tensors(path)
        twice = sorted(set(held) & set(stored))
        if twice:
            raise DataError(f"{path}: holds {_few(twice)}, as another shard does; fetch the weights again")
        stored |= held
        if path.name not in SINGLES:
            index = folder / f"{'model' if path.suffix == '.safetensors' else 'pytorch_model'}{path.suffix}.index.json"
            named = {name for name, file in _weight_map(index).items() if file == path.name}
            wrong = sorted(named ^ set(held))
            if wrong:
                raise DataError(
                    f"{path}: not the shard that {index.name} describes: they differ in {_few(wrong)}; fetch both again"
                )
    return stored


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
