"""The pages of the site about the Python package, made of its docstrings without importing it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"demo", "doctor", "report", "serve", "__main__", "__init__"}
"""Rooms that nobody calls from Python: their commands are what they offer."""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def pages(package: Path) -> dict[str, str]:
    """Return path below ``docs/`` -> Markdown: a page for every room of the package, and one that lists them."""
    found, rows = {}, []
    for place in sorted(package.iterdir()):
        name = place.stem
        if name in LEFT_OUT or not (place.suffix == ".py" or (place / "__init__.py").is_file()):
            continue
        files = [place] if place.is_file() else sorted(place.glob("*.py"))
        text, count = room(name, [path for path in files if path.stem != "__init__"], package)
        if count:
            found[f"python/{name}.md"] = text
            rows.append(f"| [`gpt4scene.{name}`]({name}.md) | {about(place)} | {count} |")
    table = "\n".join(["| part | about | functions and classes |", "|---|---|---|", *rows])
    return {"python/index.md": INDEX + table + "\n"} | found


INDEX = """# Python

The functions and classes of the package `gpt4scene`, from their docstrings. [Design](../design.md) says what each part
promises, and which one may import which. Names with a leading underscore are left out: they may change at any time.

Shape letters in names: B rows, L tokens, P patches, N boxes, H and W pixels, as in `boxes_N6`. Lengths are metres.
A mistake in a file raises `DataError`, a wrong call `ConfigError`, and a program that failed `WorkError`. The first two
are kinds of `ValueError`.

"""


def about(place: Path) -> str:
    """Return the first sentence of a module or folder's docstring."""
    path = place if place.is_file() else place / "__init__.py"
    return first_line(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")


def first_line(docstring: str) -> str:
    """Return the first paragraph of a docstring as one line of Markdown."""
    return " ".join(markdown(docstring).split("\n\n")[0].split()).replace("|", r"\|")


def room(name: str, files: list[Path], package: Path) -> tuple[str, int]:
    """Return a room's page and how many functions and classes stand on it."""
    parts, count = [f"---\nsearch:\n  boost: 0.5\n---\n\n# gpt4scene.{name}"], 0
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        entries = [entry(one) for one in public(tree.body)]
        if entries:
            dotted = ".".join(path.relative_to(package).with_suffix("").parts)
            parts += [f"## {dotted}", markdown(ast.get_docstring(tree) or ""), *entries]
            count += len(entries)
    return "\n\n".join(part for part in parts if part) + "\n", count


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield the definitions that have a docstring and no leading underscore."""
    for one in body:
        if isinstance(one, Definition) and not one.name.startswith("_") and ast.get_docstring(one):
            yield one


def entry(one: Definition) -> str:
    """Return a function's or class's part of the page; of a class with its fields and methods."""
    lines = [f"### {one.name}", f"`{signature(one)}`", markdown(ast.get_docstring(one) or "")]
    if isinstance(one, ast.ClassDef):
        methods = [
            f"- `{signature(method)}`: {first_line(ast.get_docstring(method) or '')}" for method in public(one.body)
        ]
        lines += ["\n".join(methods)] if methods else []
    return "\n\n".join(lines)


def signature(one: Definition) -> str:
    """Return a definition as it is called, with types and defaults."""
    if isinstance(one, ast.ClassDef):
        fields = [field for field in one.body if isinstance(field, ast.AnnAssign)]
        shown = ", ".join(f"{ast.unparse(field.target)}: {ast.unparse(field.annotation)}" for field in fields)
        return f"class {one.name}({shown})".replace("`", "")
    named = {ast.unparse(mark) for mark in one.decorator_list}
    back = f" -> {ast.unparse(one.returns)}" if one.returns else ""
    if "property" in named:
        return f"{one.name}{back}".replace("`", "")
    return f"{one.name}({ast.unparse(one.args)}){back}".replace("`", "")


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown: literals in single marks, letters that mean something to HTML as letters."""
    blocks = []
    for block in docstring.split("\n\n"):
        if re.match(r" {4}", block):
            blocks.append("```text\n" + "\n".join(line[4:] for line in block.splitlines()) + "\n```")
            continue
        parts = re.split(r"(``.+?``|`[^`]+`)", block, flags=re.DOTALL)
        parts[::2] = [re.sub(r"([<*_\[\]|])", r"\\\1", part) for part in parts[::2]]
        parts[1::2] = [f"`{part.strip('`')}`" for part in parts[1::2]]
        blocks.append("".join(parts))
    return "\n\n".join(blocks)
