"""Answers from the local model: the prefix of a scene once, its questions as branches, several scenes side by side.

Answers equal those of ``generate`` question by question, up to the rounding of another order of sums.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.inference.tokens import Request
from gpt4scene.types import Answer, Question

SCENES_AHEAD = 3
"""Scenes that wait in the scheduler beside those that run."""
MOST_AHEAD = 16
"""Scenes that may be begun before an earlier one is finished."""


@dataclass(eq=False)
class _Scene:
    """The questions of one scene on their way: what has not begun, what has not ended, and what came already."""

    waiting: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    answers: deque[Answer] = field(default_factory=deque)
    error: Exception | None = None


class Engine:
    """Answers questions about scenes with a model on this machine, for one caller at a time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.model, self.encoder = scheduler.model, scheduler.encoder
        self.device: torch.device = scheduler.model.device
        self._scenes: list[_Scene] = []
        self._scene_of: dict[int, _Scene] = {}
        self._number = 0
        self._turn = 0

    def answer(self, questions: Sequence[Question], settings: GenerationSettings | None = None) -> Iterator[Answer]:
        """Yield the answers to questions, each as soon as it is complete; ``settings.samples`` of each question.

        An error about a question is raised behind the answers to the others.
        Prefixes of scenes stay within the bound of their memory, so that a further question about one costs only its
        own tokens. Images that were replaced and weights that changed since are noticed, and the prefix computed again.
        """
        turn = self._begin()
        yield from self._answers(self._add(questions, settings or GenerationSettings()), turn, lambda: None)

    def answer_scenes(
        self, scenes: Iterable[Sequence[Question]], settings: GenerationSettings | None = None
    ) -> Iterator[Iterator[Answer]]:
        """Yield an iterator of answers for each scene, in order; the next scenes are begun meanwhile.

        An error about a question is raised when its scene's turn comes, behind all answers of the scene.
        """
        turn, left, ahead = self._begin(), iter(scenes), deque[_Scene]()

        def feed() -> None:
            while len(ahead) < MOST_AHEAD and sum(bool(scene.waiting) for scene in ahead) < SCENES_AHEAD:
                questions = next(left, None)
                if questions is None:
                    return
                ahead.append(self._add(questions, settings or GenerationSettings()))

        while True:
            feed()
            if not ahead:
                return
            yield self._answers(ahead.popleft(), turn, feed)

    def _begin(self) -> int:
        """Begin a caller's turn; what an earlier one left open is let go."""
        for number in self._scene_of:
            self.scheduler.cancel(number)
        self._scenes, self._scene_of = [], {}
        self._turn += 1
        return self._turn

    def _add(self, questions: Sequence[Question], settings: GenerationSettings) -> _Scene:
        scene = _Scene()
        self._scenes.append(scene)
        for question in questions:
            for sample in range(settings.samples):
                self._number += 1
                self._scene_of[self._number] = scene
                scene.waiting.add(self._number)
                scene.open.add(self._number)
                self.scheduler.add(Request(self._number, question, settings, sample))
        return scene

    def _answers(self, scene: _Scene, turn: int, feed: Callable[[], None]) -> Iterator[Answer]:
        """Yield the answers of a scene; ``feed`` sees to it that there is always a scene to begin with."""
        try:
            while True:
                if turn != self._turn:
                    raise RuntimeError("an Engine serves one caller at a time: take all answers, then ask again")
                if scene.answers:
                    yield scene.answers.popleft()
                elif scene.open:
                    feed()
                    self._step()
                elif scene.error is not None:
                    raise scene.error
                else:
                    self._scenes.remove(scene)
                    return
        finally:
            for number in scene.open if turn == self._turn else ():
                self.scheduler.cancel(number)
                del self._scene_of[number]
            scene.open.clear()

    def _step(self) -> None:
        """Let the scheduler do one piece of work, and give its answers to their scenes."""
        tokens = self.scheduler.step()
        if not tokens:
            raise RuntimeError("the questions were let go, since an error ended all of them: ask again")
        for token in tokens:
            scene = self._scene_of[token.number]
            scene.waiting.discard(token.number)
            if not token.last:
                continue
            scene.open.discard(token.number)
            del self._scene_of[token.number]
            if token.answer is not None:
                scene.answers.append(token.answer)
            scene.error = scene.error or token.error

    def forget(self) -> None:
        """Let go of all prefixes and their memory."""
        self.scheduler.forget()

    def received(self) -> list[Answer]:
        """Return the answers that came and were not taken, such as those of the next scenes; once."""
        return [scene.answers.popleft() for scene in self._scenes for _ in range(len(scene.answers))]
