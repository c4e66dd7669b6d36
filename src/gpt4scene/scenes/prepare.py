"""Scans to images: marked frames, a marked bird's-eye view, and the files that all later stages read."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gpt4scene import talk
from gpt4scene.files.scenes import write_split_files
from gpt4scene.progress import Progress
from gpt4scene.scans.readers import find_scans
from gpt4scene.scenes.prepare_arguments import PrepareArguments
from gpt4scene.scenes.prepare_scene import add_contact_sheet, prepare_scene
from gpt4scene.scenes.workers import in_processes


@dataclass
class PrepareReport:
    """Names of scenes by what became of them; ``failed`` has each scene's reason, ``warned`` what may be wrong.

    ``noted`` has what was left out or not found.
    """

    done: list[str] = field(default_factory=list)
    finished_before: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warned: dict[str, tuple[str, ...]] = field(default_factory=dict)
    noted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)


class SceneOutcome(NamedTuple):
    """What became of a scene: "done", "finished before" or "failed"; the reason of a failure; what is said of it."""

    name: str
    state: str
    reason: str = ""
    said: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def prepare(
    arguments: PrepareArguments,
    on_scene: Callable[[SceneOutcome], None] | None = None,
    on_start: Callable[[int], None] | None = None,
) -> PrepareReport:
    """Prepare every scan and write the split's files; broken scans are reported, the others go on.

    A scene whose ``scene.json`` exists is kept. ``on_start`` gets the number of scenes, ``on_scene`` each outcome.
    Raises ConfigError when an argument is wrong and DataError when a path holds no scan, before any work.
    """
    arguments.check()
    paths = find_scans(arguments.format, list(arguments.scans))[arguments.shard :: arguments.num_shards]
    if on_start is not None:
        on_start(len(paths))
    report = PrepareReport()
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    for outcome in _outcomes(arguments, paths):
        if outcome.state == "failed":
            report.failed[outcome.name] = outcome.reason
        else:
            (report.done if outcome.state == "done" else report.finished_before).append(outcome.name)
        if outcome.warnings:
            report.warned[outcome.name] = outcome.warnings
        if outcome.notes:
            report.noted[outcome.name] = outcome.notes
        if on_scene is not None:
            on_scene(outcome)
    for names in (report.done, report.finished_before):
        names.sort()
    report.failed, report.warned = dict(sorted(report.failed.items())), dict(sorted(report.warned.items()))
    report.noted = dict(sorted(report.noted.items()))
    report.written = write_split_files(Path(arguments.out), arguments.split, arguments.frames)
    return report


def _outcomes(arguments: PrepareArguments, paths: Sequence[Path]) -> Iterator[SceneOutcome]:
    workers = min(arguments.workers or os.cpu_count() or 1, len(paths))
    work = partial(_attempt, arguments)
    if workers <= 1:
        yield from map(work, paths)
        return
    yield from in_processes(work, paths, workers, _worker_died)


def _worker_died(path: Path, exit_code: int) -> SceneOutcome:
    if exit_code == -signal.SIGKILL:
        why = "was killed twice, the second time with no other beside it; the scene needs more memory than there is"
    elif exit_code < 0:
        why = f"was ended twice by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    else:
        why = f"ended twice with status {exit_code}; what it said stands above"
    return SceneOutcome(path.resolve().name, "failed", f"{path}: the process that prepared it {why}")


def _attempt(arguments: PrepareArguments, path: Path) -> SceneOutcome:
    name = path.resolve().name
    try:
        done = prepare_scene(arguments, path)
        if arguments.contact_sheet:
            add_contact_sheet(Path(arguments.out), name, again=done.state == "done")
        return SceneOutcome(name, done.state, "", done.said, done.warnings, done.notes)
    except OSError as error:
        reason = f"{error.filename or arguments.out}: {error.strerror or error}"  # a full disk names no file
    except ValueError as error:
        reason = _with_place(str(error), path, arguments.out)
    except MemoryError:
        reason = f"{path}: needs more memory than there is; use fewer workers"
    except Exception as error:  # nobody foresaw it: its traceback is shown, and the other scenes are still prepared
        traceback.print_exc()
        reason = f"{path}: {type(error).__name__}: {error} (the traceback above is worth a report)"
    return SceneOutcome(name, "failed", reason)


def _with_place(sentence: str, path: Path, out: str) -> str:
    """The sentence, with the scan's folder where it names no place: geometry does not know what it was read from."""
    named = str(path) in sentence or f"{Path(out)}{os.sep}" in sentence
    return sentence if named else f"{path}: {sentence}"


def main(arguments: PrepareArguments) -> int:
    """Run ``gpt4scene prepare``: 0 when all scenes are there, 1 when one failed."""
    report = _with_progress(arguments)
    _say(report)
    talk.result(
        "\n".join(map(str, report.written)),
        out=arguments.out,
        prepared=report.done,
        finished_before=report.finished_before,
        failed=report.failed,
        warnings={name: list(found) for name, found in report.warned.items()},
        notes={name: list(found) for name, found in report.noted.items()},
        files=[str(path) for path in report.written],
    )
    return 1 if report.failed else 0


def _line(outcome: SceneOutcome) -> str:
    return f"{outcome.name}: {outcome.state}" + (f", {outcome.said}" if outcome.said else "")


def _say(report: PrepareReport) -> None:
    """Say how many scenes there are, why some failed, and what may be wrong with others."""
    done, before, failed = len(report.done), len(report.finished_before), len(report.failed)
    talk.say(f"{done} prepared, {before} finished before, {failed} failed")
    for name, reason in report.failed.items():
        talk.error(f"{name}: {reason}")
    for name, warnings in report.warned.items():
        for warning in warnings:
            talk.warning(f"{name}: {warning}")
    for name, notes in report.noted.items():
        for note in notes:
            talk.note(f"{name}: {note}")


def _with_progress(arguments: PrepareArguments) -> PrepareReport:
    with Progress("scenes") as progress:

        def started(count: int) -> None:
            progress.total = count

        def ended(outcome: SceneOutcome) -> None:
            talk.say(_line(outcome))
            progress.advance()

        return prepare(arguments, ended, started)
