"""Editing on a person's page: name, merge, move, split off, add and remove objects, and take all of that back."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.view.editing import Cutter, added, merged, moved, removed, renamed, split_off

if TYPE_CHECKING:
    from collections.abc import Sequence

    import viser

    from gpt4scene.files.prepared import SceneBox
    from gpt4scene.view.page import Page

_NOTHING: tuple[str, ...] = ("nothing",)
_TOOL, _CUTTER = (25, 98, 190), (200, 30, 30)
NEAREST = 30
"""Objects that are offered for merging."""


class EditPanel:
    """The tools of a person's page; they work on the chosen object."""

    def __init__(self, session: Page) -> None:
        self._session, gui = session, session.client.gui
        self._box: SceneBox | None = None
        self._state = gui.add_html("")
        self._undo = self._button("Undo", lambda: self._step(session.here.boxes.undo(), "Taken back"))
        self._redo = self._button("Redo", lambda: self._step(session.here.boxes.redo(), "Done again"))
        self._save = self._button("Save", session.here.boxes.save)
        self._chosen = gui.add_folder("The chosen object", visible=False)
        with self._chosen:
            self._object_tools()
        with gui.add_folder("More", expand_by_default=False):
            self._new = gui.add_text("New name", "object")
            self._button("Add a box where I look", self._add)
            self._button("Start again from the scene", self._again)

    def refresh(self) -> None:
        """Show the chosen object's values, what can be taken back, and where the edits are."""
        session = self._session
        boxes, box = session.here.boxes, session.box(session.chosen)
        history = boxes.history
        self._undo.label = f"Undo: {history.undo}" if history.undo else "Undo"
        self._redo.label = f"Redo: {history.redo}" if history.redo else "Redo"
        self._undo.disabled, self._redo.disabled = history.undo is None, history.redo is None
        self._save.visible = boxes.unsaved is not None
        weight = "700" if boxes.unsaved else "400"
        self._state.content = (
            f'<p role="status" style="margin:4px 10px;font-weight:{weight};overflow-wrap:anywhere">'
            f"{escape(boxes.state())}{'' if box else '<br>Choose an object to edit it.'}</p>"
        )
        self._chosen.visible = box is not None
        if box is None:
            self._box = None
            self._drop_tools()
            return
        self._chosen.label = f"Object {box.id}"
        self._show(box)

    def _object_tools(self) -> None:
        session, gui = self._session, self._session.client.gui
        self._name = gui.add_text("Name", "")
        self._button("Rename", self._rename)
        self._other: viser.GuiDropdownHandle[str] = gui.add_dropdown("Merge with", _NOTHING)
        self._button("Merge", self._merge)
        self._button("Remove this object", self._remove)
        with gui.add_folder("Move and resize", expand_by_default=False):
            self._center = gui.add_vector3("Centre (m)", (0.0, 0.0, 0.0), step=0.01)
            self._size = gui.add_vector3("Size (m)", (1.0, 1.0, 1.0), min=(0.01, 0.01, 0.01), step=0.01)
            self._button("Move and resize", lambda: self._move(self._center.value))
            self._drag = gui.add_checkbox("Drag it in the room", False)
            self._drag.on_update(lambda event: session.guard(self._tools))
        with gui.add_folder("Split a part off", expand_by_default=False):
            self._cut = gui.add_checkbox("Show the cutting box", False, hint="Drag it over the part")
            self._cut.on_update(lambda event: session.guard(self._begin_cut))
            self._cut_center = gui.add_vector3("Its centre (m)", (0.0, 0.0, 0.0), step=0.01)
            self._cut_size = gui.add_vector3("Its size (m)", (0.5, 0.5, 0.5), min=(0.01, 0.01, 0.01), step=0.01)
            for field in (self._cut_center, self._cut_size):
                field.on_update(lambda event: session.guard(self._tools) if event.client_id is not None else None)
            self._button("Split off what is inside", self._split)

    def _button(self, label: str, work: Any) -> Any:
        button = self._session.client.gui.add_button(label)
        button.on_click(lambda event: self._session.guard(work))
        return button

    def _show(self, box: SceneBox) -> None:
        """Show what changed of the object; what a person has typed since stays when someone else edits another one."""
        before, self._box = self._box, box
        same = before if before is not None and before.id == box.id else None
        others = near(self._session.here.boxes.boxes, box)
        options = tuple(f"{one.id} · {one.label} ({away:.1f} m)" for one, away in others) or _NOTHING
        if same is None or same.label != box.label:
            self._name.value = box.label
        if self._other.options != options:
            number = self._other.value.partition(" ")[0] if same is not None else ""
            self._other.options = options
            self._other.value = next((one for one in options if one.partition(" ")[0] == number), options[0])
        if same is None or (same.center, same.size) != (box.center, box.size):
            self._center.value, self._size.value = box.center, np.maximum(box.size, 0.01)
        if same is None and self._cut.value:
            self._place_cut(box)
        self._tools()

    def _number(self) -> int:
        chosen = self._session.chosen
        assert chosen is not None, "the tools show while an object is chosen"
        return chosen

    def _rename(self) -> None:
        number, name = self._number(), self._name.value
        self._session.here.boxes.edit(f"rename {number}", lambda boxes: renamed(boxes, number, name))

    def _merge(self) -> None:
        number, first = self._number(), self._other.value.partition(" ")[0]
        if first.isdecimal():
            other = int(first)
            self._session.here.boxes.edit(f"merge {number} and {other}", lambda boxes: merged(boxes, number, [other]))

    def _remove(self) -> None:
        number = self._number()
        self._session.here.boxes.edit(f"remove {number}", lambda boxes: removed(boxes, number))

    def _move(self, center: tuple[float, float, float]) -> None:
        number, size = self._number(), self._size.value
        self._session.here.boxes.edit(f"move {number}", lambda boxes: moved(boxes, number, center, size))

    def _split(self) -> None:
        if not self._cut.value:
            raise DataError("tick 'Show the cutting box' first, and drag that box over the part")
        number, room = self._number(), self._session.here
        cutter = Cutter(self._cut_center.value, self._cut_size.value)
        places = room.geometry.places_N3
        after = room.boxes.edit(f"split {number}", lambda boxes: split_off(boxes, number, cutter, places))
        self._cut.value = False
        self._session.say("Split off", f"The part is object {after[-1].id}; {number} is what remains.")

    def _add(self) -> None:
        middle, name = self._session.middle(), self._new.value
        center = (float(middle[0]), float(middle[1]), float(middle[2]))
        after = self._session.here.boxes.edit("add a box", lambda boxes: added(boxes, name, center, (0.5, 0.5, 0.5)))
        self._session.choose(after[-1].id)

    def _again(self) -> None:
        scene = self._session.here.scene
        self._session.here.boxes.edit("start again", lambda boxes: scene.objects)

    def _step(self, done: str | None, word: str) -> None:
        if done is not None:
            self._session.say(word, done)

    def _begin_cut(self) -> None:
        box = self._session.box(self._session.chosen)
        if self._cut.value and box is not None:
            self._place_cut(box)
        self._tools()

    def _place_cut(self, box: SceneBox) -> None:
        """Put the cutting box over one half of an object."""
        x, y, z = box.size
        self._cut_size.value = (max(x / 2, 0.01), max(y * 1.1, 0.01), max(z * 1.1, 0.01))
        self._cut_center.value = (box.center[0] - x / 4, box.center[1], box.center[2])

    def _tools(self) -> None:
        """Draw the boxes that can be dragged, as far as their switches say."""
        session, box = self._session, self._session.box(self._session.chosen)
        if self._drag.value and box is not None:
            session.scenery.box_tool(
                "mover", box.center, self._size.value, _TOOL, lambda center: session.guard(lambda: self._move(center))
            )
        else:
            session.scenery.drop_tool("mover")
        if self._cut.value and box is not None:
            session.scenery.box_tool("cutter", self._cut_center.value, self._cut_size.value, _CUTTER, self._cut_moved)
        else:
            session.scenery.drop_tool("cutter")

    def _cut_moved(self, center: tuple[float, float, float]) -> None:
        self._cut_center.value = center

    def _drop_tools(self) -> None:
        for name in ("mover", "cutter"):
            self._session.scenery.drop_tool(name)
        for switch in (self._drag, self._cut):
            if switch.value:
                switch.value = False


def near(boxes: Sequence[SceneBox], box: SceneBox) -> list[tuple[SceneBox, float]]:
    """Return the other objects with the distance of their centres in metres, nearest first, at most ``NEAREST``."""
    away = [(one, float(np.linalg.norm(np.subtract(one.center, box.center)))) for one in boxes if one.id != box.id]
    return sorted(away, key=lambda pair: pair[1])[:NEAREST]
