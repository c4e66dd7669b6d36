"""What a command says: results on stdout, talk on stderr, both through here, so that all commands say it alike.

``--quiet`` leaves results, errors and warnings. ``--verbose`` adds details. ``--json`` turns the result into one JSON
object, and is as quiet as ``--quiet``. How much is said stands in ``GPT4SCENE_TALK``, which worker processes inherit.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

QUIET, VERBOSE = "quiet", "verbose"
VARIABLE = "GPT4SCENE_TALK"
PLAIN = {
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "→": "->",
    "←": "<-",
    "×": "x",
    "·": "*",
    "•": "*",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "°": " deg",
    "²": "2",
    "³": "3",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "\N{NO-BREAK SPACE}": " ",
    "✓": "ok",
    "✗": "x",
}
"""What stands for a character on a stream that cannot show it; any other is written as its number, as in ``\\xe4``."""

_FACTS: ContextVar[dict[str, Any] | None] = ContextVar("facts of the running command's result", default=None)


def quiet() -> bool:
    """Return whether only results, errors and warnings are wanted."""
    return os.environ.get(VARIABLE) == QUIET


def verbose() -> bool:
    """Return whether details are wanted, too."""
    return os.environ.get(VARIABLE) == VERBOSE


def say(line: str = "") -> None:
    """Write a line of talk: what is being done. Nothing under ``--quiet``."""
    if not quiet():
        _stderr(line)


def detail(line: str) -> None:
    """Write a line that only ``--verbose`` asks for."""
    if verbose():
        _stderr(line)


def note(sentence: str, to: Callable[[str], None] | None = None) -> None:
    """Write ``note: …``: something that was decided for the user, and is fine. Nothing under ``--quiet``.

    ``to`` takes the line instead, where a caller wants what is said for itself.
    """
    (to or say)(f"note: {sentence}")


def warning(sentence: str) -> None:
    """Write ``warning: …``: something that is probably not what the user wants. ``--quiet`` keeps it."""
    _stderr(f"warning: {sentence}")


def error(sentence: str) -> None:
    """Write ``error: …``, a line for every line of ``sentence``. Commands raise instead; ``cli.py`` calls this."""
    for line in sentence.splitlines() or [""]:
        _stderr(f"error: {line}")


def result(text: str = "", /, **facts: Any) -> None:
    """Print the result of a command: ``text`` on stdout, or under ``--json`` the ``facts`` as members of its object.

    Facts are what JSON can hold: text, numbers, lists, mappings and None; a path is given as text. Nothing is printed
    for an empty ``text``.
    """
    held = _FACTS.get()
    if held is not None:
        held.update(facts)
    elif text:
        print(text, flush=True)


def as_json() -> bool:
    """Return whether the running command's result is to be one JSON object."""
    return _FACTS.get() is not None


@contextmanager
def level(wanted: str | None) -> Iterator[None]:
    """Say as much as ``wanted`` (``QUIET``, ``VERBOSE``) until the end; None leaves it as it is."""
    before = os.environ.get(VARIABLE)
    if wanted is not None:
        os.environ[VARIABLE] = wanted
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


@contextmanager
def result_as_json() -> Iterator[None]:
    """Hold back what ``result`` is given, and print it as one JSON object at the end; nothing if there was nothing."""
    held: dict[str, Any] = {}
    token = _FACTS.set(held)
    try:
        yield
    finally:
        _FACTS.reset(token)
        if held:
            print(json.dumps(held, indent=1, allow_nan=False, ensure_ascii=True), flush=True)


def ready_streams() -> None:
    """Let stdout and stderr write whatever their encoding cannot hold in plain letters instead of failing.

    Where the language is set to C or POSIX, Python takes the terminal for one of UTF-8; here it is taken for what it
    says, ASCII, unless ``PYTHONIOENCODING`` or ``PYTHONUTF8`` says otherwise.
    """
    codecs.register_error("gpt4scene.plain", _plainly)
    encoding = "ascii" if _says_ascii() else None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # its file was exchanged for a pipe beneath it, as in a fork: it stays as it is
                stream.reconfigure(encoding=encoding or stream.encoding, errors="gpt4scene.plain")


def can_redraw() -> bool:
    """Return whether stderr is a terminal on which a line can be written over."""
    return sys.stderr.isatty() and can_draw()


def can_draw() -> bool:
    """Return whether terminals here can write over a line: not those that call themselves dumb."""
    return os.environ.get("TERM", "") not in ("dumb", "unknown")


def _stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _says_ascii() -> bool:
    if os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8"):
        return False
    everything, letters = os.environ.get("LC_ALL"), os.environ.get("LC_CTYPE")
    if letters == "C.UTF-8":  # what Python itself sets in the language C
        letters = None
    return (everything or letters or os.environ.get("LANG")) in ("C", "POSIX")


def _plainly(failed: UnicodeError) -> tuple[str, int]:
    if not isinstance(failed, UnicodeEncodeError):
        raise failed
    letters = failed.object[failed.start : failed.end]
    written = [PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode("ascii") for one in letters]
    return "".join(written), failed.end
