"""Scans to images: marked frames, a marked bird's-eye view, and the files that all later stages read."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.scenes import read_scene, scene_json, unmarked, write_json, write_split_files
from gpt4scene.scans.readers import SCAN_READERS, find_scans
from gpt4scene.scenes.contact_sheet import write_sheet
from gpt4scene.scenes.marking import Look, Marked, choose_frames, mark_frame, mark_top
from gpt4scene.scenes.object_sources import OBJECT_SOURCES, object_source
from gpt4scene.scenes.opened_scene import open_room
from gpt4scene.scenes.records import frame_rows, object_rows, top_rows
from gpt4scene.scenes.workers import in_processes
from gpt4scene.settings.arguments import Arguments, key

JPEG_QUALITY = 92


@dataclass(frozen=True)
class PrepareArguments(Arguments):
    """Everything that ``gpt4scene prepare`` can be told."""

    scans: tuple[str, ...] = key("scan folders, or folders that hold scan folders")
    out: str = key("folder that receives images, lists and attributes")
    format: str = key(f"kind of recording: {', '.join(SCAN_READERS)}", "posed")
    objects: str = key("; ".join(f"{name}: {source.about}" for name, source in OBJECT_SOURCES.items()), "scan")
    frames: int = key("frames of each scene, besides the bird's-eye view", 32, least=1)
    split: str = key("word in the names of lists and attribute files", "val")
    frame_choice: Literal["even", "coverage"] = key(
        "evenly spaced as published, or showing as many objects as possible", "even"
    )
    marker_place: Literal["inside", "centroid"] = key(
        "pixel farthest from the visible surface's edge, or nearest its centroid", "inside"
    )
    bev_size: int = key("longest side of the bird's-eye view in pixels", 1024, least=64, most=8192)
    least_area: float = key("least share of a frame that a marked object covers", 0.001, least=0)
    geometry: Literal["voxels", "tsdf"] = key(
        "what depth frames become where there is no mesh; tsdf: smoother, slower", "voxels"
    )
    outlines: bool = key("draw a line around what is visible of each object, too", False)
    keep_unmarked: bool = key("write every image without markers, too", False)
    contact_sheet: bool = key("write a page a scene: views, objects with crops", False)
    overwrite: bool = key("prepare finished scenes again", False)
    workers: int = key("processes; 0 takes one for each core", 1, least=0)
    num_shards: int = key("parts into which the scans are divided over machines", 1, least=1)
    shard: int = key("this machine's part, from 0", 0, least=0)

    def settings(self) -> dict:
        """What a finished scene must have been made with to be kept.

        Options that came later are named where they are used only, so that scenes of before have the settings of today.
        """
        ignored = ("scans", "out", "contact_sheet", "overwrite", "workers", "num_shards", "shard")
        ignored += () if self.outlines else ("outlines",)
        return {key: value for key, value in asdict(self).items() if key not in ignored}

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if self.least_area >= 1:
            wrong.append(f"--least_area is {self.least_area}, must be from 0 to below 1")
        if self.shard >= self.num_shards:
            wrong.append(f"--shard is {self.shard}, must be from 0 to {self.num_shards - 1}")
        if not self.split.replace("_", "a").isalnum():
            wrong.append(f"--split '{self.split}' must be a plain word")
        for look_up in (lambda: SCAN_READERS[self.format], lambda: object_source(self.objects)):
            try:
                look_up()
            except ValueError as error:
                wrong.append(str(error))
        return wrong


@dataclass
class PrepareReport:
    """Names of scenes by what became of them; ``failed`` has each scene's reason."""

    done: list[str] = field(default_factory=list)
    finished_before: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)


Tell = Callable[[str, str, str], None]
"""Called once a scene with its name, "done", "finished before" or "failed", and the reason of a failure."""


def prepare(
    arguments: PrepareArguments, tell: Tell | None = None, started: Callable[[int], None] | None = None
) -> PrepareReport:
    """Prepare every scan and write the split's files; broken scans are reported, the others go on.

    A scene whose ``scene.json`` exists is kept. ``started`` is told the number of scenes. Raises ConfigError when an
    argument is wrong and DataError when a path holds no scan, before any work.
    """
    arguments.check()
    paths = find_scans(arguments.format, list(arguments.scans))[arguments.shard :: arguments.num_shards]
    if started is not None:
        started(len(paths))
    report = PrepareReport()
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    for name, outcome, reason in _outcomes(arguments, paths):
        if outcome == "failed":
            report.failed[name] = reason
        else:
            (report.done if outcome == "done" else report.finished_before).append(name)
        if tell is not None:
            tell(name, outcome, reason)
    for names in (report.done, report.finished_before):
        names.sort()
    report.failed = dict(sorted(report.failed.items()))
    report.written = write_split_files(Path(arguments.out), arguments.split, arguments.frames)
    return report


Outcome = tuple[str, str, str]


def _outcomes(arguments: PrepareArguments, paths: Sequence[Path]) -> Iterator[Outcome]:
    workers = min(arguments.workers or os.cpu_count() or 1, len(paths))
    work = partial(_attempt, arguments)
    if workers <= 1:
        yield from map(work, paths)
        return
    yield from in_processes(work, paths, workers, _worker_died)


