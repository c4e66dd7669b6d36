"""The text that ``--help`` prints: usage, examples, flags under their headings, as wide as the terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence

from gpt4scene.settings.flag_list import Flag

FALLBACK, LEAST, MOST = 110, 40, 120
"""Columns where there is no terminal; the narrowest and the widest text in columns."""
COLUMN = 34  # where sentences begin, beside flags
NARROW = 70  # columns below which sentences stand under their flags
NEEDED, OPTIONS = "Needed", "Options"
KEPT = "\N{NO-BREAK SPACE}"  # a space that no line ends at
EVERYWHERE = (
    Flag("-v, --verbose", "", "Say more: versions, every setting in effect, time and memory, tracebacks of errors."),
    Flag("--quiet", "", "Print results, warnings and errors only."),
    Flag("--json", "", "Print the result as one JSON object on standard output; as quiet as --quiet."),
    Flag("-h, --help", "", "Print this text."),
)
"""The flags that every command has."""


def width() -> int:
    """Return the columns that text may take: those of the terminal (or ``COLUMNS``), within limits."""
    columns = FALLBACK
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        columns = shutil.get_terminal_size((FALLBACK, 24)).columns
    return min(max(columns, LEAST), MOST)


def help_text(
    flags: Sequence[Flag],
    program: str,
    about: str,
    examples: Sequence[str] = (),
    everywhere: Sequence[Flag] = (),
    further: str = "",
    words: str = "",
) -> str:
    """Return the help of ``program``, without a line break at its end.

    ``about`` may hold several paragraphs. ``everywhere`` are flags that are named as they are typed. ``further`` is a
    paragraph under the flags. ``words`` stand in the usage before the flags, as in ``[CONFIG.yaml]``.
    """
    columns = width()
    blocks = [_usage(flags, program, words, columns)]
    blocks += [_filled(paragraph, columns) for paragraph in about.split("\n\n") if paragraph]
    if examples:
        blocks.append("\n".join(["Examples", *(_example(line, columns) for line in examples)]))
    for heading, members in _groups(flags, "Needed, here or in the file" if words.startswith("[") else NEEDED):
        lines = [line for flag in members for line in _lines(f"--{flag.name}", flag, columns)]
        blocks.append("\n".join([_filled(heading, columns), *lines]))
    if further:
        blocks.append(_filled(further, columns))
    if everywhere:
        lines = [line for flag in everywhere for line in _lines(flag.name, flag, columns)]
        blocks.append("\n".join(["Every command", *lines]))
    return "\n\n".join(blocks)


def _usage(flags: Sequence[Flag], program: str, words: str, columns: int) -> str:
    """Return the first lines of a help: a flag stays beside its value, and one that ``words`` give is left out."""
    needed = [flag for flag in flags if flag.needed and flag.name.upper() not in words and not words.startswith("[")]
    parts = [f"usage: {program}", words, *(f"--{flag.name} {flag.takes}" for flag in needed), "[--flag value ...]"]
    kept = " ".join(part.replace(" ", KEPT) for part in parts if part)
    return _filled(kept, columns, "  ").replace(KEPT, " ")


def _example(line: str, columns: int) -> str:
    """Return a call, on several lines as a shell reads them where one is too narrow."""
    words = [word.strip() for word in re.split(r" (?=--)", line)]
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 5 <= columns:
            lines[-1] += f" {word}"
        else:
            lines.append(f"    {word}")
    return "  " + " \\\n  ".join(lines)


def columns_text(rows: Sequence[tuple[str, str]], column: int = 14) -> str:
    """Return rows of a word and a sentence, the sentences below each other from ``column`` on."""
    return "\n".join(line for word, sentence in rows for line in _row(word, sentence, width(), column))


def _groups(flags: Sequence[Flag], needed: str) -> list[tuple[str, list[Flag]]]:
    """Return headings with their flags: what is needed first, then the headings in the order they come in."""
    plain = not any(flag.group for flag in flags)
    groups: dict[str, list[Flag]] = {needed: [flag for flag in flags if flag.needed]}
    for flag in flags:
        if not flag.needed:
            groups.setdefault(flag.group or (OPTIONS if plain else "Further options"), []).append(flag)
    return [(heading, members) for heading, members in groups.items() if members]


def _lines(name: str, flag: Flag, columns: int) -> list[str]:
    sentence = flag.help
    if flag.choices and flag.choices != ("true", "false"):
        sentence += f" [choices: {', '.join(flag.choices)}]"
    if flag.default is not None:
        sentence += f" [default: {flag.default}]"
    return _row(f"{name} {flag.takes}".rstrip(), sentence, columns, COLUMN)


def _row(word: str, sentence: str, columns: int, column: int) -> list[str]:
    if columns < NARROW:
        return [f"  {word}", *textwrap.wrap(sentence, columns - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    wrapped = textwrap.wrap(sentence, columns - column, break_long_words=False, break_on_hyphens=False) or [""]
    if len(word) + 4 > column:
        return [f"  {word}", *(" " * column + line for line in wrapped)]
    return [(f"  {word}".ljust(column) + wrapped[0]).rstrip(), *(" " * column + line for line in wrapped[1:])]


def _filled(text: str, columns: int, indent: str = "") -> str:
    return textwrap.fill(text, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
