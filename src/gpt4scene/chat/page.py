"""The page of ``gpt4scene chat``: what its parts do. The work itself is the desk's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt4scene.chat.desk import Desk
from gpt4scene.chat.numbers import scene_images, view_link
from gpt4scene.chat.parts import TITLE, has_situation, hint, info, lay_out
from gpt4scene.chat.serving import addresses_of
from gpt4scene.chat.showing import note, talk_html
from gpt4scene.chat.visits import Visit
from gpt4scene.chat.wordings import FREE
from gpt4scene.errors import DataError, WorkError

if TYPE_CHECKING:
    import gradio

_HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Of every event: the page shows by itself what is done, and nobody calls it as a program."""


def build_page(desk: Desk, task: str = FREE, uploads: bool = True, view_url: str | None = None) -> gradio.Blocks:
    """Return the page around ``desk``; ``task`` is the wording that is chosen at first."""
    import gradio

    page = _Page(desk, view_url)
    once, again = page.once, page.again
    with gradio.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        parts = lay_out(gradio, desk, task, uploads)
        scene_parts = [parts.talk, parts.images]
        asked = [parts.question, parts.wording, parts.situation, parts.follow]
        for event in (parts.ask.click, parts.question.submit):
            event(
                again(page.ask),
                asked,
                [parts.talk, parts.question, parts.ask, parts.stop, parts.said],
                concurrency_limit=None,
                **_HIDDEN,
            )
        parts.stop.click(once(page.stop), None, None, queue=False, **_HIDDEN)
        parts.clear.click(once(page.clear), None, [parts.talk, parts.said], **_HIDDEN)
        parts.wording.input(page.reword, [parts.wording], [parts.wording, parts.situation, parts.question], **_HIDDEN)
        parts.scene.input(once(page.choose), [parts.scene], [*scene_parts, parts.said], **_HIDDEN)
        if uploads:
            parts.send.upload(
                again(page.upload),
                [parts.send],
                [parts.state, parts.scene, *scene_parts, parts.cancel],
                concurrency_limit=None,
                **_HIDDEN,
            )
            parts.cancel.click(once(page.stop_upload), None, None, queue=False, **_HIDDEN)
        blocks.load(once(page.arrive), None, [parts.scene, *scene_parts], **_HIDDEN)
        blocks.unload(once(page.leave))
    return blocks


class _Page:
    """What the parts of the page call: methods that take the visitor's session and values, and return new values."""

    def __init__(self, desk: Desk, view_url: str | None) -> None:
        import gradio

        self._desk, self._view_url, self._gradio = desk, view_url, gradio

    def once(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``method`` as Gradio calls it."""

        def call(request: Any, *values: Any) -> Any:
            return method(str(request.session_hash), *values)

        call.__annotations__ = {"request": self._gradio.Request}  # by which Gradio knows what to give
        return call

    def again(self, method: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """Return a ``method`` that shows something again and again, as Gradio calls it."""

        def call(request: Any, *values: Any) -> Iterator[Any]:
            yield from method(str(request.session_hash), *values)

        call.__annotations__ = {"request": self._gradio.Request}
        return call

    def arrive(self, session: str) -> tuple[Any, ...]:
        """Show the first scene to a new visitor."""
        visit = self._desk.visits.of(session)
        known = self._desk.scenes.public
        visit.scene = visit.scene or (known[0][1] if known else "")
        return self._gradio.Dropdown(choices=self._choices(visit), value=visit.scene or None), *self._scene(visit)

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page."""
        self._desk.visits.end(session)

    def choose(self, session: str, key: str | None) -> tuple[Any, ...]:
        """Show another scene and begin a new talk about it."""
        visit = self._desk.visits.of(session)
        if visit.busy:
            return self._gradio.skip(), self._gradio.skip(), note("an answer is under way; stop it first", wrong=True)
        if key is not None and key != visit.scene:
            visit.scene = key
            visit.talk.clear()
        return *self._scene(visit), ""

    def reword(self, task: str) -> tuple[Any, Any, Any]:
        """Say what the wording is, and ask for what it needs."""
        situation = (
            self._gradio.Textbox(visible=True) if has_situation(task) else self._gradio.Textbox("", visible=False)
        )
        return self._gradio.Dropdown(info=info(task)), situation, self._gradio.Textbox(placeholder=hint(task))

    def clear(self, session: str) -> tuple[str, str]:
        """Begin a new talk."""
        visit = self._desk.visits.of(session)
        if visit.busy:
            return self._talk(visit), note("an answer is under way; stop it first", wrong=True)
        visit.talk.clear()
        return self._talk(visit), ""

    def stop(self, session: str) -> None:
        """Stop the answer."""
        self._desk.visits.of(session).stop.set()

    def stop_upload(self, session: str) -> None:
        """Stop the upload that is being prepared."""
        self._desk.visits.of(session).stop_upload.set()

    def ask(self, session: str, text: str, task: str, situation: str, follow: bool) -> Iterator[tuple[Any, ...]]:
        """Answer, and show the answer while it grows."""
        visit, skip, button = self._desk.visits.of(session), self._gradio.skip(), self._gradio.Button
        begun = False
        try:
            for _ in self._desk.ask(visit, text, task, situation or "", follow):
                first = (skip, skip, skip) if begun else ("", button(interactive=False), button(interactive=True))
                begun = True
                yield self._talk(visit), *first, ""
        except (DataError, WorkError) as error:
            yield skip, skip, skip, skip, note(str(error), wrong=True)
        if begun:
            yield self._talk(visit), skip, button(interactive=True), button(interactive=False), ""

    def upload(self, session: str, path: str | None) -> Iterator[tuple[Any, ...]]:
        """Take an upload; its first scene is shown when it is ready."""
        visit, skip, button = self._desk.visits.of(session), self._gradio.skip(), self._gradio.Button
        if path is None:
            return
        try:
            before, sentence = len(visit.uploads), ""
            for sentence in self._desk.upload(visit, Path(path), Path(path).name):
                yield note(sentence), skip, skip, skip, button(interactive=True)
            if not visit.busy:
                visit.scene = visit.uploads[before]
                visit.talk.clear()
            choice = self._gradio.Dropdown(choices=self._choices(visit), value=visit.scene)
            yield note(sentence), choice, *self._scene(visit), button(interactive=False)
        except (DataError, WorkError) as error:
            yield note(str(error), wrong=True), skip, skip, skip, button(interactive=False)

    def _choices(self, visit: Visit) -> list[tuple[str, str]]:
        mine = [(f"{self._desk.scenes.get(key).scene_id} (yours)", key) for key in visit.uploads]
        return [*self._desk.scenes.public, *mine]

    def _talk(self, visit: Visit) -> str:
        try:
            scene = self._desk.scenes.get(visit.scene)
        except DataError:
            return talk_html(visit.talk, None, lambda number: None)
        return talk_html(visit.talk, scene, view_link(self._view_url, scene))

    def _scene(self, visit: Visit) -> tuple[str, str]:
        """Return the talk and the images of the visitor's scene."""
        if not visit.scene:
            return self._talk(visit), note("No scene is here yet. Upload one: A room of your own.")
        try:
            scene = self._desk.scenes.get(visit.scene)
        except DataError as error:
            return self._talk(visit), note(str(error), wrong=True)
        link = view_link(self._view_url, scene)
        return self._talk(visit), scene_images(scene, addresses_of(visit.scene, scene), link)
