"""Every command's examples are calls that it takes, and its help and completion know its flags."""

import shlex
import subprocess
import sys

import pytest

from gpt4scene.cli import main
from gpt4scene.commands import COMMANDS, Command
from gpt4scene.files.whole import read_json
from gpt4scene.listing import FILE, Listing, content
from gpt4scene.settings import flags
from gpt4scene.settings.arguments import Arguments
from gpt4scene.settings.config import parse
from gpt4scene.settings.flag_list import flags_of


def test_the_file_of_flags_is_up_to_date():
    assert read_json(FILE) == content(), "write it again: python -m gpt4scene.listing"


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_the_listed_flags_are_those_of_the_classes(command):
    assert Listing().flags(command) == flags_of(command.kinds())
    assert Listing(FILE.with_name("no_such_file.json")).flags(command) == flags_of(command.kinds())


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_examples_are_taken_as_they_are_typed(command, root, monkeypatch):
    assert 1 <= len(command.examples) <= 3
    monkeypatch.chdir(root)
    for line in command.examples:
        program, name, *words = shlex.split(line)
        assert (program, name) == ("gpt4scene", command.name)
        if command.raw:
            raw_example(words)
            continue
        (kind,) = command.kinds()
        words = command.flags_of(words)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "check", lambda self: None)  # its files are not there
            arguments = flags.read(kind, words, "try")
        assert not Arguments.problems(arguments), line


def raw_example(words):
    """What reads its words by itself is given them, but for files that only a run writes."""
    if words and words[0] == "--from":
        assert words[1].endswith("run.json") and words[2::2] == ["--output_dir"]
    elif words and not words[0].startswith("--"):
        assert parse(words).output_dir


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_help_is_as_wide_as_the_terminal_and_shows_examples(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in COMMANDS:
        assert main([command.name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: gpt4scene {command.name}") and "Examples\n  gpt4scene" in shown
        usage = shown.partition("\n\n")[0]
        assert "[--flag value ...]" in usage and ("SCENES" not in usage or "--scenes" not in usage)
        assert ("--json" in shown) == command.json and "--quiet" in shown
        for line in shown.splitlines():
            whole = " " not in line.strip(" \\") or line.startswith("  gpt4scene ")  # a word, the beginning of a call
            assert len(line) <= min(columns, 120) or whole, line


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.raw], ids=lambda one: one.name)
def test_a_flag_that_is_none_is_refused_before_anything_is_imported(command, monkeypatch, capsys):
    monkeypatch.setattr(Command, "ready", lambda *given: pytest.fail("imported"))
    monkeypatch.setattr(Command, "kinds", lambda *given: pytest.fail("imported"))
    assert main([command.name, "--no_such_flag", "1"]) == 2
    assert "--no_such_flag is not a flag" in capsys.readouterr().err
    if command.public:
        module, _, name = command.public.partition(":")
        loaded = f"from {module} import {name}; import sys; assert not {{'numpy', 'torch'}} & set(sys.modules)"
        assert subprocess.run([sys.executable, "-c", loaded], timeout=60).returncode == 0


def test_words_of_the_public_project_and_of_llamafactory_are_no_unknown_flags(monkeypatch, capsys):
    read = []
    monkeypatch.setattr(Command, "ready", lambda self, words, defaults: lambda: read.append(list(words)) or 0)
    assert main(["export", "--out=o", "--adapter_name_or_path=a", "--export_device=auto", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["export", "--out=o", "--quantization_bit", "4"]) == 2
    assert "is not supported: merging into a quantised base" in capsys.readouterr().err
    assert main(["infer", "config.py", "model_path", "m", "output_dir", "o", "anno_root", "a"]) == 0
    assert main(["ask", "A bed?", "--model", "m"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --scene is missing, as in: gpt4scene ask --model outputs/run --scene scenes/room")
    assert main(["view", "a", "b"]) == 0
    assert [words[0] for words in read] == ["--out=o", "--num_processes=1", "--scenes"]
