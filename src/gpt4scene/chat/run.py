"""``gpt4scene chat``: the page, until it is told to stop."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene import talk
from gpt4scene.chat.arguments import ChatArguments
from gpt4scene.chat.opening import first_line, open_asker
from gpt4scene.errors import ConfigError
from gpt4scene.files.prepared import find_scenes
from gpt4scene.inference.opening import decoding_settings, look_for_model

if TYPE_CHECKING:
    from gpt4scene.chat.asking import Asker

PORTS = 20
"""So many ports are tried from the wanted one on."""
ON_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def main(arguments: ChatArguments) -> int:
    """Show the page until Ctrl-C; return 0 when it ends by itself."""
    from gpt4scene.serve.spool import spool

    records = find_scenes(arguments.scenes) if arguments.scenes else []
    look_for_model(arguments)
    port = free_port(arguments.host, arguments.port)
    talk.say(f"{first_line(arguments)} {len(records)} scene{'' if len(records) == 1 else 's'}")
    with spool() as folder:
        keep_to_ourselves(folder)
        import gradio  # noqa: F401  (missed before minutes of loading, where it is not installed)

        asker = open_asker(arguments, talk.say, arguments.branch_limit)
        try:
            page = Page(arguments, records, asker, folder, port)
            page.say()
            page.wait()
        finally:
            asker.close()
    return 0


def keep_to_ourselves(folder: Path) -> None:
    """Let Gradio ask nothing of the network, and keep what is uploaded in the private ``folder``."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "sent")
    # Gradio asks its own page whether it is there, which no proxy between could answer.
    known = [name for name in (os.environ.get("no_proxy", ""), *ON_THIS_MACHINE) if name]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(known))


def free_port(host: str, wanted: int) -> int:
    """Return ``wanted``, or the next port that is free; any free one for 0. Raises ``ConfigError`` where none is."""
    said = "no port is left"
    for port in range(wanted, wanted + PORTS) if wanted else (0,):
        if port > 65535:
            break
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
                trial.listen()
            except socket.gaierror as error:
                raise ConfigError(f"--host {host} is no address here ({error}); 127.0.0.1 and 0.0.0.0 are") from None
            except OSError as error:
                said = error.strerror or str(error)
                continue
            if wanted and port != wanted:
                talk.note(f"port {wanted} is taken; the page is at {port}")
            return trial.getsockname()[1]
    raise ConfigError(f"--port {wanted} at {host} can't be used ({said}); choose another --port or --host")


class Page:
    """The running page of ``asker`` and the scenes of ``records``. ``folder`` is private, and removed by the caller."""

    def __init__(self, arguments: ChatArguments, records: list[Path], asker: Asker, folder: Path, port: int) -> None:
        from gpt4scene.chat.desk import Desk
        from gpt4scene.chat.line import Line
        from gpt4scene.chat.page import build_page
        from gpt4scene.chat.parts import text_of, theme
        from gpt4scene.chat.serving import image_routes
        from gpt4scene.chat.uploads import UploadBounds
        from gpt4scene.chat.visits import Scenes

        self._arguments = arguments
        scenes = Scenes(records)
        bounds = UploadBounds(size=arguments.upload_size * 2**20, prepare_seconds=arguments.upload_seconds)
        line = Line(arguments.branch_limit, arguments.queue_limit)
        self.desk = Desk(asker, decoding_settings(arguments), scenes, line, folder, bounds, arguments.frames)
        self._blocks = build_page(self.desk, arguments.task, arguments.uploads, arguments.view_url)
        self._blocks.queue(default_concurrency_limit=None, max_size=None, api_open=False)
        _, self.address, self.shared = self._blocks.launch(
            server_name=arguments.host,
            server_port=port,
            share=arguments.share,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            max_threads=arguments.branch_limit + arguments.queue_limit + 16,
            max_file_size=bounds.size,
            app_kwargs={"routes": image_routes(scenes), "docs_url": None, "redoc_url": None, "openapi_url": None},
            footer_links=[],
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=theme(),
            css=text_of("chat.css"),
            js=text_of("chat.js"),
        )

    def say(self) -> None:
        """Say where the page is, and who else can see it."""
        talk.say("the page is up; press Ctrl-C to end")
        talk.result(self.address)
        if self._arguments.host not in ON_THIS_MACHINE:
            talk.note(f"whoever reaches {self._arguments.host} may ask, and see the scenes")
        if self._arguments.share:
            talk.warning(
                f"anyone who has the link {self.shared} may ask and see the scenes; questions and images pass through "
                "Gradio's servers"
            )

    def wait(self) -> None:
        """Wait for Ctrl-C."""
        threading.Event().wait()

    def close(self) -> None:
        """End the page, not the asker."""
        self._blocks.close(verbose=False)
