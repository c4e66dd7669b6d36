"""``gpt4scene view``: prepared scenes in the browser, until Ctrl-C."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import webbrowser
from typing import TYPE_CHECKING

from gpt4scene import talk
from gpt4scene.errors import ConfigError
from gpt4scene.files.prepared import find_scenes
from gpt4scene.view.answers import read_answers
from gpt4scene.view.arguments import ViewArguments
from gpt4scene.view.connections import LOCAL, refuse_strangers, stop_quietly, wanted_by
from gpt4scene.view.geometry import scan_folders
from gpt4scene.view.links import address
from gpt4scene.view.rooms import Rooms, named
from gpt4scene.view.session import Session

if TYPE_CHECKING:
    import viser


class View:
    """A running view: its address, its scenes, and the pages that are open."""

    def __init__(self, server: viser.ViserServer, rooms: Rooms, host: str) -> None:
        self._server, self.rooms = server, rooms
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        self.base = f"http://{f'[{shown}]' if ':' in shown else shown}:{server.get_port()}"
        self._sessions: dict[int, Session] = {}
        server.on_client_connect(self._begin)
        server.on_client_disconnect(self._end)

    @property
    def port(self) -> int:
        """The port that is listened at."""
        return self._server.get_port()

    def stop(self) -> None:
        """Close all pages and free the port."""
        stop_quietly(self._server)

    def _begin(self, client: viser.ClientHandle) -> None:
        wanted, base = wanted_by(self._server, client)
        self._sessions[client.client_id] = Session(self.rooms, client, wanted, base)

    def _end(self, client: viser.ClientHandle) -> None:
        session = self._sessions.pop(client.client_id, None)
        if session is not None:
            session.close()


def start(rooms: Rooms, host: str = "127.0.0.1", port: int = 8080) -> View:
    """Serve ``rooms`` and return the view; it listens at the next free port where ``port`` is taken.

    Raises ``ConfigError`` where ``host`` is no address of this machine.
    """
    import viser

    try:
        family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family[0], socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        raise ConfigError(f"--host {host}: can't be listened at ({error.strerror})") from None
    with contextlib.redirect_stdout(io.StringIO()):  # it greets on stdout, where results go
        server = viser.ViserServer(host=host, port=port, label="gpt4scene view", verbose=False)
    refuse_strangers(server, host in LOCAL)
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.gui.main_panel.dock_right()
    return View(server, rooms, host)


def main(arguments: ViewArguments) -> int:
    """Show the scenes until Ctrl-C; say then where edits are."""
    arguments.check()
    talk.say("reading the scenes")
    records = named(find_scenes(arguments.scenes))
    scans = scan_folders(arguments.scans, arguments.format)
    answers = {}
    if arguments.predictions is not None:
        talk.say("reading the answers")
        answers = read_answers(arguments.predictions, arguments.annotation_dir, records)
    rooms = Rooms(records, scans, arguments.format, arguments.save, answers)
    rooms.open(rooms.names[0])  # a broken first scene is said before anything is served
    view = start(rooms, arguments.host, arguments.port)
    try:
        _greet(view, arguments)
        threading.Event().wait()
    finally:
        view.stop()
        _leave(rooms)
    return 0


def _greet(view: View, arguments: ViewArguments) -> None:
    if view.port != arguments.port:
        talk.note(f"port {arguments.port} is taken; {view.port} is used")
    if arguments.host not in LOCAL:
        talk.warning(f"everyone who reaches {arguments.host} can look at these scenes and edit their boxes")
    count = len(view.rooms.names)
    talk.say(f"{count} scene{'s' if count > 1 else ''}; press Ctrl-C to end")
    talk.result(address(view.base))
    if arguments.open and not webbrowser.open(address(view.base)):
        talk.note("no browser could be opened; open the address above")


def _leave(rooms: Rooms) -> None:
    for boxes in rooms.edited():
        if boxes.unsaved is not None:
            boxes.save()
        if boxes.unsaved is None:
            talk.say(f"edited boxes: {boxes.file}")
            talk.say(f"take them with: gpt4scene prepare … --objects boxes:{boxes.file}")
        else:
            talk.warning(f"edits are lost: {boxes.unsaved}")
