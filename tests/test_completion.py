"""Completion scripts, run by the shells themselves: commands, flags, choices and files."""

import shutil
import subprocess

import pytest

from gpt4scene.cli import main
from gpt4scene.commands import COMMANDS
from gpt4scene.completion import SHELLS, bash, fish, zsh

ASKED = {
    "gpt4scene in": {"infer"},
    "gpt4scene --quiet pre": {"prepare"},
    "gpt4scene completion z": {"zsh"},
    "gpt4scene infer --eng": {"--engine"},
    "gpt4scene infer --engine ": {"local", "server"},
    "gpt4scene infer --dtype fl": {"float32", "float16"},
    "gpt4scene train --learning_r": {"--learning_rate"},
    "gpt4scene train --stage d": {"dpo"},
    "gpt4scene score --predictions my": {"my answers/"},
    "gpt4scene train my_c": {"my_config.yaml"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my answers").mkdir()
    (tmp_path / "my_config.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_names_every_command_and_flag(capsys):
    for shell, write in SHELLS.items():
        assert main(["completion", shell]) == 0
        script = capsys.readouterr().out
        assert script == write(COMMANDS)
        for word in (*(command.name for command in COMMANDS), "scene_packing", "annotation_dir", "learning_rate"):
            assert word in script
    assert main(["completion", "tcsh"]) == 2


def test_bash_completes_as_the_script_says(folder):
    """``compgen`` stands for readline, which falls back to names of files where a function gives nothing."""
    asks = "\n".join(f"ask {line!r}" for line in ASKED)
    code = f"""
    source ./script
    ask() {{
        local line="$1"; COMP_WORDS=($line); [[ $line == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); _gpt4scene
        if (( ${{#COMPREPLY[@]}} == 0 )); then
            local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"))
        fi
        local IFS='|'; echo "${{COMPREPLY[*]}}"
    }}
    {asks}
    COMP_WORDS=(gpt4scene infer --engine = s); COMP_CWORD=4; _gpt4scene; echo "${{COMPREPLY[*]}}"
    """
    (folder / "script").write_text(bash(COMMANDS))
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    *answers, after_equals = done.stdout.splitlines()
    assert after_equals == "server"
    for (line, expected), answer in zip(ASKED.items(), answers, strict=True):
        found = {f"{one}/" if (folder / one).is_dir() else one for one in answer.split("|")}
        assert expected <= found, (line, answer)
        assert len(found) < 4, line


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_as_the_script_says(folder):
    """A terminal of its own is asked: ``zpty`` types the words and a tab."""
    (folder / "script").write_text(zsh(COMMANDS))
    code = """
    zmodload zsh/zpty
    zpty ask zsh -f -i
    zpty -w ask "PS1=; autoload -U compinit; compinit -u -d $PWD/dump; source ./script"
    zpty -w ask "bindkey '^I' list-choices; clear"
    sleep 2
    zpty -w -n ask $'gpt4scene infer --engine \\t'; sleep 1
    zpty -w -n ask $'\\x15gpt4scene exp\\t'; sleep 1
    zpty -w -n ask $'\\x15gpt4scene train --lora_r\\t'; sleep 1
    zpty -r -t ask text; while zpty -r -t ask more; do text+=$more; done; print -r -- $text
    """
    done = subprocess.run(["zsh", "-f", "-c", code], capture_output=True, text=True, timeout=60)
    for word in ("local", "server", "export", "--lora_rank"):
        assert word in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_as_the_script_says(folder):
    (folder / "script").write_text(fish(COMMANDS))
    asks = "\n".join(f"complete --do-complete {line!r}; echo ---" for line in ASKED)
    done = subprocess.run(["fish", "-N", "-c", f"source ./script\n{asks}"], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    for (line, expected), answer in zip(ASKED.items(), done.stdout.split("---\n"), strict=False):
        assert expected <= {one.partition("\t")[0] for one in answer.splitlines()}, (line, answer)
