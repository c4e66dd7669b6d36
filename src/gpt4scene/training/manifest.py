"""``run.json``: what a run was made of and how it ended, so that every output folder explains itself."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpt4scene.files.run_folder import RUN as NAME
from gpt4scene.files.whole import write_json

PACKAGES = (
    "gpt4scene",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "deepspeed",
    "flash-attn",
    "bitsandbytes",
    "galore-torch",
    "apollo-torch",
    "datasets",
    "numpy",
    "pillow",
)


class Manifest:
    """``run.json`` of one output folder; rewritten whole at every change, only by the process that may write.

    Keys: ``status`` (running, finished, stopped or failed), ``started`` and ``ended`` (UTC), ``config``, ``git``,
    ``versions``, ``hardware``, and whatever ``update`` was given (``batch``, ``data``, ``parameters``, ``note``).
    With ``held``, nothing is written before ``release``: the file of an earlier run stays.
    """

    def __init__(
        self, output_dir: str | Path, config: Mapping[str, Any], *, writes: bool = True, held: bool = False
    ) -> None:
        self._file, self._writes, self._held = Path(output_dir) / NAME, writes, held
        self._content: dict[str, Any] = {
            "status": "running",
            "started": _now(),
            "ended": None,
            "config": dict(config),
            "git": git_commit(),
            "versions": versions(),
            "hardware": hardware(),
        }

    def update(self, **entries: Any) -> None:
        """Set entries and write the file."""
        self._content |= entries
        if self.released:
            write_json(self._file, self._content, indent=2, default=str)

    @property
    def content(self) -> Mapping[str, Any]:
        """What the file holds, or will hold."""
        return self._content

    @property
    def released(self) -> bool:
        """Whether this process writes the file, and has been let."""
        return self._writes and not self._held

    def release(self) -> None:
        """Write from now on."""
        self._held = False

    def end(self, status: str, **entries: Any) -> None:
        """Write the last state of the run: ``finished``, ``stopped`` or ``failed``."""
        self.update(status=status, ended=_now(), **entries)


def versions() -> dict[str, str]:
    """Return the installed version of every package that shapes a run, and Python's."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> dict[str, Any] | None:
    """Return ``commit`` and ``changed`` (uncommitted edits) of the checkout that runs, None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git(here, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    """Return host, processor and accelerator of this process, and the number of processes of the run."""
    import torch

    found: dict[str, Any] = {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "command": sys.argv[0],
        "folder": os.getcwd(),
    }
    if torch.cuda.is_available():
        found["accelerators"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found["cuda"] = torch.version.cuda
    return found


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
