"""Switches for what is shown in the room, the height at which it is cut, and how fine the points are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from gpt4scene.view.geometry import LEVELS, usual_cut
from gpt4scene.view.motion import Pace

if TYPE_CHECKING:
    from gpt4scene.view.page import Page

_SWITCHES = (
    ("points", "Points or surface", True),
    ("boxes", "Boxes", True),
    ("names", "Numbers and names", True),
    ("frames", "Marked frames", True),
    ("path", "Camera path", False),
    ("plan", "Bird's-eye view as floor", True),
    ("outline", "Outline of the room", False),
    ("answers", "Boxes of the chosen answer", True),
)


class LayersPanel:
    """The switches of a person's page."""

    def __init__(self, session: Page) -> None:
        self._session, self._scenery, gui = session, session.scenery, session.client.gui
        room = session.here
        self._switches: dict[str, Any] = {}
        for name, label, shown in _SWITCHES:
            switch = gui.add_checkbox(label, shown, visible=name != "answers" or bool(room.answers))
            switch.on_update(lambda event, name=name: session.guard(lambda: self._switch(name)))
            self._switches[name] = switch
            session.scenery.show_layer(name, shown)
        places = room.geometry.places_N3
        low, high = (float(places[:, 2].min()), float(places[:, 2].max())) if len(places) else (0.0, 3.0)
        high = max(high, low + 0.1) + 0.05
        cut = min(max(usual_cut(room.scene, room.geometry), low), high)
        self._cut = gui.add_slider(
            "Cut at height (m)", round(low, 2), round(high, 2), 0.05, round(cut, 2), disabled=room.geometry.empty
        )
        self._cut.on_update(lambda event: session.guard(self._cut_now))
        options, first = detail_options(len(places))
        self._detail = gui.add_dropdown(
            "Points shown", options, initial_value=options[first],
            visible=room.geometry.faces_F3 is None and len(options) > 1,
        )  # fmt: skip
        self._detail.on_update(lambda event: session.guard(self._cut_now))
        self._thrifty = gui.add_checkbox(
            "Fewer points while moving", False, visible=self._detail.visible, hint="Makes slow browsers smoother"
        )
        self._pace, self._offered, self._moving = Pace(), False, False
        self._rest: threading.Timer | None = None
        over = gui.add_button("See the whole room")
        over.on_click(lambda event: session.guard(session.overlook))
        self._dark = gui.add_checkbox("Dark page", session.dark)
        self._dark.on_update(lambda event: session.guard(self._darken))

    @property
    def height(self) -> float:
        """The height in metres above which nothing is shown."""
        return float(self._cut.value)

    @property
    def level(self) -> int:
        """The last level of detail that is shown."""
        return self._detail.options.index(self._detail.value)

    def shown(self, name: str) -> bool:
        """Return whether a layer is shown."""
        return bool(self._switches[name].value)

    def _switch(self, name: str) -> None:
        self._session.scenery.show_layer(name, self.shown(name))

    def _cut_now(self) -> None:
        self._scenery.cut(self.height, 0 if self._moving else self.level)

    def jumped(self) -> None:
        """Take note that the camera is put elsewhere, which says nothing of how fast the browser draws."""
        self._pace = Pace()

    def camera_moved(self, now: float) -> None:
        """Show fewer points until the camera rests, if so chosen; a browser that draws slowly chooses it once."""
        self._pace = self._pace.after(now)
        if not self._thrifty.visible:
            return
        if self._pace.slow and not self._offered:
            self._offered = self._thrifty.value = True
            self._session.say(
                "This browser draws slowly",
                "Fewer points are shown while the camera moves. The tab Layers has a switch for that.",
            )
        if self._thrifty.value:
            if self._rest is not None:
                self._rest.cancel()
            self._rest = threading.Timer(self._pace.rest, self._session.guard, (self._rested,))
            self._rest.daemon = True
            self._rest.start()
            if not self._moving:
                self._moving = True
                self._cut_now()

    def _rested(self) -> None:
        if self._moving and self._session.scenery is self._scenery:
            self._moving = False
            self._cut_now()

    def _darken(self) -> None:
        session = self._session
        session.client.local_storage.set_item("dark", "yes" if self._dark.value else "no")
        session.dark = bool(self._dark.value)
        session.theme(session.dark)


def detail_options(count: int) -> tuple[tuple[str, ...], int]:
    """Return how many points each level shows, as texts, and the level that is shown at first.

    That is at most the last of ``LEVELS``.
    """
    shown = [f"{level:,}" for level in LEVELS if level < count]
    options = (*shown, f"all {count:,}")
    return options, min(len(LEVELS) - 1, len(options) - 1)
