"""The body of a chat request, field by field: what is done, what is refused, and nothing in silence."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from gpt4scene.registry import nearest
from gpt4scene.serve.refusals import Refusal

MOST_ANSWERS, MOST_STOPS, LONGEST_STOP, MOST_ALTERNATIVES = 128, 16, 256, 20
MOST_VALUES = 2**20
"""A body with more brackets and commas than this is not even read: each may become an object of 100 bytes."""

NAME = r"^gpt4scene-[0-9a-f]{64}$"
"""Names of images, as :func:`~gpt4scene.inference.pictures.name_of` makes them."""

UNDONE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("audio", "prediction", "reasoning_effort", "verbosity", "web_search_options"), ()),
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "min_p", "min_tokens"), (0,)),
    **dict.fromkeys(("tools", "functions", "stop_token_ids"), ([],)),
    **dict.fromkeys(("tool_choice", "function_call"), ("none", "auto")),
    **dict.fromkeys(("logit_bias", "metadata"), ({},)),
    **dict.fromkeys(("store", "ignore_eos", "echo", "include_stop_str_in_output"), (False,)),
    **dict.fromkeys(("parallel_tool_calls", "skip_special_tokens", "add_generation_prompt"), (True,)),
    "best_of": (1,),
    "length_penalty": (1,),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "top_k": (-1, 0),
    "use_beam_search": (False,),
}
"""Fields that are not done -> the values that ask for nothing; null is one of them always."""

WHO_ASKS = ("user", "safety_identifier", "prompt_cache_key")
"""Fields that name the one who asks and change no answer: texts, not used."""


class Strict(BaseModel):
    """A part of a request: unknown fields and values of another type are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ImageUrl(Strict):
    """Where an image is."""

    url: str
    detail: Literal["auto"] | None = None


class TextPart(Strict):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ImagePart(Strict):
    """An image in a message, with its name or without, or the name alone of one that was sent before (vLLM's form)."""

    type: Literal["image_url"]
    image_url: ImageUrl | None = None
    uuid: Annotated[str, Field(pattern=NAME)] | None = None


OTHER_PARTS: dict[str, str] = {
    **dict.fromkeys(
        ("video_url", "video", "input_video"),
        "videos are not taken by this server; send frames of it as image_url parts, or ask about it with gpt4scene "
        "infer, whose questions may have 'videos'",
    ),
    **dict.fromkeys(("audio_url", "input_audio", "audio"), "audio is not taken; send a text"),
    **dict.fromkeys(("image", "input_image", "image_pil"), "images come as image_url parts"),
    **dict.fromkeys(("input_text", "refusal", "thinking"), "texts come as text parts"),
    **dict.fromkeys(("file", "input_file"), "files are not taken; send texts and images"),
}
"""Kinds of parts that other servers or other forms of request know -> why there are none here, and the way out."""

Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def _form(content: Any) -> str | None:
    return "text" if isinstance(content, str) else "parts" if isinstance(content, list) else None


class Message(Strict):
    """One message of the dialogue."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[Part], Field(fail_fast=True), Tag("parts")],
        Discriminator(
            _form, custom_error_type="content", custom_error_message="must be a text or a list of text and image parts"
        ),
    ]

    @property
    def parts(self) -> list[TextPart | ImagePart]:
        """What the message holds, in order."""
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content


class StreamOptions(Strict):
    """What a stream holds beside the answer."""

    include_usage: bool = False


Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]


class ChatFields(Strict):
    """The fields that are done, as the request gives them. Numbers that draw answers have OpenAI's defaults."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] = 1
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS, fail_fast=True)] = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] = 0
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts before which an answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


def read_fields(content: bytes | bytearray) -> ChatFields:
    """Return the fields of a request. Raises ``Refusal`` that names the field for everything that is not done."""
    if sum(content.count(sign) for sign in (b"{", b"[", b",")) > MOST_VALUES:
        raise Refusal(413, f"the body holds over {MOST_VALUES} values; send fewer", code="request_too_large")
    try:
        body = json.loads(content, parse_constant=_no_number, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is no JSON: {str(error)[:200]}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object with 'model' and 'messages'")
    body = {name: value for name, value in body.items() if value is not None}
    for name in list(body):
        if name in WHO_ASKS:
            if not isinstance(body.pop(name), str):
                raise Refusal(400, f"'{name}' must be a text", param=name)
        elif name in UNDONE:
            if not any(_same(body[name], value) for value in UNDONE[name]):
                raise _undone(name)
            del body[name]
        elif name not in ChatFields.model_fields:
            known = nearest(_short(name), [*ChatFields.model_fields, *UNDONE])
            raise Refusal(400, f"'{_short(name)}' is no field of this server{known}", param=_short(name))
    try:
        fields = ChatFields.model_validate(body)
    except ValidationError as error:
        raise _mistake(error) from None
    _check_together(fields)
    return fields


def _check_together(fields: ChatFields) -> None:
    """Raise ``Refusal`` for fields that contradict each other."""
    both = fields.max_tokens, fields.max_completion_tokens
    if None not in both and both[0] != both[1]:
        message = "max_tokens and max_completion_tokens differ; give one of them"
        raise Refusal(400, message, param="max_completion_tokens")
    if fields.top_logprobs and not fields.logprobs:
        raise Refusal(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    if fields.stream_options is not None and not fields.stream:
        raise Refusal(400, "stream_options needs stream: true", param="stream_options")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises ``Refusal`` for two values under one name, of which one would be passed over."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = _short(next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1))
        raise Refusal(400, f"'{twice}' stands twice in one object of the body", param=twice, code="invalid_json")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _same(value: Any, other: Any) -> bool:
    """Whether two values of JSON are equal; true is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _undone(name: str) -> Refusal:
    values = " or ".join([*(json.dumps(value) for value in UNDONE[name]), "null"])
    return Refusal(400, f"'{name}' is not done by this server; leave it out (or {values})", param=name)


def _mistake(error: ValidationError) -> Refusal:
    """Return the refusal for the first mistake that was found."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = [part for part in first["loc"] if part not in ("parts", "function-wrap[_form()]")]
    if len(place) > 4 and place[0] == "messages" and place[4] in ("text", "image_url"):
        del place[4]  # the kind of a part, which pydantic puts before its fields
    if place and place[0] == "stop":
        del place[1:]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{_short(part)}" for part in place).lstrip(".")
    words = first["msg"][:1].lower() + first["msg"][1:200]
    if first["type"] == "union_tag_invalid":
        kind = str(first.get("ctx", {}).get("tag"))
        words = f"{_short(kind)} is no part of a message here: {OTHER_PARTS.get(kind, 'text and image_url are')}"
    return Refusal(400, f"'{name}': {words}", param=name)


def _short(text: object) -> str:
    """Return a stranger's word so that it can stand in a sentence."""
    word = "".join(letter if letter.isprintable() else "?" for letter in str(text)[:60])
    return word.encode("utf-8", "replace").decode()
