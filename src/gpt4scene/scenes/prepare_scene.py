"""One scan to one scene: its images, its contact sheet and its ``scene.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.points import points_file, write_points
from gpt4scene.files.scenes import (
    bev_image,
    frame_image,
    read_scene,
    scene_json,
    sheet_image,
    unmarked,
    write_scene,
)
from gpt4scene.files.whole import whole_file
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scenes.contact_sheet import write_sheet
from gpt4scene.scenes.examined import examined
from gpt4scene.scenes.marking import MarkedImage, MarkingOptions, choose_frames, mark_bev, mark_frame
from gpt4scene.scenes.opened_scene import OpenedScene, open_scene
from gpt4scene.scenes.prepare_arguments import PrepareArguments
from gpt4scene.scenes.records import bev_row, frame_row, object_rows
from gpt4scene.scenes.room_facts import room_facts
from gpt4scene.scenes.sanity import with_marks
from gpt4scene.scenes.thinning import thinned

JPEG_QUALITY = 92


@dataclass(frozen=True)
class Prepared:
    """What became of a scan ("finished before": its ``scene.json`` said so), and what its report says, warns, notes."""

    state: Literal["done", "finished before"]
    said: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def prepare_scene(arguments: PrepareArguments, path: Path) -> Prepared:
    """Prepare one scan; "finished before" when its ``scene.json`` says that it was, with the same settings.

    Raises DataError for a broken scan and for one that was prepared with other settings.
    """
    out, settings = Path(arguments.out), arguments.settings()
    record = scene_json(out, path.resolve().name)
    if record.is_file() and not arguments.overwrite:
        _check_settings(record, settings)
        warnings = tuple(read_scene(record).get("sanity", {}).get("warnings", ()))
        if arguments.strict and warnings:
            record.unlink()
            raise _refused(path, warnings)
        return Prepared("finished before", warnings=warnings)
    record.unlink(missing_ok=True)
    found = examined(arguments, path, SCAN_READERS[arguments.format].read(path), open_scene)
    scene, scene_id = found.scene, found.scene.scan.scene_id
    options = MarkingOptions(arguments.bev_size, arguments.least_area, arguments.marker_place, arguments.outlines)
    bev, bev_name = mark_bev(scene, options), bev_image(scene_id)
    _write_images(out, bev_name, bev, arguments.keep_unmarked)
    frames, places = [], {frame.name: place for place, frame in enumerate(scene.scan.frames)}
    for frame in choose_frames(scene, arguments.frames, arguments.frame_choice, options.least_area):
        marked, name = mark_frame(scene, frame, options), frame_image(scene_id, frame.name)
        _write_images(out, name, marked, arguments.keep_unmarked)
        frames.append(frame_row(name, frame, marked, places[frame.name]))
    sanity = with_marks(
        found.sanity,
        [len(frame["markers"]) for frame in frames],
        sum(not item.empty for item in scene.lookup.objects),
        arguments.frames,
        found.unused,
        scene.scan.all_notes,
    )
    if arguments.strict and sanity.warnings:
        raise _refused(path, sanity.warnings)
    assert scene.scan.align is not None, "an upright scan knows how it was moved"
    content = {
        "scene_id": scene_id,
        "settings": settings,
        "align": scene.scan.align.tolist(),
        "objects": object_rows(scene.objects),
        "ground_truth": object_rows(scene.scan.objects),
        "bev": bev_row(bev_name, bev),
        "frames": frames,
        "room": room_facts(scene),
        "sanity": {**sanity.figures, "warnings": list(sanity.warnings)},
    }
    _write_points(record, scene, arguments.points)
    write_scene(out, content)
    return Prepared("done", sanity.sentence, sanity.warnings, scene.scan.all_notes)


def _refused(path: Path, warnings: Sequence[str]) -> DataError:
    return DataError(f"{path}: {'; '.join(warnings)} (--strict)")


def _check_settings(record: Path, settings: dict) -> None:
    """DataError where a finished scene was prepared with other settings."""
    before = read_scene(record)["settings"]
    if before == settings:
        return
    defaults = {name: item.default for name, item in PrepareArguments.__dataclass_fields__.items()}
    pairs = [(k, before.get(k, defaults.get(k)), settings.get(k, defaults.get(k))) for k in {**settings, **before}]
    changed = ", ".join(f"{k} {old} -> {new}" for k, old, new in pairs if old != new)
    raise DataError(f"{record}: was prepared with other settings ({changed}); choose another --out or --overwrite")


def add_contact_sheet(out: Path, scene_id: str, again: bool) -> None:
    """Write the contact sheet of a finished scene; one that is there stays unless ``again`` is true."""
    sheet = sheet_image(out, scene_id)
    if again or not sheet.is_file():
        write_sheet(out, read_scene(scene_json(out, scene_id)), sheet)


def _write_points(record: Path, scene: OpenedScene, most: int) -> None:
    """Write the thinned scan beside the scene's ``record``, and remove one of before where none is wanted."""
    if most:
        surface = scene.scan.mesh if scene.scan.mesh is not None else scene.caster.mesh
        write_points(points_file(record), thinned(surface, most, np.random.default_rng(0)))
    else:
        points_file(record).unlink(missing_ok=True)


def _write_images(out: Path, name: str, marked: MarkedImage, keep_unmarked: bool) -> None:
    _write_jpeg(out / name, marked.drawn)
    if keep_unmarked:
        _write_jpeg(out / unmarked(name), marked.plain)


def _write_jpeg(path: Path, pixels_HW3: np.ndarray) -> None:
    """Colours are not subsampled, so that numbers stay sharp."""
    with whole_file(path) as partial:
        Image.fromarray(pixels_HW3).save(partial, "JPEG", quality=JPEG_QUALITY, subsampling=0)
