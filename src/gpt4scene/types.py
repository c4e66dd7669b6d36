"""The types that pass between stages: conversations, encoded samples, packs, batches, questions and answers.

This module imports neither torch nor any other part of the package, so every stage may import it.
Shape letters: L tokens, P prefix tokens (or patches of pixels), N images, K branches, M labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label of a token that carries no loss (the value that PyTorch's cross entropy ignores)."""

Role = Literal["system", "user", "assistant"]
Grid = tuple[int, int, int] | tuple[int, int, int, float]
"""What the rule of a family's images says of one image; mostly patches: (time, rows, columns).

504x392 pixels at patch size 14 is (1, 28, 36). Tokens, patches and positions of a grid are the rule's to say. That of a
video has a fourth number, the step: how far the time position goes on from one row of frames to the next, and 0 where
each stands in the text on its own.
"""


@dataclass(frozen=True)
class Origin:
    """Where a row came from, for messages: dataset name, file, and index in the file (0-based).

    ``task`` is what the row says that it is about, such as the benchmark that it was made of.
    """

    dataset: str
    file: str
    row: int
    task: str | None = None

    @property
    def group(self) -> str:
        """Under what the row's loss and answers are counted: its task, else its dataset."""
        return self.task or self.dataset

    def __str__(self) -> str:
        return f"{self.file}, row {self.row} (dataset '{self.dataset}')"


@dataclass(frozen=True)
class Turn:
    """One message. ``text`` of a user turn may hold ``<image>`` marks."""

    role: Role
    text: str


@dataclass(frozen=True)
class Conversation:
    """One training row: turns in order, and the images that its ``<image>`` marks stand for, in order.

    ``images`` are paths as they will be opened. Rows about one scene share one tuple object, so that
    165K rows of 33 images cost one list of paths per scene. ``rejected`` is an answer that is worse than that of the
    last turn, in a row of a preference data set.
    """

    turns: tuple[Turn, ...]
    images: tuple[str, ...]
    origin: Origin
    rejected: str | None = None


@dataclass(frozen=True)
class EncodedSample:
    """A row as tokens. ``ids_L[:cut]`` is the scene's prefix, ``ids_L[cut:]`` the row's own branch.

    ``cut`` follows the last image, or is 0 where nothing can be shared (no image, or an answer
    before the last image). ``labels_L`` holds the token itself where it is learned, ``IGNORED`` elsewhere.
    ``rejected`` is the same row with its worse answer.
    """

    ids_L: np.ndarray
    labels_L: np.ndarray
    cut: int
    images: tuple[str, ...]
    grids: tuple[Grid, ...]
    origin: Origin
    rejected: EncodedSample | None = None

    @property
    def answers(self) -> tuple[EncodedSample, ...]:
        """The row's branches: itself, then its worse answer where it has one."""
        return (self,) if self.rejected is None else (self, self.rejected)


@dataclass(frozen=True)
class Branch:
    """The tokens of one row after the shared prefix; the first label is always ``IGNORED``.

    ``weight`` is 1 for a row that counts in the loss and 0 for filling (uneven ends between ranks). ``images`` counts
    those of the row that are not in the prefix.
    """

    ids_L: np.ndarray
    labels_L: np.ndarray
    origin: Origin | None = None
    weight: float = 1.0
    images: int = 0


@dataclass(frozen=True)
class Pack:
    """One scene prefix and the questions that hang off it. An ordinary sample is a pack with one branch.

    ``images`` and ``grids`` are those of the prefix, then those of the branches, in the order of the row.
    The last ``apart`` branches do not see the prefix: rows of their own that ride along.
    """

    prefix_P: np.ndarray
    images: tuple[str, ...]
    grids: tuple[Grid, ...]
    branches: tuple[Branch, ...]
    apart: int = 0

    @property
    def length(self) -> int:
        """Tokens of the whole row: prefix and all branches."""
        return len(self.prefix_P) + sum(len(branch.ids_L) for branch in self.branches)


@dataclass(frozen=True)
class Content:
    """What a file held when it was read: ``digest`` of its bytes, and its ``state`` by which a change is noticed.

    ``young``: a change may not show in the state, since the file was so new, or there is none.
    """

    digest: str
    state: tuple[int, ...] = ()
    young: bool = True


@dataclass(frozen=True)
class Images:
    """The images of a pack in the order of its row, as the host knows them.

    ``grids`` without a path, the last ones, are blank. ``contents`` are what the decoded files held: None where nobody
    can say, empty where nobody looked.
    """

    grids: tuple[Grid, ...]
    paths: tuple[str, ...]
    contents: tuple[Content | None, ...] = ()


