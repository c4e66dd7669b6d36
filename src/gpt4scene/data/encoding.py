"""Conversations and questions become tokens. Image tokens are counted from file headers; no pixel is decoded here.

A row is cut after its last image: what lies before is the scene's prefix, shared by all rows with the same images
and the same words before them; what lies behind is the row's own branch. The two sides are tokenised apart, always.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gpt4scene.data.image_files import ImageSizes
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.data.marks import MEDIA_MARKS, Marks, counted, mark_of, marked, reason
from gpt4scene.data.spelling import LONGEST_TIME, in_pieces, spelled
from gpt4scene.data.templates import Segment, Template
from gpt4scene.errors import DataError
from gpt4scene.files.media import is_video
from gpt4scene.types import IGNORED, Conversation, EncodedSample, Grid, Origin, Question, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, which no tokenizer takes."""
CACHED_TEXTS, CACHED_LENGTH = 4096, 4096
"""So many texts are remembered as tokens, none of more letters: strangers may write long ones."""
CACHED_PREFIXES = 1024


class RowTooLong(DataError):
    """A row has more tokens than ``cutoff_len``; nothing is ever cut off."""


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the template's tokens, as this tokenizer numbers them; None where the template has none of the kind."""

    image_start: int | None
    image_pad: int
    image_end: int | None
    message_end: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, template: Template) -> SpecialTokens:
        """Look the ids up. Raises ValueError naming a token that the tokenizer does not know as one."""

        def known(token: str) -> int | None:
            return _single(tokenizer, template, token) if token else None

        return cls(
            known(template.image_start),
            _single(tokenizer, template, template.image_pad),
            known(template.image_end),
            _single(tokenizer, template, template.message_end),
        )

    @property
    def frame(self) -> int:
        """Tokens that begin and end an image."""
        return sum(token is not None for token in (self.image_start, self.image_end))

    def image_ends(self, ids_L: np.ndarray, grids: Sequence[Grid], rule: ImageRule) -> np.ndarray:
        """Return where each image of a row of tokens ends ``[N]``: behind the last token of its own."""
        lengths = np.cumsum([rule.tokens(grid) for grid in grids], dtype=np.int64)
        last = np.flatnonzero(ids_L == self.image_pad)[lengths - 1]
        return last + 1 + int(self.image_end is not None)

    def image(self, tokens: int) -> np.ndarray:
        """Return the tokens of an image: ``tokens`` pads, and what begins and ends them."""
        span = [self.image_start, *[self.image_pad] * tokens, self.image_end]
        return np.array([token for token in span if token is not None], dtype=np.int64)


def _single(tokenizer: PreTrainedTokenizerBase, template: Template, token: str) -> int:
    ids = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(
            f"template '{template.name}' needs the token {token}, which this tokenizer does not have; "
            "choose the template of the model's family"
        )
    return ids[0]


@dataclass(frozen=True)
class _Head:
    """What rows up to their last image have in common: the texts of their segments, images, tokens of texts alone."""

    texts: tuple[str, ...]
    images: int
    text_tokens: int


