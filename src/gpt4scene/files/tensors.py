"""``.pt`` files of plain values and arrays, read and written without PyTorch.

Attribute files are such files, and preparing, annotating and scoring need nothing else of PyTorch. The layout is that
of ``torch.save`` since 1.6: an uncompressed zip of a pickle (protocol 2) that names the tensors' storages, each in an
entry of its own. Reading executes nothing: the pickle may name tensors, storages and ``OrderedDict``, and that is all.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
_MOST_BYTES = 1 << 31
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)


class NotReadable(ValueError):
    """The file is damaged, or holds something else than plain values and tensors."""


def read_tensors(path: str | Path) -> Any:
    """Return what ``path`` holds, tensors as NumPy arrays.

    PyTorch is asked only where it is installed and the file is of another layout or kind; it then executes nothing
    either. Raises ``OSError`` when the file can't be opened and ``NotReadable`` when nobody can read it.
    """
    try:
        return _plain(path)
    except NotReadable:
        if importlib.util.find_spec("torch") is None:
            raise
        return _with_torch(path)


def _plain(path: str | Path) -> Any:
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _Reader(archive).load()
        except (
            *(zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError),
            *(AttributeError, NotImplementedError, RuntimeError, OverflowError, MemoryError, struct.error),
        ) as error:
            raise NotReadable(str(error) or type(error).__name__) from error


def _with_torch(path: str | Path) -> Any:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is none makes torch's unpickler fail in every way there is
        raise NotReadable(" ".join(str(error).split())[:100] or type(error).__name__) from error
    return _arrays(content)


def _arrays(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return (value.detach().float() if value.dtype == torch.bfloat16 else value.detach()).numpy()
    if isinstance(value, Mapping):
        return {key: _arrays(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_arrays(one) for one in value)
    return value


class _Reader(pickle.Unpickler):
    """Loads the archive's pickle; every name that it may use is listed here."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        names = [name for name in self._sizes if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise NotReadable("there is no data.pkl in it")
        self._folder = names[0].removesuffix("data.pkl")
        order = f"{self._folder}byteorder"
        if order in self._sizes and self._read(order) != b"little":
            raise NotReadable("it was written on a big-endian machine")
        super().__init__(io.BytesIO(self._read(names[0])))

    def _read(self, name: str) -> bytes:
        if self._sizes[name] > _MOST_BYTES:
            raise NotReadable(f"{name} claims {self._sizes[name]} bytes")
        return self._archive.read(name)

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name of the pickle."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise NotReadable(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        """Return a storage as an array of one dimension."""
        kind, code, key, _, count = pid
        if kind != "storage" or code not in _DTYPES.values():
            raise NotReadable(f"it refers to {kind!r}")
        dtype = np.dtype(code)
        name = f"{self._folder}data/{key}"
        if self._sizes[name] != count * dtype.itemsize:
            raise NotReadable(f"{name} has {self._sizes[name]} bytes for {count} values of {dtype.itemsize}")
        return np.frombuffer(self._read(name), dtype)


def _tensor(storage: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object) -> np.ndarray:
    """Return the view of ``storage`` that a tensor is, copied; raise ``NotReadable`` when it reaches outside."""
    if min((offset, *shape, *strides)) < 0 or len(shape) != len(strides):
        raise NotReadable("a tensor has a negative size")
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if last >= len(storage):
        raise NotReadable("a tensor reaches past its values")
    steps = tuple(stride * storage.itemsize for stride in strides)
    if int(np.prod(shape, dtype=object)) * storage.itemsize > _MOST_BYTES:
        raise NotReadable("a tensor is too large")
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(shape), steps).copy()


def tensor_bytes(content: Any) -> bytes:
    """Return the file that ``torch.load`` reads as ``content``, float32 arrays as tensors; equal content, equal bytes.

    ``content`` is made of mappings, lists, texts, whole and floating numbers, and NumPy arrays.
    """
    writer = _Writer()
    writer.value(content)
    entries = {"data.pkl": b"\x80\x02" + bytes(writer.pickle) + b".", "byteorder": b"little"}
    entries |= {f"data/{number}": array.tobytes() for number, array in enumerate(writer.arrays)}
    entries |= {"version": b"3\n"}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, blob in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", _FIRST_DAY), blob)
    return out.getvalue()


class _Writer:
    """Writes pickle opcodes (Python's own pickler would have to import what it names)."""

    def __init__(self) -> None:
        self.pickle = bytearray()
        self.arrays: list[np.ndarray] = []

    def value(self, value: Any) -> None:
        """Append one value."""
        if isinstance(value, Mapping):
            self.pickle += b"}("
            for key, one in value.items():
                self.value(key)
                self.value(one)
            self.pickle += b"u"
        elif isinstance(value, np.ndarray):
            self._tensor(np.ascontiguousarray(value, dtype="<f4"))
        elif isinstance(value, (list, tuple)):
            self.pickle += b"]("
            for one in value:
                self.value(one)
            self.pickle += b"e"
        elif isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            self.pickle += b"X" + struct.pack("<I", len(text)) + text
        elif isinstance(value, int):
            self.pickle += b"J" + struct.pack("<i", value)
        elif isinstance(value, float):
            self.pickle += b"G" + struct.pack(">d", value)
        else:
            raise TypeError(f"{type(value).__name__} has no place in a plain .pt file")

    def _tensor(self, array: np.ndarray) -> None:
        strides = [step // array.itemsize for step in array.strides]
        self.pickle += b"ctorch._utils\n_rebuild_tensor_v2\n(("
        self.value("storage")
        self.pickle += b"ctorch\nFloatStorage\n"
        for value in (str(len(self.arrays)), "cpu", array.size):
            self.value(value)
        self.pickle += b"tQ"
        self.value(0)
        for sizes in (array.shape, strides):
            self.pickle += b"("
            for size in sizes:
                self.value(int(size))
            self.pickle += b"t"
        self.pickle += b"\x89ccollections\nOrderedDict\n)RtR"
        self.arrays.append(array)
