"""Rows of plain text: every token is learned, no template is written around them (``stage: pt``).

A row is LLaMA-Factory's: the column ``prompt`` holds the text (``query`` continues it on a new line), and the
tokenizer's end token closes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from gpt4scene.data.conversations import NOT_USED, Columns, Tags
from gpt4scene.data.encoding import HALF, Encoder, RowTooLong
from gpt4scene.errors import DataError
from gpt4scene.types import IGNORED, Conversation, EncodedSample, Origin, Turn

TEXTS = ("prompt", "query")
"""Columns that make up the text of a row."""


def plain_text(row: Any, columns: Columns, tags: Tags, origin: Origin) -> Conversation:
    """Return the row as one turn, its text. Raises DataError naming ``origin`` for a row without text, or with more."""
    if not isinstance(row, Mapping):
        raise DataError(f"{origin}: the row is no object with keys; write one with the key '{columns.prompt}'")
    keys = {name: getattr(columns, name) for name in TEXTS}
    others = {getattr(columns, one.name) for one in fields(columns) if one.name not in TEXTS} | set(NOT_USED)
    for key in sorted(others - {None, *keys.values()}):
        if row.get(key):
            raise DataError(
                f"{origin}: '{key}' holds something, and stage: pt learns the text under '{columns.prompt}' alone; "
                "remove it, or train on it with stage: sft"
            )
    parts = [row[key] for key in keys.values() if row.get(key)]
    if wrong := [part for part in parts if not isinstance(part, str)]:
        raise DataError(f"{origin}: {str(wrong[0])[:80]!r} is no text; correct the row")
    text = "\n".join(parts)
    if not text.strip():
        raise DataError(
            f"{origin}: no text under '{columns.prompt}' (keys: {', '.join(row)}); set columns.prompt in "
            "dataset_info.json, or remove the row"
        )
    return Conversation((Turn("user", text),), (), origin)


class TextEncoder(Encoder):
    """Turns texts into token rows; of all settings of an ``Encoder`` only ``cutoff_len`` plays a part."""

    def encode(self, conversation: Conversation) -> EncodedSample:
        """Return a text, its end token behind it, all learned but the first, which nothing predicts.

        Raises DataError for a text with tokens that stand for images, and RowTooLong past ``cutoff_len``.
        """
        origin, text = conversation.origin, conversation.turns[0].text
        if half := HALF.search(text):
            raise DataError(f"{origin}: the text holds half a character ({half[0]!r}); write it anew")
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        self._refuse_media(ids, origin)
        ids_L = np.array([*self._begin(), *ids, *self._end()], dtype=np.int64)
        if self.cutoff_len is not None and len(ids_L) > self.cutoff_len:
            raise RowTooLong(
                f"{origin}: {len(ids_L)} tokens, but cutoff_len is {self.cutoff_len}; raise cutoff_len, cut the text "
                "into several rows, or set skip_bad_rows"
            )
        labels_L = ids_L.copy()
        labels_L[:1] = IGNORED
        return EncodedSample(ids_L, labels_L, 0, (), (), origin)

    def prefix_key(self, conversation: Conversation) -> None:
        """Return None: texts share nothing."""

    def length_bound(self, conversation: Conversation) -> int:
        """Return a number of tokens that the row can't pass: its bytes, and what stands around them."""
        return len(conversation.turns[0].text.encode(errors="replace")) + len(self._begin()) + len(self._end())

    def _begin(self) -> list[int]:
        """Return the token that this tokenizer's texts begin with, if any."""
        first = self.tokenizer.bos_token_id
        return [int(first)] if getattr(self.tokenizer, "add_bos_token", False) and isinstance(first, int) else []

    def _end(self) -> list[int]:
        """Return the token that closes a text."""
        last = self.tokenizer.eos_token_id
        if not isinstance(last, int):
            raise DataError("the tokenizer has no end token, which closes a text; name one in tokenizer_config.json")
        return [last]

    def _refuse_media(self, ids: Sequence[int], origin: Origin) -> None:
        """Raise DataError for tokens that stand for images or videos: the model would look for those."""
        known: dict[str, int] = self.tokenizer.get_vocab()
        image = (self.template.image_start, self.template.image_pad, self.template.image_end)
        media = {known[name]: name for name in (*image, "<|video_pad|>", "<|vision_pad|>") if name in known}
        if found := media.keys() & set(ids):
            raise DataError(
                f"{origin}: the text holds {media[min(found)]}, which stands for an image or video; remove it"
            )
