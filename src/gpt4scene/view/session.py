"""One person's page: the scene that is shown, the object that is chosen, and the panels that follow both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import SceneBox
from gpt4scene.view.answers_panel import AnswersPanel
from gpt4scene.view.edit_panel import EditPanel
from gpt4scene.view.frames_panel import FramesPanel
from gpt4scene.view.layers_panel import LayersPanel
from gpt4scene.view.links import Wanted, address
from gpt4scene.view.objects_panel import ObjectsPanel
from gpt4scene.view.picking import Ray, picked_frame, picked_object
from gpt4scene.view.rooms import Room, Rooms
from gpt4scene.view.scenery import FRAME_HEIGHT, Scenery, look_over, look_through

if TYPE_CHECKING:
    import viser

_STYLE = (
    "<style>label,label *,[role=tab],[role=tab] *,.mantine-Notification-description,.mantine-Slider-markLabel"
    "{color:var(--mantine-color-text)!important}"
    ":focus-visible{outline:3px solid #e8590c!important;outline-offset:1px}</style>"
)
"""Labels that can be read and a focus that is seen, which the page itself has not."""


class Session:
    """What one person sees. Each has a camera, a scene and a chosen object of their own; edits are shared."""

    def __init__(self, rooms: Rooms, client: viser.ClientHandle, wanted: Wanted, base: str) -> None:
        self.client, self._rooms, self._base = client, rooms, base
        self.chosen: int | None = None
        self._lock = threading.RLock()
        self._ended: Callable[[], None] = lambda: None
        self.room: Room | None = None
        self.dark = self._dark()
        self._problem(lambda: self.show(self._first(wanted), wanted.object))
        client.camera.on_update(lambda event: self._camera_moved())

    def show(self, name: str, number: int | None = None) -> None:
        """Show the scene ``name`` with object ``number`` chosen. ``DataError`` where it can't be read."""
        with self._lock:
            room = self._rooms.open(name)
            self._ended()
            self.room, self.chosen = room, None
            self.client.gui.reset()
            self.scenery = Scenery(self.client.scene, room.scene, room.geometry)
            self._build(room)
            for problem in self.scenery.draw_room(self.layers.height, self.layers.level):
                self.say("An image is missing", problem, "yellow")
            self.overlook()
            self.client.scene.on_click()(lambda event: self.guard(lambda: self._clicked(event)))
            self._ended = room.boxes.listen(self._later)
            self.choose(number, go=number is not None)

    def choose(self, number: int | None, go: bool = False) -> None:
        """Choose object ``number`` everywhere on this page; ``go`` moves the camera to it."""
        with self._lock:
            box = self.box(number)
            if number is not None and box is None:
                self.say("No such object", f"This scene has no object {number}.", "yellow")
            self.chosen = None if box is None else number
            self.refresh()
            if go and box is not None:
                self.overlook(box)

    def refresh(self) -> None:
        """Bring the room and all panels to the present boxes and the chosen object."""
        with self._lock:
            if self.box(self.chosen) is None:
                self.chosen = None
            with self.client.atomic():
                self.scenery.draw_boxes(self.here.boxes.boxes, self.chosen)
                self.scenery.mark_frames(self.chosen)
            for panel in (self.objects, self.frames, self.edit):
                panel.refresh()
            self._link.value = address(self._base, self.here.name, self.chosen)

    @property
    def here(self) -> Room:
        """The room that is shown."""
        assert self.room is not None, "a page shows a room before anything is done on it"
        return self.room

    def box(self, number: int | None) -> SceneBox | None:
        """Return the present box of object ``number``, ``None`` where there is none."""
        return next((box for box in self.here.boxes.boxes if box.id == number), None)

    def guard(self, work: Callable[[], Any]) -> None:
        """Do what a person asked for; what can't be done is said on that person's page."""
        with self._lock:
            self._problem(work)

    def say(self, title: str, sentence: str, color: Any = "blue") -> None:
        """Show a sentence on this person's page."""
        self.client.add_notification(title, sentence, color=color, auto_close_seconds=12.0)

    def theme(self, dark: bool) -> None:
        """Make this person's page dark or light."""
        self.client.gui.configure_theme(
            show_logo=False, show_share_button=False, dark_mode=dark, brand_color=(20, 84, 166)
        )

    def overlook(self, box: SceneBox | None = None) -> None:
        """Put the camera above the room, or before one object."""
        self.layers.jumped()
        look_over(self.client.camera, self.here.scene, box)

    def through(self, place: int) -> None:
        """Look through the frame at ``place``."""
        self.layers.jumped()
        look_through(self.client.camera, self.here.scene.frames[place])

    def close(self) -> None:
        """End what the page listens to."""
        self._ended()

    def _later(self) -> None:
        """Refresh in a thread of its own: the one that edited may hold another page, which may wait for this one."""
        threading.Thread(target=self.guard, args=(self.refresh,), daemon=True).start()

    def _camera_moved(self) -> None:
        if self.room is not None:
            self.guard(lambda: self.layers.camera_moved(time.monotonic()))

    def _first(self, wanted: Wanted) -> str:
        if wanted.scene is not None:
            if wanted.scene in self._rooms.records:
                return wanted.scene
            self.say("No such scene", f"There is no scene '{wanted.scene[:80]}' here.", "yellow")
        return self._rooms.names[0]

    def _problem(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except DataError as error:
            self.say("This can't be done", str(error), "red")

    def _build(self, room: Room) -> None:
        gui = self.client.gui
        gui.set_panel_label("gpt4scene view")
        self.theme(self.dark)
        gui.add_html(_STYLE)
        scenes = gui.add_dropdown(
            "Scene", self._rooms.names, initial_value=room.name, visible=len(self._rooms.names) > 1
        )
        scenes.on_update(lambda event: self.guard(lambda: self.show(scenes.value)))
        tabs = gui.add_tab_group()
        with tabs.add_tab("Objects"):
            self.objects = ObjectsPanel(self)
        with tabs.add_tab("Frames"):
            self.frames = FramesPanel(self)
        with tabs.add_tab("Edit"):
            self.edit = EditPanel(self)
        if room.answers:
            with tabs.add_tab("Answers"):
                self.answers = AnswersPanel(self)
        with tabs.add_tab("Layers"):
            self.layers = LayersPanel(self)
        self._link = gui.add_text("Link", address(self._base, room.name), hint="Address of this view")
        undo = gui.add_command("Undo the last edit", hotkey="Z", modifier="cmd/ctrl")
        undo.on_trigger(lambda event: self.guard(room.boxes.undo))

    def _dark(self) -> bool:
        try:
            return self.client.local_storage.get_item("dark", timeout=2.0) == "yes"
        except (TimeoutError, RuntimeError):
            return False

    def _clicked(self, event: Any) -> None:
        ray, room = Ray.of(event.ray_origin, event.ray_direction), self.here
        shown = room.geometry.places_N3[room.geometry.places_N3[:, 2] < self.layers.height]
        frame = picked_frame(ray, room.scene.frames, FRAME_HEIGHT) if self.layers.shown("frames") else None
        found = picked_object(ray, room.boxes.boxes, shown if self.layers.shown("points") else shown[:0])
        if frame is not None and (found is None or frame.away < found.away):
            self.through(frame.number)
        else:
            self.choose(None if found is None else found.number)

    def middle(self) -> np.ndarray:
        """Return the point that this person's camera looks at, float64 [3]."""
        return np.asarray(self.client.camera.look_at, dtype=np.float64)
