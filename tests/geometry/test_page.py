"""The page on geometry: its code runs and prints questions, and its figures are those of the data files."""

import contextlib
import io
import re

import pytest

from gpt4scene.geometry.asking import read_data
from gpt4scene.geometry.rules import read_rules


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "geometry.md").read_text(encoding="utf-8")


def test_the_example_prints_questions_with_their_answers(page):
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "geometry.md", "exec"), {})
    lines = out.getvalue().splitlines()
    assert len(lines) > 8 and any("object_rel_direction" in line for line in lines)
    assert any(line[-3:] in (") A", ") B", ") C", ") D") for line in lines)
    assert "more than asked for" in lines[-1]


def test_names_of_rules_and_numbers_of_labels_are_those_of_the_files(page):
    assert all(f"`{name}`" in page for name in read_rules())
    sizeless = [label for line in read_data("labels.yaml")["sizeless"] for label in line]
    assert f"({len(sizeless)} names" in page
