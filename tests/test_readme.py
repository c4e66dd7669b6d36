"""Commands of the README and all pages work: files exist, flags are known, values can be, settings parse."""

import json
import re

import pytest
import yaml
from doc_pages import blocks, commands, pages

from gpt4scene.commands import COMMANDS as ENTRIES
from gpt4scene.errors import ConfigError
from gpt4scene.settings import flags
from gpt4scene.settings.config import parse
from gpt4scene.wide_flags import taken_off

COMMANDS = {command.name: command for command in ENTRIES}
UNSET = ("…", "$")
"""Marks of a line that leaves something to its reader: only its flags' names are looked at."""
EVERYWHERE = {"--help", "--full"}
"""Flags that a command takes beside those of its arguments, and beside those that are taken off first."""
LEAST = ("--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o")
"""What a reader's own YAML says at least."""
DOCTOR = ("train", "infer", "prepare")
"""Commands whose flags ``doctor`` takes."""


def own_flags(name):
    kinds = [kind for one in (DOCTOR if name == "doctor" else (name,)) for kind in COMMANDS[one].kinds()]
    fields = [field for kind in kinds for field in kind.__dataclass_fields__.values()]
    return {word for field in fields for word in (field.name, *field.metadata["also"])}


def check_ours(name, words):
    """Read the words of a command as the command does, as far as they are all there."""
    assert name in COMMANDS, f"{name} is no command"
    command = COMMANDS[name]
    own = own_flags(name)
    words, _ = taken_off(words, own)
    given = {f"--{word[2:].partition('=')[0].replace('-', '_')}" for word in words if word.startswith("--")}
    if name == "train":
        if "--from" not in given:
            parse([*LEAST, *words[1:]] if words[0] == "run.yaml" else words)
        return
    if name == "export" and words[0].endswith(".yaml"):
        return
    known = {f"--{word}" for word in own} | EVERYWHERE
    assert given <= known, f"{given - known} of {name}"
    whole = not any(mark in word for word in words for mark in UNSET)
    if whole and not command.raw and "--help" not in given:
        words = command.flags_of(words)
        try:
            flags.read(command.kinds()[0], words, name)
        except ConfigError as error:  # readers' files are not here
            others = [one for one in error.problems if "there is no such" not in one]
            if others:
                raise ConfigError(*others) from None


def check_script(root, words):
    """A script of ours exists, and so do the example files that it gets; flags of a Python one stand in it."""
    path = root / words[0]
    if words[0] == "-m":
        path = root / "src" / (words[1].replace(".", "/") + ".py")
    assert path.is_file(), words[0]
    text = path.read_text(encoding="utf-8")
    for word in words[1:]:
        flag = word.partition("=")[0]
        if path.suffix == ".py" and flag.startswith("--"):
            assert re.search(rf"\b{flag[2:]}\b", text), f"{flag} of {path.name}"
        elif word.endswith((".yaml", ".json")) and word.startswith("examples/"):
            assert (root / word).is_file(), word


def check(root, words):
    program, *rest = words
    if program in ("torchrun", "accelerate"):
        files = [word for word in rest if word.startswith("examples/")]
        assert all((root / file).is_file() for file in files), files
        assert parse(rest[rest.index("src/train.py") + 1 :]).model.model_name_or_path
    elif program == "srun":
        check(root, words[words.index("gpt4scene" if "gpt4scene" in words else "bash") :])
    elif program == "sbatch":
        check_script(root, [word for word in rest if not re.match(r"--(array|nodes|gres|ntasks)", word)])
    elif program in ("bash", "python"):
        check_script(root, rest)
    elif not rest[0].startswith("--") and rest[0] != "completion":
        check_ours(rest[0], rest[1:])


@pytest.mark.slow
def test_commands_of_all_pages_are_taken(root, monkeypatch):
    monkeypatch.chdir(root)
    wrong, checked = [], 0
    for page in pages():
        for place, words in commands(page):
            checked += 1
            try:
                check(root, words)
            except (AssertionError, ConfigError, ValueError) as error:
                wrong.append(f"{place}: {' '.join(words)}\n    {error}")
    assert not wrong, "\n".join(wrong)
    assert checked > 100 and sum(1 for _ in commands(root / "README.md")) > 10


def test_a_command_that_does_not_exist_is_found(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    for words in (["gpt4scene", "fly"], ["gpt4scene", "score", "--prediction", "a"], ["bash", "scripts/nothing.sh"]):
        with pytest.raises((AssertionError, ConfigError)):
            check(root, words)


@pytest.mark.slow
def test_yaml_and_json_snippets_are_read(tmp_path):
    """A YAML snippet of a training file is read as the command reads it, with what every file needs beside it."""
    least = {LEAST[place].removeprefix("--"): LEAST[place + 1] for place in range(0, len(LEAST), 2)}
    found = [block for page in pages() for block in blocks(page, "json", "yaml")]
    for block in found:
        if block.language == "json":
            json.loads(block.text)
            continue
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump(least | yaml.safe_load(block.text)), encoding="utf-8")
        assert parse([str(file)]).model.model_name_or_path, block.place
    assert len(found) >= 6
