"""The program ``gpt4scene``: one command per stage, and the one door through which all of them end.

Exit status: 0 done, 1 the work failed, 2 the call was wrong, 130 Ctrl-C, 143 SIGTERM. Results go to stdout, talk to
stderr. A mistake of the user is one sentence; ``GPT4SCENE_DEBUG=1`` shows the traceback as well. Commands are imported
when they are called, so that ``--help`` needs neither torch nor time.
"""

from __future__ import annotations

import itertools
import logging
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

from gpt4scene import __version__, talk
from gpt4scene.commands import COMMANDS, EXTRAS, FURTHER, Command
from gpt4scene.errors import ConfigError, DataError, Stopped, WorkError
from gpt4scene.launched import alike
from gpt4scene.listing import Listing
from gpt4scene.registry import nearest
from gpt4scene.settings.flag_list import Flag, refuse_wrong_flags
from gpt4scene.signals import Requests
from gpt4scene.wide_flags import NAMES as WIDE
from gpt4scene.wide_flags import taken_off

if TYPE_CHECKING:
    from types import FrameType

DONE, FAILED, WRONG_CALL = 0, 1, 2
BEFORE = ("--help", "--version", *(f"--{name}" for name in WIDE))
SLOW = 0.5  # seconds of importing or silent work after which that is said


def usage() -> str:
    """Return the help text of the program."""
    from gpt4scene.completion import COMPLETION, DOES
    from gpt4scene.settings import help_text

    rows = [*((command.name, command.does) for command in COMMANDS), (COMPLETION, DOES)]
    wide = [(f"{flag.name}", flag.help) for flag in help_text.EVERYWHERE]
    return "\n".join(
        [
            "usage: gpt4scene COMMAND [--flag value ...]     (gpt4scene COMMAND --help lists its flags)",
            *("", "Commands", help_text.columns_text(rows)),
            *("", "Every command", help_text.columns_text([*wide, ("-V, --version", "Print the version.")], 18)),
            *("", "Examples", "  gpt4scene demo", "  gpt4scene doctor", "  gpt4scene infer --help"),
        ]
    )


def main(argv: Sequence[str] | None = None, defaults: Mapping[str, str] | None = None) -> int:
    """Run the command that ``argv`` names and return the exit status.

    ``defaults`` are values of flags that are left out, by name without dashes.
    """
    talk.ready_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _dispatch(words, defaults or {}), _stopped_of(words))


def _stopped_of(words: Sequence[str]) -> str:
    """Return what Ctrl-C leaves behind, of the command that ``words`` name."""
    return next((command.stopped for word in words for command in COMMANDS if command.name == word), "")


def _dispatch(words: Sequence[str], defaults: Mapping[str, str]) -> int:
    before = list(itertools.takewhile(lambda word: word.startswith("-"), words))
    if {"-V", "--version"} & set(before):
        talk.result(__version__)
        return DONE
    if {"-h", "--help"} & set(before) or words[len(before) :][:1] == ["help"]:
        print(usage())
        return DONE
    if len(before) == len(words):
        taken, _ = taken_off(before)
        for word in taken:
            talk.error(f"'{word}' is no flag of every command{nearest(word, list(BEFORE))}")
        print(usage(), file=sys.stderr)
        return WRONG_CALL
    name, words = words[len(before)], [*before, *words[len(before) + 1 :]]
    if name == "completion":
        return completion(words)
    commands = {command.name: command for command in COMMANDS}
    if name not in commands:
        known = nearest(name, [*commands, "completion"])
        print(f"error: '{name}' is no command{known}\n\n{usage()}", file=sys.stderr)
        return WRONG_CALL
    if {"-h", "--help"} & set(words):
        return _help(commands[name], defaults)
    return _run(commands[name], words, defaults)


def _run(command: Command, words: Sequence[str], defaults: Mapping[str, str]) -> int:
    """Do the work of a command, with the talk and the form of result that the flags of every command ask for."""
    flags = Listing().flags(command)
    words, wide = alike(lambda: taken_off(words, [flag.name for flag in flags if flag.name in WIDE]))
    if wide.json and not command.json:
        raise ConfigError(f"gpt4scene {command.name} has no result that --json could print; leave it out")
    with talk.level(wide.level), talk.result_as_json() if wide.json else nullcontext(), _told(command):
        words = alike(lambda: _looked_at(command, words, flags, defaults))
        with _says_what_takes_long(command.loading() or command.begins) as timer:
            work = alike(lambda: command.ready(words, defaults))
            if command.imports:
                timer.cancel()
            return work()


def _looked_at(
    command: Command, words: Sequence[str], flags: Sequence[Flag], defaults: Mapping[str, str]
) -> Sequence[str]:
    """Return ``words`` as flags; one that is none is refused before anything is imported."""
    if command.raw:
        return words
    words = command.flags_of(words)
    example = command.examples[0] if command.examples else ""
    refuse_wrong_flags(flags, [*words, *(f"--{name}" for name in defaults)], example)
    return words


