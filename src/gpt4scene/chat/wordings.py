"""What a person types as a task's question: the wording that question files have, or the text as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.wordings import without_end_mark
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.metrics.object_ids import object_ids, object_mark
from gpt4scene.registry import nearest

FREE = "free"
"""The name of no wording at all: the text is asked as it is."""
SITUATION = "situation"
_ASKS = {
    "question": "your question",
    "description": "a description, such as: the chair beside the window",
    "object": "the number of an object, such as 3",
}
"""The field of a wording that the question box fills, and what to type there."""


@dataclass(frozen=True)
class Wording:
    """How one task asks. ``text`` has the fields ``{asks}`` and, where a situation belongs to it, ``{situation}``."""

    task: str
    title: str
    text: str
    asks: str

    @property
    def needs_situation(self) -> bool:
        """Whether the question says where somebody stands."""
        return f"{{{SITUATION}}}" in self.text

    @property
    def hint(self) -> str:
        """What to type into the question box, in words."""
        return _ASKS[self.asks] + (", from where you stand" if self.needs_situation else "")

    def fill(self, text: str, situation: str = "") -> str:
        """Return the prompt. Raises ``DataError`` where something is missing."""
        text, situation = text.strip(), situation.strip()
        if not text:
            raise DataError(f"the question is empty; write {self.hint}")
        if situation and not self.needs_situation:
            raise DataError(f"the task {self.title} has no situation; leave it empty, or write it into the question")
        if self.needs_situation and not situation:
            raise DataError(
                f"the task {self.title} needs a situation, such as: I stand at the door and look at the window."
            )
        fields = {SITUATION: situation} if self.needs_situation else {}
        # str.format leaves braces inside the values alone.
        return self.text.format(**fields, **{self.asks: self._said(text)})

    def _said(self, text: str) -> str:
        if self.asks == "object":
            return _object_in(text)
        # Inside a sentence that goes on with its own mark, a description has none, as in the question files.
        return without_end_mark(text) if re.search(r'\{description\}"[?.,]', self.text) else text


def _object_in(text: str) -> str:
    """Return the mark of the one object that a text names, as ``<OBJ003>`` or as a plain number."""
    found = object_ids(text) or [int(number) for number in re.findall(r"(?<!\d)\d{1,3}(?!\d)", text)]
    if len(set(found)) != 1:
        raise DataError(f"this task is about one object; write its number alone, such as {object_mark(3)} or 3")
    return object_mark(found[0])


def wordings() -> list[Wording]:
    """Return the tasks whose questions a person can type, in the published order; of equal wordings the first."""
    found: list[Wording] = []
    known = {"{question}"}  # which is the text as it is
    for task, benchmark in BENCHMARKS.items():
        texts = _texts(task)
        fields = {name for _, name, _, _ in Formatter().parse(texts[0]) if name} if texts else set()
        asked = [name for name in _ASKS if name in fields]
        typed = len(asked) == 1 and fields <= {*asked, SITUATION}
        if typed and texts[0] not in known and not benchmark.own_images:
            known.add(texts[0])
            found.append(Wording(task, benchmark.title, texts[0], asked[0]))
    return found


def _texts(task: str) -> Sequence[str]:
    try:
        return BENCHMARKS[task].wordings()
    except KeyError:  # a task whose prompts are made by other rules
        return ()


def prompt_of(text: str, task: str = FREE, situation: str = "") -> str:
    """Return what the model is asked: ``text`` as it is, or in the wording of ``task``.

    Raises ``DataError`` for what is missing or can't be said, ``ConfigError`` for a task that is not known.
    """
    if task == FREE:
        if situation.strip():
            raise DataError("a situation belongs to a task's wording; write it into the question instead")
        if not text.strip():
            raise DataError("the question is empty; write what you want to know about the room")
        return text.strip()
    return wording_of(task).fill(text, situation)


def wording_of(task: str) -> Wording:
    """Return the wording of ``task``; ``ConfigError`` with the nearest name for an unknown one."""
    known = wordings()
    found = next((one for one in known if one.task == task), None)
    if found is None:
        names = [FREE, *(one.task for one in known)]
        raise ConfigError(f"--task: '{task}' has no wording{nearest(task, names)} (known: {', '.join(names)})")
    return found
