"""A folder of features of images: one file an image, whole or not at all, oldest ones removed first.

A file is in the safetensors format (a header of JSON, then the numbers), which other programs read as well. Its
metadata name the key that it was written for and a checksum, so that a torn, damaged or foreign file is noticed.
Several processes may use one folder: they write whole files, and equal keys mean equal content.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.files.whole import whole_file

SUFFIX = ".safetensors"
_NAME = re.compile(r"[0-9a-f]{32}")
_FORMAT = "gpt4scene features 1"
_KEPT_FREE = 10 * 10**9
"""Bytes of the disk that are left to others, checkpoints above all, or a tenth of it where that is less."""
_LONGEST_HEADER = 1 << 20


class DamagedFeatures(ValueError):
    """The file is torn, damaged or not what its name says."""


@dataclass(frozen=True, eq=False)
class Block:
    """Numbers as they lie in a file: ``dtype`` in safetensors' spelling (BF16, F32 …), ``shape``, and the bytes."""

    dtype: str
    shape: tuple[int, ...]
    data_u8: np.ndarray


def to_bytes(key: str, blocks: Mapping[str, Block]) -> bytes:
    """Return the content of a file for ``key``."""
    body = b"".join(block.data_u8.tobytes() for block in blocks.values())
    entries: dict[str, Any] = {}
    start = 0
    for name, block in blocks.items():
        end = start + block.data_u8.nbytes
        entries[name] = {"dtype": block.dtype, "shape": list(block.shape), "data_offsets": [start, end]}
        start = end
    metadata = {"format": _FORMAT, "key": key, "crc32": _checksum(entries, body)}
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def from_bytes(key: str, content: np.ndarray) -> dict[str, Block]:
    """Return what the ``content``, uint8, of a file for ``key`` holds; ``DamagedFeatures`` where it is not whole."""
    length = int.from_bytes(content[:8].tobytes(), "little")
    if len(content) < 8 or not 0 < length <= min(_LONGEST_HEADER, len(content) - 8):
        raise DamagedFeatures("it is cut off")
    text, body = content[8 : 8 + length].tobytes(), content[8 + length :]
    try:
        entries: dict[str, Any] = json.loads(text)
        metadata = entries.pop("__metadata__")
        if metadata["format"] != _FORMAT or metadata["key"] != key:
            raise DamagedFeatures("it was written for something else")
        if metadata["crc32"] != _checksum(entries, body.data):
            raise DamagedFeatures("its checksum is wrong")
        return {
            name: Block(one["dtype"], tuple(one["shape"]), body[slice(*one["data_offsets"])])
            for name, one in entries.items()
        }
    except DamagedFeatures:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedFeatures("its header can't be read") from None


def _checksum(entries: Mapping[str, Any], body: bytes | memoryview) -> str:
    return str(zlib.crc32(body, zlib.crc32(json.dumps(entries).encode())))


@dataclass
class FeatureFolder:
    """Files of features under their keys, 32 hex digits each, in ``folder``; ``limit`` bytes of them at most.

    Writers of several processes each look only now and then at what others wrote, so that the limit may be passed by a
    twentieth for each process.
    """

    folder: Path
    limit: int
    _size: int | None = None
    _unseen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def path(self, key: str) -> Path:
        """Return where the features of ``key`` are, or would be."""
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def has(self, key: str) -> bool:
        """Return whether there is a file for ``key``; whether it is whole is not looked at."""
        return os.path.isfile(self.path(key))

    def read(self, key: str) -> dict[str, Block] | None:
        """Return what is kept for ``key``, or None; it then counts as used just now.

        Raises ``OSError`` where the file can't be read, and ``DamagedFeatures`` for one that is not whole; that one is
        removed where this may be done.
        """
        path = self.path(key)
        try:
            content = np.fromfile(path, dtype=np.uint8)
        except FileNotFoundError:
            return None
        try:
            blocks = from_bytes(key, content)
        except DamagedFeatures:
            with suppress(OSError):  # a folder that may only be read
                path.unlink()
            raise
        with suppress(OSError):  # a folder that may only be read, or a file that another process removed
            os.utime(path)
        return blocks

    def write(self, key: str, blocks: Mapping[str, Block]) -> bool:
        """Keep ``blocks`` for ``key``; older files are removed where there are too many.

        Returns False where the disk has little left, and nothing was written. Raises ``OSError``, also where they take
        more than ``limit``.
        """
        content = to_bytes(key, blocks)
        if len(content) > self.limit:
            raise OSError(errno.EFBIG, f"an image takes {len(content):,} bytes, the limit is {self.limit:,}")
        self.folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self.folder)
        if disk.free - len(content) < min(_KEPT_FREE, disk.total // 10):
            return False
        self._make_room(len(content))
        with whole_file(self.path(key)) as partial:
            partial.write_bytes(content)
        return True

    def _make_room(self, size: int) -> None:
        with self._lock:
            self._unseen += size
            if self._size is None or self._unseen > self.limit // 20 or self._size + size > self.limit:
                self._size, self._unseen = self._removed_down_to(self.limit - size), 0
            self._size += size

    def _removed_down_to(self, size: int) -> int:
        """Remove the files used longest ago until less than ``size`` bytes are left; return how many are."""
        found = sorted(self._files())
        total = sum(length for _, length, _ in found)
        if total <= size:
            return total
        for _, length, path in found:
            if total <= size - self.limit // 20:
                break
            path.unlink(missing_ok=True)
            total -= length
        return total

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Give time of last use, bytes and path of every file that is ours; others are never touched."""
        for group in self.folder.iterdir():
            if len(group.name) != 2 or not group.is_dir():
                continue
            for path in group.iterdir():
                if path.suffix == SUFFIX and _NAME.fullmatch(path.stem) and path.stem.startswith(group.name):
                    try:
                        state = path.stat()
                    except FileNotFoundError:  # another process was faster
                        continue
                    yield state.st_mtime, state.st_size, path