def _worker_died(path: Path, exit_code: int) -> Outcome:
    if exit_code == -signal.SIGKILL:
        why = "was killed twice, the second time with no other beside it; the scene needs more memory than there is"
    elif exit_code < 0:
        why = f"was ended twice by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    else:
        why = f"ended twice with status {exit_code}; what it said stands above"
    return path.resolve().name, "failed", f"{path}: the process that prepared it {why}"


def _attempt(arguments: PrepareArguments, path: Path) -> Outcome:
    name = path.resolve().name
    try:
        outcome = prepare_scene(arguments, path)
        if arguments.contact_sheet:
            _add_sheet(Path(arguments.out), name, outcome)
        return name, outcome, ""
    except OSError as error:
        return name, "failed", _sentence(error, arguments.out)
    except ValueError as error:
        return name, "failed", str(error)
    except MemoryError:
        return name, "failed", f"{path}: needs more memory than there is; use fewer workers"
    except Exception as error:  # nobody foresaw it: its traceback is shown, and the other scenes are still prepared
        traceback.print_exc()
        return name, "failed", f"{path}: {type(error).__name__}: {error} (the traceback above is worth a report)"


def _sentence(error: OSError, place: str) -> str:
    """What the system says, with the file; writing to a full disk names none, and then it is ``place``."""
    return f"{error.filename or place}: {error.strerror or error}"


def prepare_scene(arguments: PrepareArguments, path: Path) -> str:
    """Prepare one scan; "done", or "finished before" when its ``scene.json`` says the same settings.

    Raises DataError for a broken scan and for one that was prepared with other settings.
    """
    out, settings = Path(arguments.out), arguments.settings()
    record = scene_json(out, path.resolve().name)
    if record.is_file() and not arguments.overwrite:
        before = read_scene(record)["settings"]
        if before == settings:
            return "finished before"
        defaults = {name: item.default for name, item in PrepareArguments.__dataclass_fields__.items()}
        pairs = [(k, before.get(k, defaults.get(k)), settings.get(k, defaults.get(k))) for k in {**settings, **before}]
        changed = ", ".join(f"{k} {old} -> {new}" for k, old, new in pairs if old != new)
        raise DataError(f"{record}: was prepared with other settings ({changed}); choose another --out or --overwrite")
    record.unlink(missing_ok=True)
    scan = SCAN_READERS[arguments.format].read(path)
    source, place = object_source(arguments.objects)
    room = open_room(scan, lambda upright_scan: source.find(upright_scan, place), arguments.geometry == "tsdf")
    look = Look(arguments.bev_size, arguments.least_area, arguments.marker_place, arguments.outlines)
    top = mark_top(room, look)
    top_image = f"images_3D/{scan.scene_id}/bev.jpg"
    _save(out, top_image, top, arguments.keep_unmarked)
    frames = []
    for frame in choose_frames(room, arguments.frames, arguments.frame_choice, look):
        marked = mark_frame(room, frame, look)
        image = f"images_2D/{scan.scene_id}/{frame.name}.jpg"
        _save(out, image, marked, arguments.keep_unmarked)
        frames.append(frame_rows(image, frame, marked))
    assert room.scan.align is not None, "an upright scan knows how it was moved"
    content = {
        "scene_id": scan.scene_id,
        "settings": settings,
        "align": room.scan.align.tolist(),
        "objects": object_rows(room.objects),
        "ground_truth": object_rows(room.scan.objects),
        "bev": top_rows(top_image, top),
        "frames": frames,
    }
    write_json(record, content)
    return "done"


def _add_sheet(out: Path, name: str, outcome: str) -> None:
    sheet = scene_json(out, name).with_name("contact_sheet.jpg")
    if outcome == "done" or not sheet.is_file():
        write_sheet(out, read_scene(scene_json(out, name)), sheet)


def _save(out: Path, image: str, marked: Marked, keep_unmarked: bool) -> None:
    pairs = [(image, marked.drawn)] + ([(unmarked(image), marked.plain)] if keep_unmarked else [])
    for name, pixels in pairs:
        write_image(out / name, pixels)


def write_image(path: Path, pixels_HW3: np.ndarray) -> None:
    """Write a JPEG under a temporary name, then rename; colours are not subsampled, so that numbers stay sharp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    Image.fromarray(pixels_HW3).save(part, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    os.replace(part, path)


def main(arguments: PrepareArguments) -> int:
    """Run ``gpt4scene prepare``: 0 when all scenes are there, 1 when one failed."""
    report = _with_progress(arguments)
    for line in _summary(report):
        print(line, file=sys.stderr)
    for path in report.written:
        print(path)
    return 1 if report.failed else 0


def _summary(report: PrepareReport) -> Iterable[str]:
    yield f"{len(report.done)} prepared, {len(report.finished_before)} finished before, {len(report.failed)} failed"
    for name, reason in report.failed.items():
        yield f"  {name}: {reason}"


def _with_progress(arguments: PrepareArguments) -> PrepareReport:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return prepare(arguments, lambda name, outcome, _: print(f"{name}: {outcome}", file=sys.stderr, flush=True))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("scenes", total=None)
        return prepare(
            arguments,
            lambda name, outcome, _: progress.update(task, advance=1, description=name),
            lambda count: progress.update(task, total=count),
        )
