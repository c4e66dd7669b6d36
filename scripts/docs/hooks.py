"""What MkDocs asks while it builds the site: pages of commands and of Python are made anew each time, never stored."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import command_pages
import module_pages

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = {"Commands": "commands/", "Python": "python/"}
"""Sections of the navigation whose pages are made here -> the folder of the pages."""


@cache
def made() -> dict[str, str]:
    """Return path below ``docs/`` -> Markdown of every page that is made."""
    return command_pages.pages(ROOT) | module_pages.pages(ROOT / "src" / "gpt4scene")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that are made into the navigation."""
    paths = sorted(made())

    def fill(items: list) -> None:
        for item in items:
            for title, value in item.items() if isinstance(item, dict) else ():
                if title in SECTIONS:
                    inside = [path for path in paths if path.startswith(SECTIONS[title])]
                    value[:] = sorted(inside, key=lambda path: (not path.endswith("index.md"), path))
                elif isinstance(value, list):
                    fill(value)

    fill(config.nav or [])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made to those of the folder."""
    from mkdocs.structure.files import File

    for path, text in made().items():
        files.append(File.generated(config, path, content=text))
    return files
