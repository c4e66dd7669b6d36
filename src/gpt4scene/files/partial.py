"""Temporary names that tell whose they are, so that what a killed process left can be told from work under way."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(
    r"\.(?P<target>.+)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)\.(?P<kind>part|old)", re.DOTALL
)
_LONGEST = 200
"""Bytes of a name that get room for the owner behind them; file systems allow 255."""


@dataclass(frozen=True)
class Leftover:
    """A file or folder under a temporary name whose process is gone. ``target``: where it should have gone.

    ``old`` is true for a folder that was moved aside for its successor, false for one that was never whole.
    """

    path: Path
    target: Path
    old: bool


def temporary_name(path: Path, *, old: bool = False) -> Path:
    """Return a name beside ``path`` that says which process of which host uses it."""
    pid = os.getpid()
    return path.with_name(f".{_shortened(path.name)}.{_host()}-{pid}-{_started(pid) or 0}.{'old' if old else 'part'}")


def grown_name(path: Path, tag: str) -> Path:
    """Return the name beside ``path`` for what comes bit by bit, whichever process is at it; ``tag`` says of what."""
    return path.with_name(f".{_shortened(path.name)}.{tag}.grown")


def leftovers(folder: Path) -> Iterator[Leftover]:
    """Give what processes of this host left in a folder before they were killed.

    Work of a process that lives is not among it, nor that of another host, of whose processes nothing is known here.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith("."))
    except OSError:
        return  # there is no such folder, or it can be written but not listed
    for name in names:
        found = _NAME.fullmatch(name)
        if found and found["host"] == _host() and not _lives(int(found["pid"]), int(found["start"])):
            yield Leftover(folder / name, folder / found["target"], found["kind"] == "old")


def is_for(left: Leftover, path: Path) -> bool:
    """Return whether it was on its way to ``path``."""
    return left.target.name == _shortened(path.name)


def _shortened(name: str) -> str:
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST else hashlib.sha256(raw).hexdigest()


def _host() -> str:
    """Return eight hexadecimal digits for the host and, inside a container, for its own count of processes."""
    try:
        processes = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        processes = 0
    return hashlib.sha256(f"{socket.gethostname()} {processes}".encode()).hexdigest()[:8]


def _lives(pid: int, start: int) -> bool:
    """Return whether the process that had this number then is still there; numbers are given again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    now = _started(pid)
    return now is None or now == start


def _started(pid: int) -> int | None:
    """Return when a process was started, in ticks since the host was; 0 for one that has ended but not been fetched.

    ``None`` where the system does not tell.
    """
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return 0 if words[0] in (b"Z", b"X") else int(words[19])
