"""A question about a scene, and what answers it piece by piece: a model on this machine, or a server."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gpt4scene.data.encoding import HALF
from gpt4scene.data.marks import IMAGE_MARK
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene
from gpt4scene.files.thoughts import split_thought
from gpt4scene.types import Question, Turn

if TYPE_CHECKING:
    from gpt4scene.inference.decoding import GenerationSettings

TASK = "chat"
"""What a question of a person is called where questions have the name of a task."""
LONGEST_QUESTION = 20_000
"""Letters; a longer text is a file that was pasted by mistake."""


@dataclass(frozen=True)
class Outcome:
    """An answer that is complete. ``text`` is all that the model wrote, as ``infer`` stores it, thoughts included.

    ``first_seconds`` and ``seconds`` count from the question to the first token and to the last. ``prompt_tokens``
    counts the prompt with its images, ``known_tokens`` those that were computed for an earlier question. Both are 0
    where a server does not say them. ``finish_reason`` is ``length`` for an answer that was cut.
    """

    text: str
    first_seconds: float
    seconds: float
    tokens: int = 0
    prompt_tokens: int = 0
    known_tokens: int = 0
    finish_reason: str | None = None

    @property
    def answer(self) -> str:
        """What the model says, without its thought."""
        return split_thought(self.text)[1]

    def times(self) -> str:
        """Return how long the answer took and what was known before, as a sentence for people."""
        said = f"first word after {self.first_seconds:.2f} s, all after {self.seconds:.2f} s"
        if self.prompt_tokens:
            kept = f", {self.known_tokens:,} of them kept from before" if self.known_tokens else ", none kept"
            said += f"; prompt of {self.prompt_tokens:,} tokens{kept}"
        return said + ("; cut at the longest length" if self.finish_reason == "length" else "")


@dataclass(frozen=True)
class Piece:
    """What came next: of the answer's ``text``, of its ``thought``, and with the last piece the ``outcome``."""

    text: str = ""
    thought: str = ""
    outcome: Outcome | None = None


Pieces = Generator[Piece, None, None]
"""The pieces of an answer; closing it stops the answer."""


@dataclass(frozen=True)
class Said:
    """A question of before and its answer."""

    question: str
    answer: str


class Asker(Protocol):
    """Answers questions, several of them side by side; any thread may ask."""

    @property
    def about(self) -> str:
        """The model in words, for a heading."""
        ...

    def ask(self, question: Question, settings: GenerationSettings) -> Pieces:
        """Yield the answer piece by piece; closing the iterator stops it.

        Raises ``DataError`` or ``WorkError`` where there is no answer.
        """
        ...

    def close(self) -> None:
        """End."""
        ...


def question_about(scene: PreparedScene, text: str, earlier: Sequence[Said] = ()) -> Question:
    """Return the question as ``infer`` asks it: the bird's-eye view, then the frames, then the text.

    With ``earlier``, the images stand before the first of these questions. Raises ``DataError`` for an empty text, for
    one that holds what only a template may write, and for images that are not there.
    """
    if not text.strip():
        raise DataError("the question is empty; write what you want to know about the room")
    if len(text) > LONGEST_QUESTION:
        raise DataError(f"the question has {len(text)} letters; ask in at most {LONGEST_QUESTION}")
    if HALF.search(text):
        raise DataError("the question holds half a character, which no tokenizer takes; type it again")
    images = tuple(map(str, scene.images))
    ALL_MARKS.asked(text, images, "the question")
    for image in scene.images:
        if not image.is_file():
            raise DataError(f"{image}: the image of scene '{scene.scene_id}' is not there; prepare the scene again")
    if not earlier:
        return Question(TASK, 0, scene.scene_id, text, images)
    first, *later = earlier
    turns = [Turn("user", IMAGE_MARK * len(images) + first.question), _answered(first)]
    for said in later:
        turns += [Turn("user", said.question), _answered(said)]
    return Question(TASK, 0, scene.scene_id, text, images, earlier=tuple(turns))


def _answered(said: Said) -> Turn:
    return Turn("assistant", ALL_MARKS.escaped(said.answer))
