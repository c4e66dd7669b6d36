"""From flags to what answers: a model on this machine or a server, both ready to be asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene import talk
from gpt4scene.chat.arguments import AnsweringArguments
from gpt4scene.inference.opening import server_vision

if TYPE_CHECKING:
    from gpt4scene.chat.asking import Asker

Say = Callable[[str], None]
RETRIES = 2
"""Further tries with a server: somebody waits."""


def first_line(arguments: AnsweringArguments) -> str:
    """Return what is done now, for the line that is shown before anything takes time."""
    if arguments.base_url is not None:
        return f"asking {arguments.model} at {arguments.base_url}"
    return f"loading the model {arguments.model} …"


def open_asker(arguments: AnsweringArguments, say: Say, branch_limit: int = 1) -> Asker:
    """Return what answers. Raises ``ValueError`` that names what is missing of a model, ``WorkError`` for a server."""
    for sentence in arguments.notes():
        talk.note(sentence, say)
    return _server(arguments, say) if arguments.base_url is not None else _local(arguments, say, branch_limit)


def _local(arguments: AnsweringArguments, say: Say, branch_limit: int) -> Asker:
    from gpt4scene.chat.local import LocalAsker
    from gpt4scene.serve.run import load

    loaded = load(arguments, branch_limit, arguments.max_new_tokens, say)
    return LocalAsker(loaded, "/".join(Path(arguments.model).absolute().parts[-2:]))


def _server(arguments: AnsweringArguments, say: Say) -> Asker:
    from gpt4scene.chat.served import ServerAsker
    from gpt4scene.inference.streaming import StreamingEngine

    assert arguments.base_url is not None
    vision = server_vision(arguments)
    engine = StreamingEngine(
        arguments.base_url, arguments.model, vision, timeout=arguments.timeout, retries=RETRIES, say=say
    )
    engine.identity()
    return ServerAsker(engine, f"{arguments.model} at {arguments.base_url}")
