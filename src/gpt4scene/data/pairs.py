"""Rows of a preference data set: a conversation that ends with a question, a chosen answer and a rejected one.

Their form is LLaMA-Factory's: ``ranking: true``, and the columns ``chosen`` and ``rejected``. These hold a message of a
ShareGPT row, or the text of an Alpaca row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpt4scene.data.conversations import (
    STYLES,
    Columns,
    Tags,
    alpaca_conversation,
    sharegpt_conversation,
)
from gpt4scene.errors import DataError
from gpt4scene.types import Conversation, Origin

Reader = Callable[[Any, Columns, Tags, Origin], Conversation]


def sharegpt_pair(row: Any, columns: Columns, tags: Tags, origin: Origin) -> Conversation:
    """Return the conversation of a ShareGPT row with its chosen answer, and the rejected one beside it.

    Raises DataError naming ``origin`` as ``sharegpt_conversation`` does, and where an answer is missing, is no message
    of the assistant, or both are the same.
    """

    def answered(rest: Mapping[str, Any], answer: Any, key: str) -> dict[str, Any]:
        styles = {columns.messages: tags} | {name: one for name, one in STYLES.items() if name != columns.messages}
        place = next((name for name in styles if rest.get(name) is not None), columns.messages)
        messages, style = rest.get(place), styles[place]
        if not isinstance(answer, Mapping):
            raise DataError(
                f"{origin}: '{key}' must be one message with '{style.role_tag}' and '{style.content_tag}'; for answers "
                "as texts write formatting: alpaca"
            )
        speaker = answer.get(style.role_tag)
        if speaker != style.assistant_tag:
            raise DataError(
                f"{origin}: '{key}' is said by {speaker!r}, not by '{style.assistant_tag}'; correct the row, or set "
                "tags in dataset_info.json"
            )
        if not isinstance(messages, Sequence) or isinstance(messages, str):
            return dict(rest)  # refused with its own sentence
        return {**rest, place: [*messages, answer]}

    return _pair(row, columns, tags, origin, sharegpt_conversation, answered)


def alpaca_pair(row: Any, columns: Columns, tags: Tags, origin: Origin) -> Conversation:
    """Return the conversation of an Alpaca row with its chosen answer, and the rejected one beside it.

    Raises DataError naming ``origin`` as ``alpaca_conversation`` does, and where an answer is missing, both are the
    same, or the row has a third one.
    """

    def answered(rest: Mapping[str, Any], answer: Any, key: str) -> dict[str, Any]:
        if not isinstance(answer, str):
            raise DataError(f"{origin}: '{key}' must be a text; for answers as messages write formatting: sharegpt")
        if rest.get(columns.response):
            raise DataError(
                f"{origin}: '{columns.response}' holds a third answer beside '{columns.chosen}' and "
                f"'{columns.rejected}', which would be passed over; remove it"
            )
        return {**rest, columns.response: answer}

    return _pair(row, columns, tags, origin, alpaca_conversation, answered)


def _pair(
    row: Any,
    columns: Columns,
    tags: Tags,
    origin: Origin,
    read: Reader,
    answered: Callable[[Mapping[str, Any], Any, str], dict[str, Any]],
) -> Conversation:
    """Read the row once with each of its answers, as a row of that answer alone."""
    chosen, rejected = str(columns.chosen), str(columns.rejected)
    if not isinstance(row, Mapping):
        return read(row, columns, tags, origin)  # refused there
    for key in (chosen, rejected):
        if row.get(key) is None:
            raise DataError(f"{origin}: no answer under '{key}' (keys: {', '.join(row)}); correct or remove the row")
    rest = {key: value for key, value in row.items() if key not in (chosen, rejected)}
    plain = replace(columns, chosen=None, rejected=None)
    better, worse = (read(answered(rest, row[key], key), plain, tags, origin) for key in (chosen, rejected))
    if better.turns == worse.turns:
        raise DataError(
            f"{origin}: '{chosen}' and '{rejected}' are the same answer, so that none is better; remove the row"
        )
    return replace(better, rejected=worse.turns[-1].text)


PAIRS: Mapping[str, Reader] = {"sharegpt": sharegpt_pair, "alpaca": alpaca_pair}
"""Readers of rows with two answers, by the name that ``formatting`` takes in ``dataset_info.json``."""