class Encoder:
    """Turns conversations and questions into token rows; owns tokenizer, template and vision rule of a run.

    Args:
        tokenizer: of the checkpoint.
        template: a value of ``TEMPLATES``.
        vision: how images become patches, and so tokens.
        cutoff_len: longest row in tokens, None for no bound.
        train_on_prompt: user messages behind the cut are learned too; image tokens never are.
        mask_history: only the last answer is learned.

    A row of two answers becomes one sample, with the other answer's beside it.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        vision: ImageRule,
        cutoff_len: int | None = None,
        train_on_prompt: bool = False,
        mask_history: bool = False,
    ) -> None:
        if train_on_prompt and mask_history:
            raise ValueError("train_on_prompt and mask_history exclude each other: one learns more, the other less")
        self.tokenizer, self.template, self.vision, self.cutoff_len = tokenizer, template, vision, cutoff_len
        self.train_on_prompt, self.mask_history = train_on_prompt, mask_history
        self.special = SpecialTokens.of(tokenizer, template)
        ends = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
        added: dict[str, int] = tokenizer.get_added_vocab()  # pyright: ignore  (of every tokenizer, not of the base)
        self._marks = template.marks_of(added, [str(token) for token in ends if token])
        self._sizes = ImageSizes()
        self._texts: dict[str, np.ndarray] = {}
        self._prefixes: dict[Hashable, tuple[np.ndarray, tuple[Grid, ...]]] = {}
        self._heads: dict[Hashable, _Head | None] = {}
        self._image_tokens: dict[tuple[str, ...], int] = {}

    def encode(self, conversation: Conversation) -> EncodedSample:
        """Return a training row with labels. Raises DataError, or RowTooLong past ``cutoff_len``."""
        segments, last = self._rendered(conversation)
        sample = self._assemble(segments, last, conversation.images, conversation.origin)
        other = with_rejected(conversation)
        if other is None:
            return sample
        rejected = self.encode(other)
        if np.array_equal(sample.ids_L, rejected.ids_L):
            raise DataError(
                f"{conversation.origin}: both answers are the same once thoughts are left out; remove the row, or "
                "leave enable_thinking: false out"
            )
        return replace(sample, rejected=rejected)

    def encode_question(self, question: Question) -> EncodedSample:
        """Return a question that ends after the assistant's header, without labels.

        Images and videos stand at the prompt's marks where there is one for each, directly before the prompt where it
        has no mark; with ``earlier`` messages, at the marks of all of them. Raises DataError for any other number
        of marks.
        """
        origin = Origin(question.task, f"questions of {question.task}", question.index)
        prompt = question.prompt
        if not question.earlier:
            self._marks.asked(prompt, question.images, f"{origin}, scene {question.scene_id}")
            prompt = prompt if self._marks.media(prompt) else "".join(map(mark_of, question.images)) + prompt
        turns = (*question.earlier, Turn("user", prompt))
        self._refuse_other_marks(turns, origin)
        rendered = self.template.render(turns, generate=True, marks=self._marks)
        segments = [replace(segment, learned=False) for segment in rendered]
        return self._assemble(segments, _last_image(segments), question.images, origin)

    def image_length(self, grid: Grid) -> int:
        """Return the tokens of an image, what begins and ends it included; at most so many of a video with times."""
        if in_pieces(grid):
            return self.vision.tokens(grid) + grid[0] * (self.special.frame + LONGEST_TIME)
        return self.vision.tokens(grid) + self.special.frame

    def image_ends(self, ids_L: np.ndarray, grids: Sequence[Grid]) -> np.ndarray:
        """Return where each image of a row of tokens ends ``[N]``: behind the last token of its own."""
        return self.special.image_ends(ids_L, grids, self.vision)

    def heard(self, text: str) -> str:
        """Return what a stranger wrote as the text of a message: see :meth:`~gpt4scene.data.marks.Marks.heard`."""
        return self._marks.heard(text)

    def read_sizes(self, rows: Iterable[Conversation]) -> None:
        """Read the sizes of all images of ``rows`` at once; errors are left to what asks for a row."""
        self._sizes.read(path for images in {id(row.images): row.images for row in rows}.values() for path in images)

    def forget_images(self) -> None:
        """Let go of what is remembered about image files: some of them were replaced."""
        self._sizes = ImageSizes()
        self._prefixes.clear()
        self._image_tokens.clear()

    def prefix_key(self, conversation: Conversation) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Return what rows must have in common to share a prefix, or None where this row can share none.

        These are the images, and the texts from the row's beginning to its last image, which has a text of its own.
        """
        head, _ = self._outline(conversation)
        if head is not None:
            return conversation.images, head.texts
        segments, last = self._rendered(conversation)
        return None if last < 0 else (conversation.images, _texts(segments[: last + 1]))

    def length_bound(self, conversation: Conversation) -> int:
        """Return a number of tokens that the row can't pass, without tokenising its branch.

        A byte-level vocabulary has no token shorter than a byte. Raises DataError for unreadable images.
        """
        other = with_rejected(conversation)
        if other is not None:
            return max(self.length_bound(replace(conversation, rejected=None)), self.length_bound(other))
        head, behind = self._outline(conversation)
        if head is not None:
            return head.text_tokens + self._tokens_of(conversation.images, conversation.origin) + behind
        segments, last = self._rendered(conversation)
        if last < 0 and conversation.images:
            return len(self._assemble(segments, last, conversation.images, conversation.origin, check=False).ids_L)
        if last < 0:
            return len("".join(_texts(segments)).encode())
        prefix_P, _ = self._prefix(segments[: last + 1], conversation.images, conversation.origin)
        return len(prefix_P) + len("".join(_texts(segments[last + 1 :])).encode())

    def _outline(self, conversation: Conversation) -> tuple[_Head | None, int]:
        """Return what the row has up to its last image, and the bytes behind, without rendering the row.

        Thousands of rows differ in images and question alone, so what stands before the question is rendered once.
        None for a row that has to be looked at as a whole: without images, with an answer before the last of them, or
        with something that no message may hold.
        """
        turns = conversation.turns
        shown = (any(mark in turn.text for mark in MEDIA_MARKS) for turn in reversed(turns))
        place = next((len(turns) - 1 - number for number, found in enumerate(shown) if found), -1)
        first, behind = self._marks.cut(turns[place].text)
        if place < 0 or not first:
            return None, 0
        key = (turns[:place], turns[place].role, first)
        if key not in self._heads:
            if len(self._heads) >= CACHED_TEXTS:
                self._heads.clear()
            self._heads[key] = self._head(replace(conversation, turns=(*turns[:place], Turn(turns[place].role, first))))
        head = self._heads[key]
        later = turns[place + 1 :]
        if head is None or head.images != len(conversation.images) or not self._plain(behind, later):
            return None, 0
        frame = f"{self.template.most_added}{self.template.message_end}\n"
        rest = [behind, frame, *(f"{self.template.message_start}{turn.role}\n{turn.text}{frame}" for turn in later)]
        return head, len("".join(rest).encode())

    def _head(self, conversation: Conversation) -> _Head | None:
        """Return what a row has in common with others that ends with its last image, or None where it does not."""
        segments, last = self._rendered(conversation)
        if last < 0 or "".join(_texts(segments[last + 1 :])) != self.template.message_end + self.template.closing:
            return None
        shared = segments[: last + 1]
        text_tokens = sum(len(self._tokens(segment.text)) for segment in shared if not segment.image)
        return _Head(_texts(shared), sum(segment.image for segment in shared), text_tokens)

    def _plain(self, behind: str, later: Sequence[Turn]) -> bool:
        """Return whether what follows the last image holds no mark and no half of a character."""
        texts = (behind, *(turn.text for turn in later))
        return not any(self._marks.found(text) or (not text.isascii() and HALF.search(text)) for text in texts)

    def _tokens_of(self, images: tuple[str, ...], origin: Origin) -> int:
        """Return the tokens of all images, those that begin and end them included."""
        known = self._image_tokens.get(images)
        if known is None:
            grids = self._grids(images, origin)
            known = self._image_tokens[images] = sum(map(self.image_length, grids))
        return known

    def _rendered(self, conversation: Conversation) -> tuple[list[Segment], int]:
        """Return the segments and the index of the last shared one (-1 where nothing can be shared)."""
        self._refuse_other_marks(conversation.turns, conversation.origin)
        segments = self.template.render(
            conversation.turns,
            train_on_prompt=self.train_on_prompt,
            mask_history=self.mask_history,
            marks=self._marks,
        )
        learned = not self.mask_history and _answers_before_images(conversation.turns, self._marks)
        return segments, -1 if learned else _last_image(segments)

    def _refuse_other_marks(self, turns: Sequence[Turn], origin: Origin) -> None:
        for turn in turns:
            if half := HALF.search(turn.text):
                raise DataError(f"{origin}: a {turn.role} message holds half a character ({half[0]!r}); write it anew")
            for mark in self._marks.found(turn.text):
                if mark not in MEDIA_MARKS or turn.role != "user":
                    raise DataError(f"{origin}: a {turn.role} message holds {mark}; {reason(mark)}")

    def _assemble(
        self, segments: list[Segment], last: int, images: tuple[str, ...], origin: Origin, check: bool = True
    ) -> EncodedSample:
        marks = [self.template.mark_at(segment.text) for segment in segments if segment.image]
        if marks != list(map(mark_of, images)):
            raise DataError(f"{origin}: {marked(marks)}, but {counted(images)}; write one mark for each, in order")
        if last < 0:
            grids = self._grids(images, origin)
            prefix_P = np.empty(0, dtype=np.int64)
            branch, labels = self._tokenise(segments, images, grids)
        else:
            prefix_P, grids = self._prefix(segments[: last + 1], images, origin)
            branch, labels = self._tokenise(segments[last + 1 :])
        labels[:1] = IGNORED
        ids_L = np.concatenate([prefix_P, branch])
        if check and self.cutoff_len is not None and len(ids_L) > self.cutoff_len:
            raise RowTooLong(
                f"{origin}: {len(ids_L)} tokens ({len(prefix_P)} before the question), but cutoff_len is "
                f"{self.cutoff_len}; {', '.join(self._ways_out(len(ids_L), grids))}, or set skip_bad_rows"
            )
        labels_L = np.concatenate([np.full(len(prefix_P), IGNORED, dtype=np.int64), labels])
        return EncodedSample(ids_L, labels_L, len(prefix_P), images, grids, origin)

    def _ways_out(self, length: int, grids: tuple[Grid, ...]) -> list[str]:
        """Return what would make a row of ``length`` tokens with images of ``grids`` fit into ``cutoff_len``."""
        seen = sum(map(self.vision.tokens, grids))
        assert self.cutoff_len is not None, "without a bound every row fits"
        if length - seen > self.cutoff_len:
            return ["raise cutoff_len", f"shorten the text, which alone has {length - seen} tokens"]
        fewer = [] if len(grids) == 1 and len(grids[0]) > 3 else [f"show fewer images than {len(grids)}"]
        return ["raise cutoff_len", *self.vision.ways_out(grids), *fewer]

    def _prefix(
        self, segments: list[Segment], images: tuple[str, ...], origin: Origin
    ) -> tuple[np.ndarray, tuple[Grid, ...]]:
        key = (images, _texts(segments))
        known = self._prefixes.get(key)
        if known is None:
            if len(self._prefixes) >= CACHED_PREFIXES:
                self._prefixes.clear()
            grids = self._grids(images, origin)
            ids_P, _ = self._tokenise(segments, images, grids)
            ids_P.setflags(write=False)
            known = self._prefixes[key] = (ids_P, grids)
        return known

    def _grids(self, images: tuple[str, ...], origin: Origin) -> tuple[Grid, ...]:
        return tuple(self._sizes.grid(path, self.vision, origin, len(images)) for path in images)

    def _tokenise(
        self, segments: Sequence[Segment], images: Sequence[str] = (), grids: Sequence[Grid] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and labels of the segments; ``grids`` are those of their ``images``, in order."""
        ids, labels = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        clips = self._sizes.clips
        times = [clips.showing(name, self.vision).texts if is_video(name) else () for name in images]
        for piece, learned in spelled(segments, zip(grids, times, strict=True)):
            part = self._tokens(piece) if isinstance(piece, str) else self.special.image(self.vision.tokens(piece))
            ids.append(part)
            labels.append(part if learned else np.full(len(part), IGNORED, dtype=np.int64))
        return np.concatenate(ids), np.concatenate(labels)

    def _tokens(self, text: str) -> np.ndarray:
        known = self._texts.get(text)
        if known is None:
            known = np.array(self.tokenizer.encode(text, add_special_tokens=False), dtype=np.int64)
            if len(text) <= CACHED_LENGTH:
                if len(self._texts) >= CACHED_TEXTS:
                    self._texts.clear()
                self._texts[text] = known
        return known


def with_rejected(conversation: Conversation) -> Conversation | None:
    """Return the row with its worse answer in place of the last turn; None where it has no such answer."""
    if conversation.rejected is None:
        return None
    turns = (*conversation.turns[:-1], replace(conversation.turns[-1], text=conversation.rejected))
    return replace(conversation, turns=turns, rejected=None)


def _texts(segments: Sequence[Segment]) -> tuple[str, ...]:
    """Return the texts one by one: joined, letters that were cut apart would look like the token."""
    return tuple(segment.text for segment in segments)


def _last_image(segments: Sequence[Segment]) -> int:
    return max((index for index, segment in enumerate(segments) if segment.image), default=-1)


def _answers_before_images(turns: Sequence[Turn], marks: Marks) -> bool:
    with_images = [index for index, turn in enumerate(turns) if turn.role == "user" and marks.media(turn.text)]
    return bool(with_images) and any(turn.role == "assistant" for turn in turns[: with_images[-1]])
