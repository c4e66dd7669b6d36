"""What is wrong with scans that are to be prepared: each is read, and one, or all, made ready to be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from gpt4scene.doctor.findings import Checks, Finding, spread
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.readers import SCAN_READERS, find_scans
from gpt4scene.scans.types import Scan
from gpt4scene.scenes.object_sources import object_source
from gpt4scene.scenes.opened_scene import OpenedScene, open_scene
from gpt4scene.scenes.prepare_arguments import PrepareArguments


def scan_findings(arguments: PrepareArguments, full: bool = False) -> Iterator[Finding]:
    """Yield the findings about every scan; nothing is written.

    The first scan is made ready as ``prepare`` does it, and a sample of each scan's frames is decoded; ``full`` takes
    every scan and every frame.
    """
    checks = Checks()
    paths = checks.check(
        "scans", lambda: find_scans(arguments.format, list(arguments.scans)), lambda found: f"{len(found)} found"
    )
    yield from checks.take()
    for number, path in enumerate(paths or ()):
        name = path.resolve().name
        scan = checks.check(name, lambda path=path: SCAN_READERS[arguments.format].read(path))
        if scan is not None:
            chosen = spread(len(scan.frames), full)
            said = f"{len(scan.frames)} frames, {len(chosen)} of them decoded"
            checks.check(name, lambda scan=scan, chosen=chosen: _decode(scan, chosen), said)
        if scan is not None and (full or number == 0):
            checks.check(
                name,
                lambda scan=scan: _opened(scan, arguments),
                lambda scene: f"{len(scene.objects)} objects in an upright scene",
            )
        yield from checks.take()


def _opened(scan: Scan, arguments: PrepareArguments) -> OpenedScene:
    source, place = object_source(arguments.objects)
    return open_scene(scan, lambda upright: source.find(upright, place), arguments.geometry == "tsdf")


def _decode(scan: Scan, chosen: list[int]) -> None:
    for index in chosen:
        read_color(scan.frames[index])
        read_depth(scan.frames[index])
