"""Chat templates: turns become pieces of text, each with the answer to "is it learned?".

Pieces meet only where no token can span them: at a special token, or where generation starts. Joined, they are what
the tokenizer's own chat template prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpt4scene.registry import Registry
from gpt4scene.types import Turn

IMAGE_MARK = "<image>"
"""What stands for an image in the text of a user turn."""


@dataclass(frozen=True)
class Segment:
    """A piece of text. ``image`` marks an image's place (start, one pad, end), which is never learned."""

    text: str
    learned: bool = False
    image: bool = False


@dataclass(frozen=True)
class Template:
    """A ChatML-style template. An empty ``default_system`` means no system message unless the row brings one."""

    name: str
    default_system: str
    message_start: str = "<|im_start|>"
    message_end: str = "<|im_end|>"
    image_start: str = "<|vision_start|>"
    image_pad: str = "<|image_pad|>"
    image_end: str = "<|vision_end|>"

    @property
    def image_text(self) -> str:
        """An image's place in the text."""
        return self.image_start + self.image_pad + self.image_end

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Tokens that structure the row and so may not occur inside a message."""
        return (self.message_start, self.message_end, self.image_start, self.image_pad, self.image_end)

    def render(
        self,
        turns: Sequence[Turn],
        *,
        generate: bool = False,
        train_on_prompt: bool = False,
        mask_history: bool = False,
    ) -> list[Segment]:
        """Return the turns as segments.

        Learned is every answer with its end mark; only the last one with ``mask_history``; user messages too with
        ``train_on_prompt``. The line break that closes a message is never learned. ``generate`` appends the header
        that an answer follows.
        """
        segments: list[Segment] = []
        if not (turns and turns[0].role == "system") and self.default_system:
            turns = (Turn("system", self.default_system), *turns)
        last_answer = max((i for i, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
        for index, turn in enumerate(turns):
            header = f"{self.message_start}{turn.role}\n"
            if turn.role == "assistant":
                learned = index == last_answer or not mask_history
                segments += [Segment(header), Segment(turn.text + self.message_end, learned), Segment("\n")]
            elif turn.role == "user":
                pieces = self._with_images(header + turn.text + self.message_end, train_on_prompt)
                segments += [*pieces, Segment("\n")]
            else:
                segments.append(Segment(f"{header}{turn.text}{self.message_end}\n"))
        if generate:
            segments.append(Segment(f"{self.message_start}assistant\n"))
        return segments

    def _with_images(self, text: str, learned: bool) -> list[Segment]:
        image = Segment(self.image_text, image=True)
        first, *rest = text.split(IMAGE_MARK)
        pieces = [Segment(first, learned)]
        for piece in rest:
            pieces += [image, Segment(piece, learned)]
        return [piece for piece in pieces if piece.text]


TEMPLATES: Registry[Template] = Registry("template")
"""Templates by the name that ``template:`` takes. Qwen2.5-VL speaks ``qwen2_vl`` too."""
TEMPLATES.add("qwen2_vl", Template("qwen2_vl", default_system="You are a helpful assistant."))
TEMPLATES.add("qwen3_vl", Template("qwen3_vl", default_system=""))
