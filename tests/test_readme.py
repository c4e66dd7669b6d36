"""Commands of the README work: files exist, flags are known, training settings parse, links lead somewhere."""

import contextlib
import io
import re
import shlex

import pytest

from gpt4scene.cli import COMMANDS
from gpt4scene.cli import main as gpt4scene
from gpt4scene.settings.config import parse

ENVIRONMENT = {"git", "pip", "huggingface-cli"}
"""Programs of others, whose flags are not ours to check."""


def commands(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def help_of(command):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert gpt4scene([command, "--help"]) == 0
    return shown.getvalue()


def test_commands_are_known_and_their_files_exist(root, monkeypatch):
    monkeypatch.chdir(root)
    checked = 0
    for words in commands(root):
        program = words[0]
        if program in ENVIRONMENT:
            continue
        checked += 1
        if program in ("bash", "python"):
            assert (root / words[1]).is_file(), words
        elif program == "torchrun":
            assert parse(words[words.index("src/train.py") + 1 :]).model.model_name_or_path
        else:
            assert program == "gpt4scene" and words[1] in {command.name for command in COMMANDS}, words
            if words[1] == "train":
                assert parse(words[2:]).data.dataset
                continue
            known = help_of(words[1])
            for flag in words[2:]:
                assert not flag.startswith("--") or re.search(rf"{flag}\b", known), (words, flag)
    assert checked > 10


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(root, page):
    for target in re.findall(r"\]\(([^)#]+)\)", (root / page).read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (root / target).exists(), f"{page} links to {target}"
