"""The flags of all commands without importing any: ``flags.json``, which help and completion are made of.

``python -m gpt4scene.listing`` writes the file again; a test says when that is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt4scene.commands import COMMANDS, Command
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.settings.flag_list import Flag, flags_of, heading_of

FILE = Path(__file__).with_name("flags.json")


class Listing:
    """The flags of commands as the file has them; those of a command that it does not know come from its classes."""

    def __init__(self, file: Path = FILE) -> None:
        self._kinds = read_json(file) if file.is_file() else {}

    def flags(self, command: Command) -> list[Flag]:
        """Return the flags of a command in their order, under the headings of its help."""
        if any(place not in self._kinds for place in command.arguments):
            return flags_of(command.kinds())
        several, found = len(command.arguments) > 1, []
        for kind in (self._kinds[place] for place in command.arguments):
            heading = {"group": kind["heading"]} if several else {}
            found += [Flag.of_plain({**flag, **heading}) for flag in kind["flags"]]
        return found


def content(commands: Sequence[Command] = COMMANDS) -> dict[str, Any]:
    """Return what the file should hold: ``{dataclass: {heading, flags}}``; imports all commands."""
    found = {}
    for command in commands:
        for place, kind in zip(command.arguments, command.kinds(), strict=True):
            found[place] = {"heading": heading_of(kind), "flags": [flag.plain() for flag in flags_of([kind])]}
    return dict(sorted(found.items()))


def main() -> None:
    """Write the file."""
    write_json(FILE, content())


if __name__ == "__main__":
    main()
