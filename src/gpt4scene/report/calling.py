"""How commands are written for people to copy: the program that belongs to this interpreter, and short paths."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "gpt4scene"


def program() -> str:
    """Return what a shell here calls this program by: its name where that leads to it, else its path.

    Without a program beside the interpreter, as in an unusual installation, it is the interpreter with ``-m``.
    """
    beside = Path(sys.executable).parent / PROGRAM
    known = shutil.which(PROGRAM)
    if known is not None and Path(known).absolute() == beside.absolute():
        return PROGRAM
    if beside.is_file():
        return shlex.quote(short_path(beside))
    return PROGRAM if known is not None else f"{shlex.quote(short_path(Path(sys.executable)))} -m gpt4scene"


def short_path(path: str | Path, start: Path | None = None) -> str:
    """Return the path from ``start``, the working directory when left out, where it lies in there; else the whole."""
    whole, start = Path(os.path.abspath(path)), start or Path.cwd()
    return str(whole.relative_to(start)) if whole.is_relative_to(start) else str(whole)


def written(*words: str | Path) -> str:
    """Return words as a shell takes them; paths are shortened."""
    return " ".join(shlex.quote(short_path(word) if isinstance(word, Path) else word) for word in words)
