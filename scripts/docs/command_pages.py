"""The pages of the site about commands, made of the dataclasses that make the commands' flags."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterable
from pathlib import Path

from gpt4scene.commands import COMMANDS, Command
from gpt4scene.settings.arguments import hints_of

NAMES = {str: "text", int: "whole number", float: "number", bool: "yes or no"}


def pages(root: Path) -> dict[str, str]:
    """Return path below ``docs/`` -> Markdown: a page for every command, and one that lists them."""
    found = {"commands/index.md": overview()}
    for command in COMMANDS:
        found[f"commands/{command.name}.md"] = page(command, examples(command.name, root))
    return found


def overview() -> str:
    """Return the list of all commands."""
    rows = "\n".join(f"| [`gpt4scene {one.name}`]({one.name}.md) | {cell(one.does)} |" for one in COMMANDS)
    return (
        "# Commands\n\nOne program, `gpt4scene`, does everything. Each page below is made from the program itself, "
        "with every flag, its values and its default.\n\n"
        f"| command | does |\n|---|---|\n{rows}\n"
        "| `gpt4scene completion bash` | prints what completes commands and flags in bash, zsh or fish |\n\n"
        "Flags of all commands follow the same rules:\n\n"
        "- `--flag value` and `--flag=value` mean the same. Hyphens are taken for underscores.\n"
        "- A flag that is yes or no needs no value: `--overwrite` is `--overwrite true`.\n"
        "- Several words after one flag are a list, where the flag takes one.\n"
        "- A wrong flag is refused before any work starts, with the nearest right one.\n\n"
        "[Exit statuses](../exit-statuses.md) says what a command returns to the shell.\n"
    )


def page(command: Command, shown: Iterable[tuple[str, str]]) -> str:
    """Return the page of one command; ``shown`` are pairs of a command line and the page where it stands."""
    parts = [f"# gpt4scene {command.name}", cell(command.does, table=False).capitalize() + "."]
    parts += [command.more] if command.more else []
    shown = list(shown)
    if shown:
        lines = "\n".join(f"{line}     # {where}" for line, where in shown)
        parts.append(f"## Examples\n\nThe word behind `#` is the page that tells more.\n\n```bash\n{lines}\n```")
    kinds = command.kinds()
    for kind in kinds:
        title = "Flags" if len(kinds) == 1 else _title(kind)
        parts.append(f"## {title}\n\n{table(kind)}")
    if command.stopped:
        parts.append(f"## Stopped by Ctrl-C\n\n{command.stopped.capitalize()}.")
    return "\n\n".join(parts) + "\n"


def _title(kind: type) -> str:
    return kind.__name__.removesuffix("Arguments") + " keys"


def table(kind: type) -> str:
    """Return the table of a dataclass's flags."""
    hints = hints_of(kind)
    rows = ["| flag | values | left out | what it does |", "|---|---|---|---|"]
    for one in dataclasses.fields(kind):
        names = ", ".join(f"`--{name}`" for name in (one.name, *one.metadata["also"]))
        values = cell(values_of(hints[one.name]) + range_of(one))
        rows.append(f"| {names} | {values} | {default_of(one)} | {cell(one.metadata['help'])} |")
    return "\n".join(rows)


def values_of(hint: object) -> str:
    """Return in words what a flag of this type takes."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    inside = [one for one in typing.get_args(hint) if one is not type(None)]
    if typing.get_origin(hint) in (list, tuple):
        return f"list: {values_of(inside[0])}"
    if inside:
        return " or ".join(dict.fromkeys(values_of(one) for one in inside))
    return NAMES.get(hint, "text")  # pyright: ignore[reportArgumentType]


def range_of(one: dataclasses.Field) -> str:
    """Return the range of a number, empty where there is none."""
    least, most = one.metadata["least"], one.metadata["most"]
    if least is not None and most is not None:
        return f", {least} to {most}"
    return f", at least {least}" if least is not None else f", at most {most}" if most is not None else ""


def default_of(one: dataclasses.Field) -> str:
    """Return what holds where the flag is left out."""
    if one.default_factory is not dataclasses.MISSING:
        return " ".join(f"`{value}`" for value in one.default_factory())
    if one.default is dataclasses.MISSING:
        return "**needed**"
    if one.default is None or one.default in ("", ()):
        return ""
    return f"`{str(one.default).lower() if isinstance(one.default, bool) else one.default}`".replace("|", r"\|")


def cell(text: str, table: bool = True) -> str:
    """Return ``text`` safe in Markdown: marks of HTML as letters, and in a table no line ends or bars."""
    text = " ".join(text.split())
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([<*_])", r"\\\1", part) for part in parts[::2]]
    text = "".join(parts)
    return text.replace("|", r"\|") if table else text


def examples(name: str, root: Path, most: int = 6) -> list[tuple[str, str]]:
    """Return lines ``gpt4scene NAME …`` of the README and the pages, each with the page where it stands first."""
    found: dict[str, str] = {}
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        blocks = re.findall(r"^```(?:bash)?\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        for line in "".join(blocks).splitlines():
            words = re.sub(r"\s+#.*", "", line).strip()
            if words.startswith(f"gpt4scene {name} ") and "…" not in words and not words.endswith(("\\", "&")):
                found.setdefault(words, path.stem)
    return list(found.items())[:most]
