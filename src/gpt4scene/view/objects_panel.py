"""The list of objects: a search, a button for each, and a line about the chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpt4scene.view.pictures import chosen_html

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpt4scene.files.prepared import SceneBox
    from gpt4scene.view.page import Page

MOST_ROWS = 60
"""Most buttons at once; the search narrows the list."""
PLAIN, CHOSEN = (73, 80, 87), (25, 98, 190)
"""Colours of a button, on which white reads well."""


class ObjectsPanel:
    """The list of a person's page; it follows the boxes and the chosen object."""

    def __init__(self, session: Page) -> None:
        self._session, gui = session, session.client.gui
        self._about = gui.add_html("")
        self._search = gui.add_text("Search", "", hint="A number, or a part of a name")
        self._search.on_update(lambda event: session.guard(self.refresh))
        self._go = gui.add_button("Go to the chosen object")
        self._go.on_click(lambda event: session.guard(lambda: session.choose(session.chosen, go=True)))
        self._said = gui.add_html("")
        self._folder = gui.add_folder(None)
        self._buttons: dict[int, Any] = {}
        self._rows: list[tuple[int, str]] = []

    def refresh(self) -> None:
        """Show the present boxes and the chosen object."""
        session = self._session
        boxes, chosen = session.here.boxes.boxes, session.box(session.chosen)
        found = matching(boxes, self._search.value)
        rows = [(box.id, f"{box.id} · {box.label}") for box in found[:MOST_ROWS]]
        if rows != self._rows:
            self._rebuild(rows)
        for number, button in self._buttons.items():
            color = CHOSEN if chosen is not None and number == chosen.id else PLAIN
            if button.color != color:
                button.color = color
        self._go.disabled = chosen is None
        about = ("", (0.0, 0.0, 0.0)) if chosen is None else (chosen.label, chosen.size)
        self._about.content = chosen_html(None if chosen is None else chosen.id, *about)
        rest = f" {len(found) - MOST_ROWS} more: search to narrow the list." if len(found) > MOST_ROWS else ""
        geometry = session.here.geometry.said
        self._said.content = (
            f'<p style="margin:4px 10px;font-size:13px">{len(found)} of {len(boxes)} objects.{rest}<br>{geometry}</p>'
        )

    def _rebuild(self, rows: Sequence[tuple[int, str]]) -> None:
        session, gui = self._session, self._session.client.gui
        for number, _ in self._rows:
            self._buttons.pop(number).remove()
        self._rows = list(rows)
        with self._folder:
            for number, label in rows:
                button = gui.add_button(label, color=PLAIN)
                button.on_click(lambda event, number=number: session.guard(lambda: session.choose(number)))
                self._buttons[number] = button


def matching(boxes: Sequence[SceneBox], words: str) -> list[SceneBox]:
    """Return the boxes whose number is, or whose name holds, what is searched for; all where nothing is."""
    wanted = words.strip().lower()
    ordered = sorted(boxes, key=lambda box: box.id)
    if wanted.isdecimal():
        return [box for box in ordered if str(box.id) == wanted or wanted in box.label.lower()]
    return [box for box in ordered if wanted in box.label.lower()]
