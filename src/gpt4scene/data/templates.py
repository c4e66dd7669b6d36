"""Chat templates: turns become pieces of text, each with the answer to "is it learned?".

Pieces meet only where no token can span them: at a special token, or where generation starts. Joined, they are what
the tokenizer's own chat template prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from gpt4scene.data.marks import IMAGE_MARK, VIDEO_MARK, Marks
from gpt4scene.registry import Registry
from gpt4scene.types import Turn

OTHER_TOKENS = (
    *(f"<|{what}_{end}|>" for what in ("object_ref", "box", "quad") for end in ("start", "end")),
    *(f"<{slash}{what}>" for what in ("tool_call", "tool_response", "think") for slash in ("", "/")),
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)
"""Further tokens of Qwen's tokenizers, which texts may hold; asked of the tokenizer itself where there is one."""

THINK = ("<think>\n", "\n</think>\n\n")
"""What a thought stands between, as Qwen's templates and LLaMA-Factory write it."""
EMPTY_THOUGHT = "".join(THINK)
THOUGHT_FIELDS = ("thinks", "enable_thinking", "preserve_thinking")
LATER_FIELDS = (*THOUGHT_FIELDS, "role_end", "text_start", "closing")
"""Fields that say nothing about a template at their defaults: checkpoints of before had none of them."""

VIDEO_PAD = "<|video_pad|>"
MEDIA_TOKENS = ("<|vision_pad|>", VIDEO_PAD, "<|endoftext|>")
"""Tokens of Qwen's tokenizers that mean something to the model, and that no message may hold."""


def without_thought(text: str) -> str:
    """Return an answer without the thoughts in it, however many line breaks stand around their marks.

    LLaMA-Factory takes out those between exactly ``THINK`` alone; the released tokenizers are as lenient as this.
    """
    begin, end = (re.escape(mark.strip()) for mark in THINK)
    return re.sub(f"{begin}.*?{end}\n{{0,2}}", "", text, flags=re.DOTALL).lstrip("\n")


@dataclass(frozen=True)
class Segment:
    """A piece of text. ``image``: the place of an image or a video (start, one pad, end), which is never learned."""

    text: str
    learned: bool = False
    image: bool = False


