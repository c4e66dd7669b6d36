"""One row of a dataset file becomes a ``Conversation``: ShareGPT in any key style, and Alpaca.

Image paths stay as they are written in the row; ``datasets.py`` finds the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from gpt4scene.data.marks import MEDIA_MARKS, Marks, reason
from gpt4scene.data.media_columns import row_media
from gpt4scene.errors import DataError
from gpt4scene.files.media import VIDEO_FILES
from gpt4scene.types import Conversation, Origin, Role, Turn


@dataclass(frozen=True)
class Columns:
    """Which keys of a row hold what; names and defaults are those of ``dataset_info.json``."""

    messages: str = "conversations"
    system: str | None = None
    images: str = "images"
    prompt: str = "instruction"
    query: str = "input"
    response: str = "output"
    history: str = "history"
    tools: str | None = None
    videos: str = "videos"
    audios: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    kto_tag: str | None = None


NOT_USED: Mapping[str, str] = {
    **dict.fromkeys(
        ("video", "video_path", "video_paths", "video_url", "video_urls"),
        "videos are listed under 'videos', with a mark in the text for each",
    ),
    "audios": "audio is not supported",
    "audio_path": "audio is not supported",
    "audio": "audio is not supported",
    "depth": "depth images are not supported; list images under 'images'",
    "depths": "depth images are not supported; list images under 'images'",
    "point_cloud": "point clouds are not supported; list images under 'images'",
    "point_clouds": "point clouds are not supported; list images under 'images'",
    "tools": "tools and function calls are not supported",
    "chosen": "preference pairs are not supervised fine-tuning",
    "rejected": "preference pairs are not supervised fine-tuning",
    "kto_tag": "preference labels are not supervised fine-tuning",
    "functions": "tools and function calls are not supported",
    "weight": "rows can't be weighed; see num_samples",
    "loss": "rows can't be left out of the loss; remove the row",
    "loss_weight": "rows can't be weighed; see num_samples",
    "sample_weight": "rows can't be weighed; see num_samples",
    "loss_mask": "parts of rows can't be left out of the loss; see mask_history",
    "rejected_response": "preference pairs are not supervised fine-tuning",
    "image_path": "images are listed under 'images', with a mark in the text for each",
    "image_paths": "images are listed under 'images', with a mark in the text for each",
    "image_url": "images are listed under 'images', with a mark in the text for each",
    "image_urls": "images are listed under 'images', with a mark in the text for each",
    "pictures": "images are listed under 'images', with a mark in the text for each",
    "image": "images are listed under 'images', with a mark in the text for each",
    "system": "to use it, set columns.system in dataset_info.json",
    "system_prompt": "to use it, set columns.system in dataset_info.json",
    "history": "earlier turns belong into the messages; of alpaca rows, columns.history names them",
}
"""Keys of rows that mean something to training and are not used, unless a column names them -> the way out."""

_VIDEOS = "|".join(end.removeprefix(".") for end in VIDEO_FILES)
MEDIA = re.compile(rf"\S.*\.(jpe?g|png|webp|bmp|gif|tiff?|heic|{_VIDEOS}|wav|mp3|flac|ogg|m4a)(\?.*)?", re.IGNORECASE)
"""What paths of images, videos and audio look like."""

NOT_USED_IN_MESSAGES: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "tool_calls": ("tools and function calls are not supported", ()),
    "function_call": ("tools and function calls are not supported", ()),
    "reasoning_content": ("thoughts beside the answer are not supported; write them into the text", ()),
    "images": ("images are listed for the whole row", ()),
    "image": ("images are listed for the whole row", ()),
    "videos": ("videos are listed for the whole row", ()),
    "audio": ("audio is not supported", ()),
    "image_url": ("images are listed for the whole row", ()),
    "image_urls": ("images are listed for the whole row", ()),
    "video": ("videos are listed for the whole row", ()),
    "video_url": ("videos are listed for the whole row", ()),
    "audios": ("audio is not supported", ()),
    "tools": ("tools and function calls are not supported", ()),
    "tool_call_id": ("tools and function calls are not supported", ()),
    "chosen": ("preference pairs are not supervised fine-tuning", ()),
    "rejected": ("preference pairs are not supervised fine-tuning", ()),
    "refusal": ("the text of the message alone is learned", ()),
    "prefix": ("answers can't be begun for the model", (False,)),
    "thought": ("thoughts beside the answer are not supported; write them into the text", ()),
    "reasoning": ("thoughts beside the answer are not supported; write them into the text", ()),
    "thinking": ("thoughts beside the answer are not supported; write them into the text", ()),
    "mask": ("single messages can't be left out of the loss; see mask_history", (False, 0)),
    "loss_weight": ("single messages can't be left out of the loss; see mask_history", (1, 1.0)),
    "weight": ("single messages can't be left out of the loss; see mask_history", (1, 1.0)),
    "loss": ("single messages can't be left out of the loss; see mask_history", (True, 1)),
    "train": ("single messages can't be left out of the loss; see mask_history", (True, 1)),
}
"""Keys of messages that mean something and are not used -> the way out, and values that ask for nothing."""


@dataclass(frozen=True)
class Tags:
    """How a ShareGPT message names its speaker and text; names and defaults are those of ``dataset_info.json``."""

    role_tag: str = "from"
    content_tag: str = "value"
    user_tag: str = "human"
    assistant_tag: str = "gpt"
    system_tag: str = "system"
    observation_tag: str = "observation"
    function_tag: str = "function_call"


MARKS = Marks()
"""Finds what stands for media, whatever the template."""

STYLES: Mapping[str, Tags] = {
    "messages": Tags("role", "content", "user", "assistant", "system"),
    "conversations": Tags(),
}
"""The two key styles in circulation, by the key of the list of messages."""


def sharegpt_conversation(row: Any, columns: Columns, tags: Tags, origin: Origin) -> Conversation:
    """Return the conversation of a ShareGPT row.

    Published files come in two key styles, and copies of ``dataset_info.json`` name either. A row without the
    list that ``columns`` names is read in the other style where it has that one's list.

    Raises DataError naming ``origin`` for missing keys, unknown speakers, speakers that don't take turns, and
    marks that differ from the images and videos in number.
    """
    messages = _mapping(row, origin).get(columns.messages)
    if messages is None:
        messages, tags = next(((row[key], style) for key, style in STYLES.items() if key in row), (None, tags))
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise DataError(
            f"{origin}: no list of messages under '{columns.messages}' (keys: {', '.join(row)}); "
            "set columns.messages in dataset_info.json"
        )
    roles: dict[str, Role] = {tags.user_tag: "user", tags.assistant_tag: "assistant", tags.system_tag: "system"}
    turns = []
    for message in messages:
        if not isinstance(message, Mapping) or not {tags.role_tag, tags.content_tag} <= message.keys():
            raise DataError(
                f"{origin}: a message has no '{tags.role_tag}' and '{tags.content_tag}' ({_short(message)}); "
                "set tags in dataset_info.json"
            )
        _refuse_unused_in(message, tags, origin)
        speaker, text = message[tags.role_tag], message[tags.content_tag]
        if speaker in (tags.observation_tag, tags.function_tag):
            raise DataError(
                f"{origin}: speaker '{speaker}': tools and function calls are not supported; remove the row"
            )
        if speaker not in roles:
            raise DataError(
                f"{origin}: speaker '{speaker}' is none of {', '.join(roles)}; set tags in dataset_info.json"
            )
        turns.append(Turn(roles[speaker], _string(text, tags.content_tag, origin)))
    others = [
        key for key in STYLES if key != columns.messages and not _is_empty(row.get(key)) and row[key] is not messages
    ]
    if others:
        raise DataError(
            f"{origin}: the row has two lists of messages, '{columns.messages}' and '{others[0]}'; keep one"
        )
    used = {columns.messages, *STYLES}
    return _checked(_with_system(turns, row, columns, origin), row, columns, origin, used)


def alpaca_conversation(row: Any, columns: Columns, tags: Tags, origin: Origin) -> Conversation:
    """Return the conversation of an Alpaca row: instruction and input, joined by a line break, then the output.

    ``history`` holds earlier pairs of question and answer. ``tags`` play no part. Raises DataError naming ``origin``.
    """
    _mapping(row, origin)
    for key in (columns.prompt, columns.response):
        if key not in row:
            raise DataError(
                f"{origin}: no key '{key}' (keys: {', '.join(row)}); set columns and formatting in dataset_info.json"
            )
    turns = []
    for pair in row.get(columns.history) or []:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise DataError(
                f"{origin}: '{columns.history}' holds {_short(pair)}, which is no pair of question and answer"
            )
        pair = [_string(part, columns.history, origin) for part in pair]
        turns += [Turn("user", str(pair[0])), Turn("assistant", str(pair[1]))]
    asked = ["" if row.get(key) is None else _string(row[key], key, origin) for key in (columns.prompt, columns.query)]
    turns.append(Turn("user", "\n".join(part for part in asked if part)))
    turns.append(Turn("assistant", _string(row[columns.response], columns.response, origin)))
    return _checked(_with_system(turns, row, columns, origin), row, columns, origin, {columns.history})


FORMATS: Mapping[str, Callable[[Any, Columns, Tags, Origin], Conversation]] = {
    "sharegpt": sharegpt_conversation,
    "alpaca": alpaca_conversation,
}
"""Row readers by the name that ``formatting`` takes in ``dataset_info.json``."""


def _mapping(row: Any, origin: Origin) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise DataError(f"{origin}: the row is no object with keys ({_short(row)})")
    return row


def _string(value: Any, key: str, origin: Origin) -> str:
    if not isinstance(value, str):
        raise DataError(f"{origin}: '{key}' is no text ({_short(value)})")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _with_system(turns: list[Turn], row: Mapping[str, Any], columns: Columns, origin: Origin) -> list[Turn]:
    """Put the row's system column first, unless the messages bring their own; an empty one means the default."""
    if turns[0].role == "system":
        return turns if turns[0].text else turns[1:]
    system = row.get(columns.system) if columns.system else None
    return [Turn("system", _string(system, str(columns.system), origin)), *turns] if system else turns


