"""A recording made ready and looked over, which is all that can be known before its images are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.scans.checks import check_geometry, check_scan
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.repairs import repaired
from gpt4scene.scans.types import Scan
from gpt4scene.scans.unused import Unused, unused_files
from gpt4scene.scenes.frame_choice import tracked_frames
from gpt4scene.scenes.object_sources import find_objects
from gpt4scene.scenes.opened_scene import OpenedScene, open_scene
from gpt4scene.scenes.prepare_arguments import PrepareArguments
from gpt4scene.scenes.sanity import Sanity, raw_warnings, report


@dataclass(frozen=True)
class Examined:
    """An opened scene, the first part of its report, and the files of its folder that were not read."""

    scene: OpenedScene
    sanity: Sanity
    unused: Unused


def checked(arguments: PrepareArguments, recorded: Scan) -> Scan:
    """The scan as ``arguments`` say that it was recorded. Raises DataError where no scene can come of it."""
    reader = SCAN_READERS[arguments.format]
    scan = repaired(recorded, arguments.repairs, reader.poses)
    check_scan(scan)
    tracked_frames(scan)
    check_geometry(scan, reader.meshes)
    return scan


def examined(
    arguments: PrepareArguments, path: Path, recorded: Scan, opener: Callable[..., OpenedScene] = open_scene
) -> Examined:
    """Open the scene of the scan at ``path``, which was ``recorded`` there, and look whether it can be right.

    Raises DataError as ``checked`` and ``open_scene`` do, with what may be the reason.
    """
    reader = SCAN_READERS[arguments.format]
    scan = checked(arguments, recorded)
    unused = unused_files(recorded, reader.reads(path))
    agreement, warnings = raw_warnings(recorded, arguments.repairs, reader.poses)
    smooth = arguments.geometry == "tsdf"
    try:
        scene = opener(scan, lambda upright: find_objects(arguments.objects, upright), smooth, arguments.up)
    except DataError as error:
        raise DataError("; ".join([str(error), *warnings, *unused.slips])) from None
    sanity = report(scene.scan, scene.caster.mesh, agreement, warnings, scene.up, arguments.repairs, scene.objects)
    return Examined(scene, sanity, unused)
