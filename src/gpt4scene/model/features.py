"""Features of images that the vision tower need not compute again: in memory, and in a folder for later runs.

A key names all that features depend on: the image's bytes, what is made of them (``ImageRule``), the tower's weights
and config, the precision and the attention it computes with. So nothing is ever wrong, only not known.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import torch

from gpt4scene.data.image_rule import ImageRule
from gpt4scene.files.features import Block, DamagedFeatures, FeatureFolder

_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_READERS = 4
_WAITING = 256 * 10**6
"""Bytes of features that may wait for the disk; with more, the run waits."""


@dataclass(frozen=True, eq=False)
class Features:
    """What the tower made of one image: ``merged[tokens, width]``; for Qwen3-VL one more for each deepstack layer."""

    merged: torch.Tensor
    deepstack: tuple[torch.Tensor, ...] = ()

    @property
    def bytes(self) -> int:
        """Memory that the numbers take."""
        return sum(one.numel() * one.element_size() for one in (self.merged, *self.deepstack))

    def to(self, device: torch.device) -> Features:
        """Return the features on ``device``."""
        moved = [one.to(device, non_blocking=True) for one in (self.merged, *self.deepstack)]
        return Features(moved[0], tuple(moved[1:]))

    def copied(self) -> Features:
        """Return a copy in main memory that training may use as well; it keeps no features of other images alive."""
        with torch.inference_mode(False):
            copies = [torch.empty(one.shape, dtype=one.dtype).copy_(one) for one in (self.merged, *self.deepstack)]
        return Features(copies[0], tuple(copies[1:]))


def weights_digest(tower: torch.nn.Module) -> str:
    """Return a hash of the values of all parameters and buffers of ``tower``: equal weights are equal anywhere.

    The scales of LoRA adapters in it, which peft keeps as numbers of the modules, are part of it.
    """
    tensors = [*tower.named_parameters(), *tower.named_buffers()]
    scales = {name: vars(module).get("scaling") for name, module in tower.named_modules()}
    adapted = sorted((name, sorted(scale.items())) for name, scale in scales.items() if isinstance(scale, dict))

    def digest(item: tuple[str, torch.Tensor]) -> bytes:
        name, tensor = item
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        head = f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
        return hashlib.blake2b(values.data, key=hashlib.sha256(head).digest(), digest_size=16).digest()

    with ThreadPoolExecutor(_READERS, thread_name_prefix="weights") as pool:
        digests = b"".join(pool.map(digest, sorted(tensors, key=lambda item: item[0])))
    return hashlib.sha256(digests + repr(adapted).encode()).hexdigest()


def feature_key(content: str, rule: ImageRule, weights: str, computing: str) -> str:
    """Return the key, 32 hex digits, of an image of hash ``content`` under a tower of hash ``weights``.

    ``computing`` names precision, attention and config. What the rule says of videos counts for these alone.
    """
    settings = asdict(rule)
    video = settings.pop("video", None)
    of_video = [repr(video)] if content.startswith("v") else []
    words = "\n".join([content, repr(sorted(settings.items())), weights, computing, *of_video])
    return hashlib.sha256(words.encode()).hexdigest()[:32]


class FeatureCache:
    """Keeps features in at most ``memory`` bytes, those used last, and all of them in ``folder`` where there is one.

    Those that wait for the disk may take 256 MB more. Threads may share it. What the folder can't do is said once by
    ``say``; the run goes on without.
    """

    def __init__(
        self, memory: int, folder: FeatureFolder | None = None, say: Callable[[str], None] = lambda sentence: None
    ) -> None:
        self.memory, self.folder, self._say = memory, folder, say
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="features")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="features")
        self._writing: dict[str, tuple[Features, Future[None]]] = {}
        self._waiting, self._written = 0, threading.Condition(self._lock)
        self._said: set[str] = set()
        self._reads = self._writes = folder is not None

    @property
    def bytes(self) -> int:
        """Memory that the features kept take."""
        return self._bytes

    def knows(self, keys: Sequence[str]) -> bool:
        """Return whether there are features for all ``keys``; they then count as used just now.

        Files are looked for, not read: one may turn out to be damaged when it is.
        """
        for key in keys:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    continue
                if key in self._writing:
                    continue
            if not (self._reads and self.folder is not None and self.folder.has(key)):
                return False
        return True

    def get(self, keys: Sequence[str | None]) -> list[Features | None]:
        """Return the features of each key, None where there are none; files are read side by side."""
        found = [None if key is None else self._in_memory(key) for key in keys]
        missing = list(
            dict.fromkeys(key for key, one in zip(keys, found, strict=True) if key is not None and one is None)
        )
        read: Mapping[str, Features | None] = {}
        if missing and self._reads:
            read = dict(zip(missing, self._readers.map(self._from_folder, missing), strict=True))
            for key, one in read.items():
                if one is not None:
                    self._keep(key, one)
        return [one if one is not None or key is None else read.get(key) for key, one in zip(keys, found, strict=True)]

    def put(self, key: str, features: Features) -> None:
        """Keep a copy of ``features``."""
        copy = features.copied()
        self._keep(key, copy)
        if not self._writes:
            return
        with self._written:
            self._written.wait_for(lambda: self._waiting <= _WAITING)
            if key not in self._writing:
                self._waiting += copy.bytes
                self._writing[key] = copy, self._writer.submit(self._to_folder, key, copy)

    def close(self) -> None:
        """Wait until all files are written."""
        with self._lock:
            waiting = [future for _, future in self._writing.values()]
        for future in waiting:
            future.result()

    def _in_memory(self, key: str) -> Features | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            return self._writing[key][0] if key in self._writing else None

    def _keep(self, key: str, features: Features) -> None:
        if features.bytes > self.memory:
            return
        with self._lock:
            if (old := self._kept.pop(key, None)) is not None:
                self._bytes -= old.bytes
            self._kept[key] = features
            self._bytes += features.bytes
            while self._bytes > self.memory:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.bytes

    def _from_folder(self, key: str) -> Features | None:
        assert self.folder is not None
        try:
            blocks = self.folder.read(key)
            return None if blocks is None else _features(blocks)
        except DamagedFeatures as error:
            self._say_once("damaged", f"{self.folder.path(key)} is not whole ({error}); it is made again")
        except OSError as error:
            self._reads = False
            self._say_once("reading", f"{self.folder.folder} can't be read ({error.strerror}); the run goes on without")
        return None

    def _to_folder(self, key: str, features: Features) -> None:
        assert self.folder is not None
        try:
            if self._writes and not self.folder.write(key, _blocks(features)):
                self._writes = False
                self._say_once("full", f"the disk of {self.folder.folder} is almost full; nothing more is kept there")
        except OSError as error:
            self._writes = False
            said = f"{self.folder.folder} can't be written ({error.strerror}); nothing more is kept there"
            self._say_once("writing", said)
        finally:
            with self._written:
                del self._writing[key]
                self._waiting -= features.bytes
                self._written.notify_all()

    def _say_once(self, kind: str, sentence: str) -> None:
        with self._lock:
            if kind in self._said:
                return
            self._said.add(kind)
        self._say(f"feature_cache: {sentence}")


def _blocks(features: Features) -> dict[str, Block]:
    named = {"merged": features.merged} | {f"deepstack_{n}": one for n, one in enumerate(features.deepstack)}
    return {
        name: Block(_NAMES[one.dtype], tuple(one.shape), one.reshape(-1).view(torch.uint8).numpy())
        for name, one in named.items()
    }


def _features(blocks: Mapping[str, Block]) -> Features:
    """Return the features of a file; ``DamagedFeatures`` where it holds something else."""
    names = ["merged", *(f"deepstack_{n}" for n in range(len(blocks) - 1))]
    try:
        tensors = [_tensor(blocks[name]) for name in names]
    except (KeyError, RuntimeError, ValueError):
        raise DamagedFeatures("it holds something else") from None
    return Features(tensors[0], tuple(tensors[1:]))


def _tensor(block: Block) -> torch.Tensor:
    return torch.from_numpy(block.data_u8).view(_DTYPES[block.dtype]).reshape(block.shape)