def _checked(
    turns: list[Turn], row: Mapping[str, Any], columns: Columns, origin: Origin, used: Set[str | None]
) -> Conversation:
    _refuse_unused(row, columns, origin, used)
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    expected = ["user", "assistant"] * (len(spoken) // 2)
    if not spoken or [turn.role for turn in spoken] != expected:
        order = ", ".join(turn.role for turn in turns)
        raise DataError(f"{origin}: user and assistant must take turns, user first, assistant last; here: {order}")
    for turn in spoken:
        if not any(char.isprintable() and not char.isspace() for char in turn.text):
            raise DataError(f"{origin}: a {turn.role} message is empty; write it or remove the row")
    marks = []
    for turn in turns:
        for mark in MARKS.found(turn.text):
            if mark not in MEDIA_MARKS or turn.role != "user":
                raise DataError(f"{origin}: a {turn.role} message holds {mark}; {reason(mark)}")
            marks.append(mark)
    return Conversation(tuple(turns), row_media(row, columns.images, columns.videos, marks, origin), origin)


def _refuse_unused(row: Mapping[str, Any], columns: Columns, origin: Origin, used: Set[str | None]) -> None:
    """Raise ``DataError`` for a column that holds something, means something, and is not among ``used``."""
    used = used | {columns.system, columns.images, columns.videos}
    if not _looked_for(columns).isdisjoint(row):
        _refuse_named(row, columns, origin, used)
    if not _is_empty(row.get(columns.images)) or not _is_empty(row.get(columns.videos)):
        return
    used |= {getattr(columns, field.name) for field in fields(columns)}
    for key, value in row.items():
        if key not in used and not key.endswith("id") and _is_media(value):
            raise DataError(
                f"{origin}: '{key}' holds {_short(value)}, but the row shows no image and no video; set "
                "columns.images or columns.videos in dataset_info.json, or remove it"
            )


@lru_cache(maxsize=16)
def _looked_for(columns: Columns) -> frozenset[str]:
    """Return the keys that ``NOT_USED`` is about in rows of ``columns``."""
    return frozenset(NOT_USED) | {getattr(columns, name, None) or name for name in NOT_USED}


def _refuse_named(row: Mapping[str, Any], columns: Columns, origin: Origin, used: Set[str | None]) -> None:
    named = {name: getattr(columns, name, None) or name for name in NOT_USED}
    for name, column in named.items():
        for key in {name, column}:
            if key not in used and not _is_empty(row.get(key)):
                raise DataError(f"{origin}: '{key}' holds {_short(row[key])}, but {NOT_USED[name]}; else remove it")


def _refuse_unused_in(message: Mapping[str, Any], tags: Tags, origin: Origin) -> None:
    if NOT_USED_IN_MESSAGES.keys().isdisjoint(message):
        return
    for key, (way_out, harmless) in NOT_USED_IN_MESSAGES.items():
        value = message.get(key)
        if key not in (tags.role_tag, tags.content_tag) and not (_is_nothing(value) or value in harmless):
            raise DataError(f"{origin}: a message has '{key}' {_short(value)}, but {way_out}; else remove it")


def _is_media(value: Any) -> bool:
    """Return whether ``value`` is a path of an image, a video or audio, its content, or a list of such."""
    if isinstance(value, list):
        return bool(value) and all(map(_is_media, value))
    if isinstance(value, Mapping):  # as the datasets library keeps images
        named = [value.get(key) for key in ("path", "url", "image", "image_url", "video", "audio")]
        return ("bytes" in value and value.keys() <= {"bytes", "path"}) or any(map(_is_media, named))
    return isinstance(value, str) and MEDIA.fullmatch(value) is not None


def _is_empty(value: Any) -> bool:
    """Return whether ``value`` holds nothing, alone or in a list of nothing."""
    return _is_nothing(value) or (isinstance(value, list) and all(map(_is_empty, value)))


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | dict) and value in ("", [], (), {}, "[]", "{}"))
