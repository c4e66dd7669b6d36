"""The messages of a request become a question: a prompt with places for its images, and what was said before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpt4scene.data.encoding import HALF
from gpt4scene.data.marks import IMAGE_MARK
from gpt4scene.serve.fields import ChatFields, ImagePart, Message, TextPart
from gpt4scene.serve.refusals import Refusal
from gpt4scene.types import Question, Role, Turn

TASK = "chat"
"""What requests are called where questions have the name of a task."""
LETTERS_A_TURN = 64
"""What a message counts for beside its text: the template's four tokens around it, as letters of the bound on them."""


@dataclass(frozen=True)
class Dialogue:
    """What is asked, images still as the request gives them."""

    earlier: tuple[Turn, ...]
    prompt: str
    images: tuple[ImagePart, ...]

    def question(self, images: tuple[str, ...]) -> Question:
        """Return the question about images in these files."""
        return Question(TASK, 0, "", self.prompt, images, earlier=self.earlier)


def read_dialogue(fields: ChatFields, heard: Callable[[str], str], most_images: int, most_letters: int) -> Dialogue:
    """Return the dialogue of a request; ``heard`` makes letters of marks that only a template may write.

    Raises ``Refusal`` for messages in another order than these templates know, for halves of characters, and past the
    bounds of images and letters.
    """
    turns: list[Turn] = []
    images: list[ImagePart] = []
    letters = 0
    for number, message in enumerate(fields.messages):
        place = f"messages[{number}]"
        parts = message.parts
        letters += LETTERS_A_TURN + sum(len(part.text) for part in parts if isinstance(part, TextPart))
        if letters > most_letters:
            raise _too_long(most_letters)
        role = _role(message, number, place)
        text = ""
        for index, part in enumerate(parts):
            if isinstance(part, ImagePart):
                if role != "user":
                    raise Refusal(400, f"'{place}': only user messages hold images", param=place)
                images.append(part)
                text += IMAGE_MARK
                continue
            if HALF.search(part.text):
                where = f"{place}.content[{index}]" if isinstance(message.content, list) else f"{place}.content"
                raise Refusal(400, f"'{where}': the text holds half a character; send whole ones", param=where)
            text += heard(part.text)
        turns.append(Turn(role, text))
    if len(images) > most_images:
        message = f"the request has {len(images)} images, and this server takes {most_images}"
        raise Refusal(400, message, param="messages", code="too_many_images")
    if turns[-1].role != "user":
        raise Refusal(400, "the last message must be the user's", param=f"messages[{len(turns) - 1}]")
    return Dialogue(tuple(turns[:-1]), turns[-1].text, tuple(images))


def _role(message: Message, number: int, place: str) -> Role:
    if message.role in ("system", "developer"):
        if number:
            raise Refusal(400, f"'{place}': a {message.role} message must be the first", param=place)
        return "system"
    return message.role


def _too_long(most_letters: int) -> Refusal:
    message = f"the messages hold over {most_letters} letters, which is more than the model's context"
    return Refusal(400, message, param="messages", code="context_length_exceeded")
