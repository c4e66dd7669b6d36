"""Pages of commands and of Python say what the code says, and text from the code cannot break a page."""

import dataclasses
import re

import pytest
from doc_pages import ROOT, maker

from gpt4scene.commands import COMMANDS
from gpt4scene.scenes.prepare_arguments import PrepareArguments
from gpt4scene.settings.arguments import TuningArguments, key

command_pages, module_pages = maker("command_pages"), maker("module_pages")


@dataclasses.dataclass(frozen=True)
class Odd:
    names: list[str] = key("A <b> of a|b_c, `x|y`.", ["all", "none"], also=("old",))
    share: float | None = key("Half.", None, least=0, most=1)


def test_a_table_has_every_flag_with_values_default_and_sentence():
    text = command_pages.table(PrepareArguments)
    assert {f"`--{one.name}`" for one in dataclasses.fields(PrepareArguments)} <= set(re.findall("`--[a-z_]+`", text))
    assert "| `--frames` | whole number, at least 1 | `32` | frames of each scene" in text
    assert (
        "| `--frame_choice` | `even`, `coverage` | `even` |" in text
        and "| `--scans` | list: text | **needed** |" in text
    )
    assert "| `--scene_packing` | whole number or `auto`, at least 1 | `1` |" in command_pages.table(TuningArguments)


def test_odd_texts_stay_in_their_cell():
    rows = command_pages.table(Odd).splitlines()
    assert rows[2] == r"| `--names`, `--old` | list: text | `all` `none` | A \<b> of a\|b\_c, `x\|y`. |"
    assert rows[3] == "| `--share` | number, 0 to 1 |  | Half. |"


def test_examples_of_a_command_come_from_the_pages():
    found = command_pages.examples("prepare", ROOT)
    assert found and all(line.startswith("gpt4scene prepare ") and "#" not in line for line, _ in found)
    assert command_pages.examples("nothing", ROOT) == []


@pytest.mark.slow
def test_every_command_has_a_page():
    made = command_pages.pages(ROOT)
    assert set(made) == {"commands/index.md", *(f"commands/{one.name}.md" for one in COMMANDS)}
    assert all(f"]({one.name}.md)" in made["commands/index.md"] for one in COMMANDS)


CODE = '''"""About <things>."""

class Box:
    """A box.

        x = 1

    Sizes in ``metres``.
    """

    size: float

    @property
    def volume(self) -> float:
        """The *volume*."""

    def _hidden(self): ...


def cut(box: Box, *, at: float = 0.5) -> list[Box]:
    """Return `pieces` of ``box_N``, never <b>."""


def without_docstring(): ...
'''


def test_python_pages_have_signatures_and_docstrings(tmp_path):
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms" / "__init__.py").write_text('"""Rooms."""')
    (tmp_path / "rooms" / "boxes.py").write_text(CODE)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "__init__.py").write_text('"""Left out."""')
    made = module_pages.pages(tmp_path)
    assert set(made) == {"python/index.md", "python/rooms.md"} and "| Rooms. | 2 |" in made["python/index.md"]
    text = made["python/rooms.md"]
    for part in (
        "## rooms.boxes\n\nAbout \\<things>.",
        "### Box\n\n`class Box(size: float)`\n\nA box.\n\n```text\nx = 1\n```\n\nSizes in `metres`.",
        "- `volume -> float`: The \\*volume\\*.",
        "### cut\n\n`cut(box: Box, *, at: float=0.5) -> list[Box]`\n\nReturn `pieces` of `box_N`, never \\<b>.",
    ):
        assert part in text, part
    assert "hidden" not in text and "without_docstring" not in text


def test_the_package_has_pages():
    made = module_pages.pages(ROOT / "src" / "gpt4scene")
    assert {"python/metrics.md", "python/scans.md", "python/types.md"} <= set(made)
    assert "### intervals" in made["python/metrics.md"]
