"""A look at every row before training starts, without decoding an image or tokenising what needs no tokenising."""

from __future__ import annotations

from collections.abc import Sequence

from gpt4scene.data.datasets import LoadedRows
from gpt4scene.data.encoding import Encoder
from gpt4scene.errors import DataError
from gpt4scene.types import Conversation


def screen(rows: Sequence[Conversation], encoder: Encoder, *, skip_bad_rows: bool = False) -> LoadedRows:
    """Return the rows that can be trained on: images open, and no row is longer than ``cutoff_len``.

    Every image's header is read once. A row is tokenised only where its bytes alone might pass ``cutoff_len``.
    Raises DataError at the first wrong row, or lists them all with ``skip_bad_rows``.
    """
    good: list[Conversation] = []
    skipped: list[str] = []
    for row in rows:
        try:
            bound = encoder.length_bound(row)
            if encoder.cutoff_len is not None and bound > encoder.cutoff_len:
                encoder.encode(row)
            good.append(row)
        except DataError as error:
            if not skip_bad_rows:
                raise
            skipped.append(str(error))
    if not good:
        raise DataError(
            f"none of {len(rows)} rows can be used; the first because of {skipped[0] if skipped else 'none'}"
        )
    return LoadedRows(good, skipped)
