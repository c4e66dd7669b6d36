"""The images of a scene that show the chosen object, with its mark outlined, and a way to look through each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpt4scene.view.pictures import frames_showing, gallery

if TYPE_CHECKING:
    import viser

    from gpt4scene.view.page import Page

_NOTHING: tuple[str, ...] = ("none",)


class FramesPanel:
    """The frames of a person's page; it follows the chosen object."""

    def __init__(self, session: Page) -> None:
        self._session, gui = session, session.client.gui
        self._choice: viser.GuiDropdownHandle[str] = gui.add_dropdown("Frame", _NOTHING)
        self._look = gui.add_button("Look through this frame")
        self._look.on_click(lambda event: session.guard(self._through))
        self._html = gui.add_html("")
        self._shown: tuple[int | None, str] | None = None

    def refresh(self) -> None:
        """Show the images of the chosen object, all where none is chosen."""
        session = self._session
        scene, box = session.here.scene, session.box(session.chosen)
        state = (session.chosen, "" if box is None else box.label)
        if state == self._shown:
            return
        self._shown = state
        places = [place for place, _, _ in frames_showing(scene, session.chosen)] or list(range(len(scene.frames)))
        self._choice.options = tuple(f"{place + 1}: {scene.frames[place].name}" for place in places) or _NOTHING
        self._look.disabled = not places
        self._html.content = gallery(scene, session.chosen, {} if box is None else {box.id: box.label})

    def _through(self) -> None:
        first = self._choice.value.partition(":")[0]
        if first.isdecimal():
            self._session.through(int(first) - 1)
