"""Scripts that complete commands, flags, choices and files in a shell. They ask nothing while one types."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from gpt4scene.commands import Command
from gpt4scene.listing import Listing
from gpt4scene.settings.flag_list import Flag
from gpt4scene.settings.training_keys import training_names

EVERYWHERE = ("--help", "--verbose", "--quiet", "--json")
ONLY_FIRST = ("--version",)
COMPLETION = "completion"
DOES = "print the completion script of a shell: bash, zsh, fish"

_BASH = """\
# Completion of gpt4scene for bash: source this, or add to ~/.bashrc:  eval "$(gpt4scene completion bash)"
_gpt4scene() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="" command="" flags="" values="" word
    COMPREPLY=()
    if (( COMP_CWORD > 0 )); then prev="${COMP_WORDS[COMP_CWORD-1]}"; fi
    if [[ $cur == "=" ]]; then cur=""
    elif [[ $prev == "=" ]] && (( COMP_CWORD > 1 )); then prev="${COMP_WORDS[COMP_CWORD-2]}"; fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word != -* ]]; then command=$word; break; fi
    done
    if [[ -z $command ]]; then
        COMPREPLY=($(compgen -W "@FIRST@" -- "$cur"))
        return
    fi
    case $command in
@FLAGS@
    esac
    case "$command $prev" in
@VALUES@
    esac
    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ -n $values ]]; then COMPREPLY=($(compgen -W "$values" -- "$cur")); fi
}
complete -o default -F _gpt4scene gpt4scene
"""
_ZSH = """\
#compdef gpt4scene
# Completion of gpt4scene for zsh: add to ~/.zshrc after compinit:  eval "$(gpt4scene completion zsh)"
_gpt4scene() {
    local command="" word
    local -a flags values first
    first=(
@FIRST@
    )
    for word in "${(@)words[2,CURRENT-1]}"; do
        if [[ $word != -* ]]; then command=$word; break; fi
    done
    if [[ -z $command ]]; then
        _describe -V command first
        return
    fi
    case $command in
@FLAGS@
    esac
    case "$command ${words[CURRENT-1]}" in
@VALUES@
    esac
    if [[ $PREFIX == -* ]]; then _describe -V -o flag flags
    elif (( $#values )); then compadd -V values -a values
    else _files; fi
}
if [[ ${funcstack[1]} == _gpt4scene ]]; then _gpt4scene "$@"; else compdef _gpt4scene gpt4scene; fi
"""


def bash(commands: Sequence[Command]) -> str:
    """Return the script for bash, 3.2 and later."""
    named = _named(commands)
    first = " ".join([*(name for name, _ in _first(commands)), *EVERYWHERE, *ONLY_FIRST])
    flags = [
        f'        {name}) flags="{" ".join(f"--{flag.name}" for flag in found)}";;' for name, found in named.items()
    ]
    return _filled(_BASH, first, flags, _values(named, '"{}"'))


def zsh(commands: Sequence[Command]) -> str:
    """Return the script for zsh, which shows the sentence of each flag as well."""
    named = _named(commands)
    first = [f"        {_described(name, does)}" for name, does in _first(commands)]
    first += [f"        {name}" for name in (*EVERYWHERE, *ONLY_FIRST)]
    flags = [
        f"        {name}) flags=({' '.join(_described(f'--{flag.name}', flag.help) for flag in found)});;"
        for name, found in named.items()
    ]
    return _filled(_ZSH, "\n".join(first), flags, _values(named, "({})"))


def fish(commands: Sequence[Command]) -> str:
    """Return the script for fish."""
    lines = ["# Completion of gpt4scene for fish: save as ~/.config/fish/completions/gpt4scene.fish"]
    for name, does in _first(commands):
        lines.append(f"complete -c gpt4scene -n __fish_use_subcommand -f -a {name} -d {_quoted(does)}")
    lines += [f"complete -c gpt4scene -n __fish_use_subcommand -l {name[2:]}" for name in ONLY_FIRST]
    lines += [f"complete -c gpt4scene -l {name[2:]}" for name in EVERYWHERE]
    for name, found in _named(commands).items():
        where = f"complete -c gpt4scene -n '__fish_seen_subcommand_from {name}'"
        for flag in found:
            if f"--{flag.name}" in EVERYWHERE and not flag.takes:
                continue
            values = f" -x -a {_quoted(' '.join(flag.choices))}" if flag.choices else " -r -F"
            lines.append(f"{where} -l {flag.name}{values} -d {_quoted(flag.help)}")
    lines.append(f"complete -c gpt4scene -n '__fish_seen_subcommand_from {COMPLETION}' -f -a '{' '.join(SHELLS)}'")
    return "\n".join(lines) + "\n"


SHELLS: Mapping[str, Callable[[Sequence[Command]], str]] = MappingProxyType({"bash": bash, "zsh": zsh, "fish": fish})


def _first(commands: Sequence[Command]) -> list[tuple[str, str]]:
    return [*((command.name, command.does) for command in commands), (COMPLETION, DOES)]


def _named(commands: Sequence[Command]) -> dict[str, list[Flag]]:
    """Return the flags of every command, those that all have among them."""
    listing, found = Listing(), {}
    for command in commands:
        flags = listing.flags(command)
        known = {flag.name for flag in flags}
        if command.raw:
            flags += [Flag(name, "STR", "a key of transformers") for name in training_names() if name not in known]
        wide = [name[2:] for name in EVERYWHERE if command.json or name != "--json"]
        found[command.name] = [*flags, *(Flag(name, "", "for every command") for name in wide if name not in known)]
    return found


def _values(named: Mapping[str, Sequence[Flag]], form: str) -> list[str]:
    """Return the cases of bash and zsh that set ``values`` to a flag's choices; ``form`` is the list of a shell."""
    choices = {f"{name} --{flag.name}": flag.choices for name, found in named.items() for flag in found if flag.choices}
    choices[f"{COMPLETION} {COMPLETION}"] = tuple(SHELLS)
    return [f'        "{words}") values={form.format(" ".join(one))};;' for words, one in choices.items()]


def _filled(script: str, first: str, flags: Sequence[str], values: Sequence[str]) -> str:
    for name, text in {"FIRST": first, "FLAGS": "\n".join(flags), "VALUES": "\n".join(values)}.items():
        script = script.replace(f"@{name}@", text)
    return script


def _described(name: str, sentence: str) -> str:
    """Return a word and its sentence as zsh reads them, colons of its own escaped."""
    return shlex.quote(f"{name}:{sentence}") if sentence else name


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