@dataclass(frozen=True, eq=False)
class PackLayout:
    """Which tokens of a packed row see each other: the prefix, then the branches of ``lengths``, in order.

    A branch sees itself and the prefix, the last ``apart`` branches only themselves; nothing sees what comes after it.
    All of it are integers of the host, so that attention neither builds a mask nor waits for a device. For the own part
    of the branches, rows of the same kernel call are padded on the right: ``groups`` holds, for each call, the number
    of branches and the length that they are padded to, and ``places`` the place of each branch token, in the order of
    the row, among the padded rows of all calls. It is empty where nothing is padded or moved (``even``).
    Made by ``data.layout.pack_layout``.
    """

    prefix_length: int
    lengths: tuple[int, ...]
    apart: int
    groups: tuple[tuple[int, int], ...]
    places: torch.Tensor  # [R] for R tokens of branches, or [0]

    @property
    def branch_tokens(self) -> int:
        """Tokens of all branches."""
        return sum(self.lengths)

    @property
    def seeing_tokens(self) -> int:
        """Tokens of the branches that see the prefix; they come first."""
        return sum(self.lengths[: len(self.lengths) - self.apart])

    @property
    def plain(self) -> bool:
        """Whether the row is one sequence, plainly causal."""
        alone = self.prefix_length == 0 or self.apart == 0
        return len(self.lengths) == 0 or (len(self.lengths) == 1 and alone)

    @property
    def even(self) -> bool:
        """Whether all branches have one length, so that they are a batch as they lie."""
        return len(set(self.lengths)) <= 1

    @property
    def members(self) -> list[list[int]]:
        """The branches of each of ``groups``, in the order of its rows."""
        order = iter(sorted(range(len(self.lengths)), key=lambda branch: -self.lengths[branch]))
        return [sorted(islice(order, count)) for count, _ in self.groups]

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> PackLayout:
        """Return the layout with ``change`` done to its tensor: moved, or pinned."""
        return replace(self, places=change(self.places))


@dataclass(frozen=True, eq=False)
class Batch:
    """A pack as tensors. One batch is one row of L tokens, which is one pack: the prefix, then K branches.

    Of the M learned tokens, ``label_ids`` are the tokens themselves, ``label_positions`` the positions whose logits
    predict them (each one before its token), and ``label_owners`` their branches, numbered from 0. ``weights`` are
    those of the branches. Pixels are patches in uint8, as the image rule cuts them, of all images one behind the other;
    without images, and where features of all ``images`` are known, they have no rows. Integers are int64.
    """

    input_ids: torch.Tensor  # [1, L]
    position_ids: torch.Tensor  # [3, 1, L]: time, row, column; or [1, L]
    pixel_values: torch.Tensor  # uint8 [P, patch length]
    images: Images
    layout: PackLayout
    label_positions: torch.Tensor  # [M]
    label_ids: torch.Tensor  # [M]
    label_owners: torch.Tensor  # [M]
    weights: torch.Tensor  # float32 [K]
    origins: tuple[Origin | None, ...]  # of the branches; None for one that is no row

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on ``device``; from pinned memory, the copy runs beside other work."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory; a ``DataLoader`` that pins calls this."""
        return self._changed(lambda tensor: tensor.pin_memory())

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        names = [item.name for item in fields(self) if item.name not in ("images", "layout", "origins")]
        tensors = {name: change(getattr(self, name)) for name in names}
        return replace(self, layout=self.layout.changed(change), **tensors)


@dataclass(frozen=True)
class Question:
    """One row of a question file. Identity is (``task``, ``index``), never ``qid``: rows without one are common.

    ``type_info`` is SQA3D's ``sqa_type`` or Multi3DRefer's ``eval_type``, 0 for a task without types.
    What the file does not say is ``None``. ``images`` are resolved paths in the order shown to the model (BEV first).
    ``source`` is the official row, for benchmarks whose rules read it. ``earlier`` are the messages before the prompt
    (a system message, a dialogue so far); with them, images stand at ``<image>`` marks only.
    """

    task: str
    index: int
    scene_id: str
    prompt: str
    images: tuple[str, ...] = ()
    qid: str | int | None = None
    obj_id: int | None = None
    pred_id: int | None = None
    ref_captions: tuple[str | int, ...] | None = None
    type_info: str | int | None = None
    source: Mapping[str, Any] | None = field(default=None, hash=False)
    earlier: tuple[Turn, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """The identity of the question across runs and shards."""
        return (self.task, self.index)


@dataclass(frozen=True)
class Answer:
    """A question and what the model said. ``tokens`` counts generated tokens, end mark included.

    ``finish_reason`` is ``stop`` where the model ended the answer, ``length`` where it was cut at the longest length,
    a server's own word, or None where it is not known. ``images`` is a hash of what the question's images held.
    ``sample`` tells several answers to one question apart. ``token_ids`` are the generated tokens; ``logprobs``, where
    they were asked for, what the model gave each of them: the log-softmax of its scores before penalty and temperature.
    """

    question: Question
    text: str
    tokens: int = 0
    finish_reason: str | None = None
    images: str | None = None
    sample: int = 0
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Judgement:
    """A judge's word on one answer. ``mark`` is ``None`` where its ``text`` could not be read as one.

    ``answer`` is the hash of what the judge was told, empty where nobody says. ``judge`` names the model, ``prompts``
    are where its prompts come from and their hash. ``times`` counts how often it was asked.
    """

    mark: int | None
    text: str = ""
    answer: str = ""
    judge: str = ""
    prompts: str = ""
    times: int = 1
    origin: str = "a judgement"