@contextmanager
def _told(command: Command) -> Iterator[None]:
    """Say under ``--verbose`` what works here, and at the end how long it took and the memory it held."""
    system = f"Python {platform.python_version()}, {platform.platform()}" if talk.verbose() else ""
    talk.detail(f"gpt4scene {__version__} {command.name}, {system}")
    start = time.monotonic()
    try:
        yield
    finally:
        talk.detail(f"{command.name} took {time.monotonic() - start:.1f} s{_memory()}")


def _memory() -> str:
    try:
        import resource
    except ImportError:  # on Windows
        return ""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f" and {most / 2**30:.2f} GiB of memory at most"


@contextmanager
def _says_what_takes_long(sentence: str) -> Iterator[threading.Timer]:
    """Say ``sentence``, if there is one, where what it is about takes longer than a moment; its timer can be ended."""
    timer = threading.Timer(SLOW, talk.say, (sentence,))
    timer.daemon = True
    if os.environ.get("RANK", "0") == "0" and sentence:
        timer.start()
    try:
        yield timer
    finally:
        timer.cancel()


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
    from gpt4scene.settings.flag_list import flags_of
    from gpt4scene.settings.help_text import EVERYWHERE, help_text

    def run() -> int:
        if {"-h", "--help"} & set(words):
            print(help_text(flags_of([kind]), program, about, everywhere=EVERYWHERE))
            return DONE
        kept, wide = taken_off(words)
        with talk.level(wide.level), talk.result_as_json() if wide.json else nullcontext():
            return work(flags.read(kind, kept, program))

    talk.ready_streams()
    return guarded(run, stopped)


def completion(words: Sequence[str]) -> int:
    """Print the script that completes commands and flags in a shell; ``source`` it, or add it to the start-up file."""
    from gpt4scene.completion import DOES, SHELLS

    if {"-h", "--help"} & set(words):
        print(f"usage: gpt4scene completion {'|'.join(SHELLS)}\n\n{DOES}, as in\n")
        print('  eval "$(gpt4scene completion bash)"\n  gpt4scene completion fish > completions/gpt4scene.fish')
        return DONE
    if len(words) != 1 or words[0] not in SHELLS:
        raise ConfigError(f"usage: gpt4scene completion {'|'.join(SHELLS)}")
    print(SHELLS[words[0]](COMMANDS), end="")
    return DONE


def _help(command: Command, defaults: Mapping[str, str]) -> int:
    from gpt4scene.settings.help_text import EVERYWHERE, help_text
    from gpt4scene.settings.training_keys import training_names

    flags, further = Listing().flags(command), ""
    if command.raw:
        own = {flag.name for flag in flags}
        further = FURTHER + ", ".join(name for name in training_names() if name not in own)
    about = f"{command.does}\n\n{command.more}" if command.more else command.does
    wide = [flag for flag in EVERYWHERE if flag.name != "--json" or command.json and "json" not in _names(flags)]
    print(help_text(flags, f"gpt4scene {command.name}", about, command.examples, wide, further, command.words))
    for name, value in defaults.items():
        print(f"left out, --{name} is {value}")
    return DONE


def _names(flags: Sequence[Flag]) -> set[str]:
    return {flag.name for flag in flags}


def guarded(work: Callable[[], int], stopped: str = "") -> int:
    """Do ``work`` and return its exit status; users' mistakes become sentences on stderr.

    ``stopped`` is said after Ctrl-C or SIGTERM. Errors that nobody foresaw keep their traceback.
    """
    # Said of every import of peft on some CPUs. Seen in 2026-11 with bitsandbytes 0.50; remove when it is silent.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    logging.getLogger("DeepSpeed").addFilter(_beside_results)
    try:
        with _signals_stop():
            status = work()
            sys.stdout.flush()
            return status
    except KeyboardInterrupt as stop:
        return _stopped(stop, stopped)
    except BrokenPipeError:  # the reader of our output has gone, as in `gpt4scene score … | head`
        return _unread()
    except ConfigError as error:
        return _say(error, WRONG_CALL)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gpt4scene"):
            raise
        return _say(error, FAILED)
    except (ValueError, OSError, WorkError) as error:
        return _say(error, FAILED)


def _unread() -> int:
    """Let nothing more be written to a reader that has gone, and return the exit status."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # no file of the system's
        return FAILED
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return FAILED


def _beside_results(record: logging.LogRecord) -> bool:
    """Say on stderr what DeepSpeed would write to stdout, where results go; that a CPU is no GPU needs no word."""
    if "Setting accelerator to CPU" not in record.getMessage():
        talk.say(record.getMessage())
    return False


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
    if not foreseen and not os.environ.get("GPT4SCENE_DEBUG") and not talk.verbose():
        print(f"{rank}(--verbose or GPT4SCENE_DEBUG=1 shows where this came from)", file=sys.stderr)
    return status


def _show_traceback() -> None:
    if os.environ.get("GPT4SCENE_DEBUG") or talk.verbose():
        traceback.print_exc()


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"the package '{error.name}' is not installed; {_extra_for(error.name or '')}"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return str(error) or type(error).__name__


def _extra_for(package: str) -> str:
    extra = EXTRAS.get(package, "torch")
    return f'install it with: pip install -c constraints.txt -e ".[{extra}]"'