@dataclass(frozen=True)
class Template:
    """A ChatML-style template. An empty ``default_system`` means no system message unless the row brings one.

    ``role_end`` stands behind the role of a message that is no answer, ``text_start`` before its first text, behind
    images that come before it, unless the text begins so; ``closing`` behind the end of every message.

    With ``thinks``, a thought stands before an answer, and ``enable_thinking`` and ``preserve_thinking`` mean what they
    do in LLaMA-Factory. An answer without a thought gets an empty one: it is learned where thinking is enabled (True),
    given where that is None or False. False also takes all thoughts out of the rows. Thoughts of earlier turns are
    taken out with ``mask_history`` and before a new answer, unless they are preserved.
    """

    name: str
    default_system: str
    thinks: bool = False
    enable_thinking: bool | None = True
    preserve_thinking: bool = False
    message_start: str = "<|im_start|>"
    message_end: str = "<|im_end|>"
    image_start: str = "<|vision_start|>"
    image_pad: str = "<|image_pad|>"
    image_end: str = "<|vision_end|>"
    role_end: str = "\n"
    text_start: str = ""
    closing: str = "\n"

    @property
    def opening(self) -> str:
        """What an answer begins with that the model is given, not asked for."""
        if not self.thinks:
            return ""
        return THINK[0] if self.enable_thinking else EMPTY_THOUGHT

    @property
    def thought_opening(self) -> str:
        """The beginning of a thought in the prompt, whose end the model is to write; empty where there is none."""
        return THINK[0] if self.opening == THINK[0] else ""

    @property
    def most_added(self) -> str:
        """The longest text that rendering puts into an answer."""
        return EMPTY_THOUGHT if self.thinks else ""

    def told(self, enable_thinking: bool | None, preserve_thinking: bool = False) -> Template:
        """Return the template as a run wants its thoughts; itself where it has none."""
        if not self.thinks:
            return self
        return replace(self, enable_thinking=enable_thinking, preserve_thinking=preserve_thinking)

    def identity(self) -> dict[str, Any]:
        """Return what decides the text of a row, by name: the same for a template without thoughts as before there
        were others.
        """
        plain, mine = asdict(Template(self.name, self.default_system)), asdict(self)
        fields = {name: one for name, one in mine.items() if name not in LATER_FIELDS or one != plain[name]}
        if self.thinks:
            fields |= {name: mine[name] for name in THOUGHT_FIELDS}
        return fields | {"name": self.name.removesuffix("_nothink")}

    @property
    def image_text(self) -> str:
        """An image's place in the text."""
        return self.image_start + self.image_pad + self.image_end

    @property
    def video_text(self) -> str:
        """A video's place in the text."""
        return self.image_start + VIDEO_PAD + self.image_end

    def mark_at(self, place: str) -> str:
        """Return the mark whose place this is."""
        return VIDEO_MARK if place == self.video_text else IMAGE_MARK

    def place_of(self, mark: str) -> str:
        """Return what a mark of the text stands for: the place of an image or of a video."""
        return self.video_text if mark == VIDEO_MARK else self.image_text

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Tokens that structure the row or stand for media, and so may not occur inside a message."""
        return (
            *(token for token in self._own if token),
            *MEDIA_TOKENS,
        )

    @property
    def _own(self) -> tuple[str, ...]:
        return self.message_start, self.message_end, self.image_start, self.image_pad, self.image_end

    @cached_property
    def marks(self) -> Marks:
        """What finds the marks in messages, where it is not known which tokens a tokenizer has beside Qwen's."""
        return self.marks_of(OTHER_TOKENS)

    def marks_of(self, added: Iterable[str], control: Iterable[str] = ()) -> Marks:
        """Return what finds the marks in messages for a tokenizer with the ``added`` tokens.

        ``control`` are those that end or fill its texts.
        """
        return Marks((*self.control_tokens, *control), added)

    def render(
        self,
        turns: Sequence[Turn],
        *,
        generate: bool = False,
        train_on_prompt: bool = False,
        mask_history: bool = False,
        marks: Marks | None = None,
    ) -> list[Segment]:
        """Return the turns as segments; ``marks`` finds those of the tokenizer.

        Learned is every answer with its end mark; only the last one with ``mask_history``; user messages too with
        ``train_on_prompt``. The line break that closes a message is never learned. ``generate`` appends the header
        that an answer follows, and what it opens with.
        """
        segments: list[Segment] = []
        if not (turns and turns[0].role == "system") and self.default_system:
            turns = (Turn("system", self.default_system), *turns)
        last_answer = max((i for i, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
        for index, turn in enumerate(turns):
            learned, thought = train_on_prompt and turn.role == "user", ""
            if turn.role == "assistant":
                learned = index == last_answer or not mask_history
                earlier = generate or (mask_history and index != last_answer)
                turn, thought = self._thought(turn, earlier, generate)
            segments += self._message(turn, learned, marks or self.marks, thought)
        if generate:
            segments.append(Segment(f"{self.message_start}assistant\n{self.opening}"))
        return segments

    def _thought(self, turn: Turn, earlier: bool, generate: bool) -> tuple[Turn, str]:
        """Return an answer as it stands in the row, and the empty thought before it, if it gets one.

        ``earlier``: another answer is the one that is learned or asked for.
        """
        if not self.thinks:
            return turn, ""
        if (earlier and not self.preserve_thinking) or (self.enable_thinking is False and not generate):
            turn = Turn(turn.role, without_thought(turn.text))
        adds = not generate and (self.preserve_thinking or not earlier)
        return turn, EMPTY_THOUGHT if adds and not any(word.strip() in turn.text for word in THINK) else ""

    def _message(self, turn: Turn, learned: bool, marks: Marks, thought: str = "") -> list[Segment]:
        """Return a message as segments. Of an answer, what is said and the end mark are learned, never the header.

        An empty ``thought`` is learned with the answer where thinking is enabled.
        """
        answer = turn.role == "assistant"
        header = f"{self.message_start}{turn.role}" + ("\n" if answer else self.role_end)
        pieces, media = marks.pieces(turn.text), marks.media(turn.text)
        first = next((parts for parts in pieces if any(parts)), None)
        if first is not None and not answer and not first[0].startswith(self.text_start):
            first[0] = self.text_start + first[0]
        pieces[-1][-1] += self.message_end
        segments = []
        if answer:
            segments += [Segment(header), Segment(thought, learned and bool(self.enable_thinking))]
        else:
            pieces[0][0] = header + pieces[0][0]
        for number, parts in enumerate(pieces):
            if number:
                segments.append(Segment(self.place_of(media[number - 1]), image=True))
            segments += [Segment(part, learned) for part in parts]
        if turn.role == "system":
            last = segments.pop()
            segments.append(Segment(last.text + self.closing))
        else:
            segments.append(Segment(self.closing))
        return [segment for segment in segments if segment.text]


TEMPLATES: Registry[Template] = Registry("template")
"""Templates by the name that ``template:`` takes, with LLaMA-Factory's meaning. Qwen2.5-VL speaks ``qwen2_vl`` too."""
TEMPLATES.add("qwen2_vl", Template("qwen2_vl", default_system="You are a helpful assistant."))
for name in ("qwen3_vl", "qwen3_5"):
    TEMPLATES.add(name, Template(name, default_system="", thinks=True))
    TEMPLATES.add(f"{name}_nothink", Template(f"{name}_nothink", default_system=""))
TEMPLATES.add(
    "intern_vl",
    Template(
        "intern_vl",
        default_system="你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。",
        image_start="<img>",
        image_pad="<IMG_CONTEXT>",
        image_end="</img>",
    ),
)
TEMPLATES.add(
    "llava_onevision",
    Template(
        "llava_onevision",
        default_system="",
        image_start="",
        image_pad="<image>",
        image_end="",
        role_end=" ",
        text_start="\n",
        closing="",
    ),
)

ALL_MARKS = Marks({token for name in TEMPLATES for token in TEMPLATES[name].control_tokens}, OTHER_TOKENS)
"""Finds the marks of every template, where it is not known which one a text meets, as on a server."""
