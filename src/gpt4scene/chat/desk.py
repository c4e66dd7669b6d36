"""What happens when a visitor asks or uploads: the work behind the page, which knows nothing of the page."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene.chat.asking import Asker, Pieces, question_about
from gpt4scene.chat.line import Line, Ticket
from gpt4scene.chat.numbers import said
from gpt4scene.chat.uploads import UploadBounds, scenes_of_upload
from gpt4scene.chat.visits import Exchange, Scenes, Visit, Visits
from gpt4scene.chat.wordings import prompt_of
from gpt4scene.errors import DataError, WorkError
from gpt4scene.files.prepared import PreparedScene
from gpt4scene.files.thoughts import split_thought
from gpt4scene.types import Question

if TYPE_CHECKING:
    from gpt4scene.inference.decoding import GenerationSettings

LOOK_S = 0.25
"""So often a visitor who waits is told the place, and is asked whether to stop."""
SHOW_S = 0.08
"""An answer is shown again after so much time, however fast it grows."""
STOPPED = "stopped"


@dataclass
class Desk:
    """Takes questions and uploads of all visitors; ``folder`` is private and receives the uploads.

    ``line`` is that of questions; recordings are prepared one at a time, in a line of their own.
    """

    asker: Asker
    settings: GenerationSettings
    scenes: Scenes
    line: Line
    folder: Path
    bounds: UploadBounds = field(default_factory=UploadBounds)
    frames: int = 32

    def __post_init__(self) -> None:
        self.visits = Visits(self.scenes)
        self._preparing = Line(1, 8)

    def ask(self, visit: Visit, text: str, task: str, situation: str = "", follow: bool = False) -> Iterator[Exchange]:
        """Answer a question about the visitor's scene; yield the exchange again and again while it changes.

        What goes wrong stands in the exchange. Raises ``DataError`` or ``WorkError`` before there is one: for a text
        that can't be asked, and for a visitor whose last question is not answered yet.
        """
        if visit.busy:
            raise WorkError("the answer before is not complete; wait for it, or stop it")
        visit.busy = True  # before anything takes time: a double click asks once
        try:
            scene = self.scenes.get(visit.scene)
            question = question_about(scene, prompt_of(text, task, situation), visit.earlier() if follow else ())
            yield from self._answered(visit, scene, question)
        finally:
            visit.busy = False

    def _answered(self, visit: Visit, scene: PreparedScene, question: Question) -> Iterator[Exchange]:
        ticket = self.line.join()
        exchange = visit.begin(question.prompt)
        try:
            with ticket:
                yield from self._waiting(visit, exchange, ticket)
                if not visit.stop.is_set():
                    exchange.state = f"reading {len(question.images)} images and the question …"
                    yield exchange
                    pieces = self.asker.ask(question, self.settings)
                    for _ in _shown(pieces, exchange, visit, scene):
                        yield exchange
        except (DataError, WorkError) as error:
            exchange.error = str(error)
        finally:
            exchange.state = ""
            if not (exchange.times or exchange.error):
                exchange.times = STOPPED
        yield exchange

    def _waiting(self, visit: Visit, exchange: Exchange, ticket: Ticket) -> Iterator[Exchange]:
        place = ticket.place
        while place and not visit.stop.is_set():
            exchange.state = f"place {place} in the line …"
            yield exchange
            place = ticket.wait(LOOK_S)

    def upload(self, visit: Visit, archive: Path, name: str) -> Iterator[str]:
        """Take an upload into the visitor's scenes; yield what is being done.

        Raises ``DataError`` for what is refused, ``WorkError`` where the preparation fails or is stopped. What is not
        needed any more is deleted.
        """
        visit.stop_upload.clear()
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=self.folder))
        kept = False
        try:
            with self._preparing.join() as ticket:
                place = ticket.place
                while place:
                    yield f"another upload is being prepared; place {place} in the line …"
                    place = ticket.wait(LOOK_S)
                    if visit.stop_upload.is_set():
                        raise WorkError("the upload was stopped")
                scenes = yield from scenes_of_upload(archive, folder, self.bounds, self.frames, visit.stop_upload, name)
            visit.uploads += self.scenes.add(scenes)
            visit.folders.append(folder)
            kept = True
            yield _taken(scenes)
        finally:
            with suppress(OSError):
                archive.unlink()
            if not kept:
                shutil.rmtree(folder, ignore_errors=True)


def _taken(scenes: list[PreparedScene]) -> str:
    names = ", ".join(scene.scene_id for scene in scenes)
    warnings = [warning for scene in scenes for warning in scene.warnings]
    more = f" Warning: {warnings[0]}" if warnings else ""
    return f"ready: {names}, {sum(len(scene.objects) for scene in scenes)} marked objects.{more}"


def _shown(pieces: Pieces, exchange: Exchange, visit: Visit, scene: PreparedScene) -> Iterator[None]:
    """Let the exchange grow with the pieces of its answer; yield when it is worth to be shown."""
    shown = 0.0
    try:
        for piece in pieces:
            exchange.state = "answering …"
            exchange.answer += piece.text
            exchange.thought += piece.thought
            if piece.outcome is not None:
                exchange.thought, exchange.answer = split_thought(piece.outcome.text)
                exchange.times = piece.outcome.times()
                if not exchange.answer.strip():
                    exchange.error = "the model said nothing; ask in other words, or with a task's wording"
            exchange.lit = said(exchange.answer, scene)
            if visit.stop.is_set() and piece.outcome is None:
                exchange.times = STOPPED
                return
            if time.monotonic() - shown > SHOW_S:
                shown = time.monotonic()
                yield
    finally:
        pieces.close()
