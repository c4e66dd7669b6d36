"""``gpt4scene serve``: a model behind an OpenAI-compatible address, until it is told to stop."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene import talk
from gpt4scene.errors import ConfigError, DataError, Stopped, WorkError
from gpt4scene.files.whole import read_text
from gpt4scene.inference.opening import look_for_model
from gpt4scene.serve.arguments import KEY_VARIABLE, ServeArguments

if TYPE_CHECKING:
    import socket

    from gpt4scene.data.encoding import Encoder
    from gpt4scene.inference.engine_arguments import EngineArguments
    from gpt4scene.serve.chat import Bounds, Chat
    from gpt4scene.serve.engine_thread import Answering
    from gpt4scene.serve.server import Server

LAST_STEP_S = 10.0


def main(arguments: ServeArguments) -> int:
    """Serve until told to stop; return 0 when every request was answered by then."""
    key = find_key(arguments.api_key_file)
    look_for_model(arguments)  # before seconds of importing
    from prometheus_client import disable_created_metrics

    import gpt4scene.serve.app  # noqa: F401  (what is not installed is missed before minutes of loading)
    from gpt4scene.serve.server import listen
    from gpt4scene.serve.spool import spool

    disable_created_metrics()  # a second figure beside each one, which nobody reads
    bound = listen(arguments.host, arguments.port)
    try:
        if key is None and not bound.getsockname()[0].startswith(("127.", "::1")):
            talk.note(f"whoever reaches {arguments.host} may ask; {KEY_VARIABLE} or --api_key_file asks for a key")
        with spool() as folder:  # before the model: a disk that can't be written to is said at once
            loaded = load(arguments, arguments.branch_limit)
            bounds = bounds_of(arguments, loaded.context)
            cut = asyncio.run(serve(bound, arguments.name, loaded, folder, bounds, key, arguments.grace))
    finally:
        bound.close()
    if cut:
        number, signal_number = cut
        raise Stopped(f"stopped; requests that were cut: {number}", signal_number)
    return 0


async def serve(
    bound: socket.socket,
    name: str,
    loaded: Loaded,
    folder: Path,
    bounds: Bounds,
    key: str | None,
    grace: float,
) -> tuple[int, int] | None:
    """Serve until a signal; return how many requests were cut by which signal, None where all were answered."""
    from gpt4scene.serve.app import build_app
    from gpt4scene.serve.chat import Chat
    from gpt4scene.serve.images import ImageStore
    from gpt4scene.serve.server import Server, address_of

    pool = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)), thread_name_prefix="bodies")
    images = ImageStore(folder, loaded.encoder.vision, pool)
    chat = Chat(name, loaded.scheduler, loaded.encoder, images, pool, bounds, fingerprint=loaded.fingerprint)
    ending = _Ending(chat, grace)
    server = Server(build_app(chat, key), ending.begin, grace, ending.force)
    server.ready = lambda: _say_ready(name, address_of(bound))
    chat.on_failure = lambda: ending.after_failure(server)
    try:
        await server.serve(sockets=[bound])
    finally:
        chat.close(0.0 if server.force_exit else LAST_STEP_S)
    if chat.engine.failure is not None:
        raise WorkError(f"the engine has failed: {chat.engine.failure}") from chat.engine.failure
    return (ending.cut, server.stopped_by) if ending.cut and server.stopped_by is not None else None


def _say_ready(name: str, address: str) -> None:
    talk.say(f"model {name} is ready; press Ctrl-C to end")
    talk.result(address)


class _Ending:
    """What happens between the signal and the end: nothing new is taken, and after ``grace`` what runs is cut."""

    def __init__(self, chat: Chat, grace: float) -> None:
        self._chat, self._grace, self.cut = chat, grace, 0

    def begin(self) -> None:
        """Take nothing any more, and set the clock."""
        under_way = self._chat.places.taken
        self._chat.places.closed = True
        if under_way:
            talk.say(
                f"stopping: {under_way} answers under way get up to {self._grace:g} s; a second signal ends at once"
            )
        asyncio.get_running_loop().call_later(self._grace, self._cut)

    def force(self) -> None:
        """Count what is cut by the second signal."""
        self.cut += self._chat.places.taken

    def after_failure(self, server: Server) -> None:
        """Say 503 for a while, so that whoever looks at the server's health sees it, and then end."""
        talk.error(f"the engine has failed; the server ends in {self._grace:g} s")
        asyncio.get_running_loop().call_later(self._grace, server.end)

    def _cut(self) -> None:
        from gpt4scene.serve.refusals import Refusal

        message = "the server is stopping, and had no time left for this request"
        self.cut += self._chat.end_all(Refusal(503, message, code="stopping", retry_after=5, outcome="stopped"))


@dataclass(frozen=True)
class Loaded:
    """A model that is ready: its scheduler, an encoder beside it, its longest row in tokens, and what tells it apart.

    ``fingerprint`` differs where answers do: by the model's files, image rule, template and number format.
    """

    scheduler: Answering
    encoder: Encoder
    context: int
    fingerprint: str


def load(
    arguments: EngineArguments, branch_limit: int, longest: int | None = None, say: Callable[[str], None] = talk.say
) -> Loaded:
    """Return the model of the arguments. ``branch_limit`` and ``longest`` are as in ``open_engine``."""
    from gpt4scene.data.encoding import Encoder
    from gpt4scene.inference.opening import open_engine
    from gpt4scene.model.folder import find_model, identity
    from gpt4scene.model.loading import load_tokenizer

    engine = open_engine(arguments, say, branch_limit=branch_limit, longest=longest)
    known, folder = engine.encoder, find_model(arguments.model)
    beside = Encoder(load_tokenizer(folder.base), known.template, known.vision)
    shapes = f"{identity(folder)} {known.vision} {known.template.name} {known.template.opening!r} {engine.model.dtype}"
    fingerprint = f"gpt4scene-{hashlib.sha256(shapes.encode()).hexdigest()[:16]}"
    context = engine.model.config.get_text_config().max_position_embeddings
    return Loaded(engine.scheduler, beside, context, fingerprint)


def bounds_of(arguments: ServeArguments, context: int) -> Bounds:
    """Return what the server takes on."""
    from gpt4scene.serve.chat import Bounds

    body = arguments.max_body * 2**20
    return Bounds(
        max_new_tokens=min(arguments.max_new_tokens, context),
        answers=arguments.queue_limit,
        body=body,
        bodies=16 * body,
        images=arguments.max_images,
        context=context,
        timeout=arguments.timeout,
    )


def find_key(file: str | None) -> str | None:
    """Return the key that requests must send, None for none. Raises ``ConfigError`` for one that can't be."""
    said = os.environ.get(KEY_VARIABLE)
    if file is not None and said:
        raise ConfigError(f"{KEY_VARIABLE} and --api_key_file both give a key; leave one of them out")
    if file is None:
        key, place = said, KEY_VARIABLE
    else:
        try:
            key, place = read_text(file, "key").strip(), f"--api_key_file {file}"
        except DataError as error:
            raise ConfigError(f"--api_key_file: {error}") from None
        if not key:
            raise ConfigError(f"{place}: the file is empty; write the key into it")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"{place}: a key holds printable ASCII letters without spaces, in one line")
    return key or None
