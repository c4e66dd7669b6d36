"""What is wrong with scans that are to be prepared: each is read, and one, or all, made ready to be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gpt4scene.doctor.findings import Checks, Finding, spread
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.readers import SCAN_READERS, find_scans
from gpt4scene.scans.types import Scan
from gpt4scene.scenes.examined import checked, examined
from gpt4scene.scenes.prepare_arguments import PrepareArguments


def scan_findings(arguments: PrepareArguments, full: bool = False) -> Iterator[Finding]:
    """Yield the findings about every scan; nothing is written.

    The first scan is made ready as ``prepare`` does it, and what the report of ``prepare`` would warn of is wrong here.
    A sample of each scan's frames is decoded; ``full`` takes every scan and every frame.
    """
    checks = Checks()
    paths = checks.check(
        "scans", lambda: find_scans(arguments.format, list(arguments.scans)), lambda found: f"{len(found)} found"
    )
    yield from checks.take()
    for number, path in enumerate(paths or ()):
        name = path.resolve().name
        scan = checks.check(name, lambda path=path: _read(arguments, path))
        if scan is not None:
            chosen = spread(len(scan.frames), full)
            said = f"{len(scan.frames)} frames, {len(chosen)} of them decoded"
            checks.check(name, lambda scan=scan, chosen=chosen: _decode(scan, chosen), said)
        if scan is not None and (full or number == 0):
            _examine(checks, arguments, path, scan)
        yield from checks.take()


def _read(arguments: PrepareArguments, path: Path) -> Scan:
    scan = SCAN_READERS[arguments.format].read(path)
    checked(arguments, scan)
    return scan


def _examine(checks: Checks, arguments: PrepareArguments, path: Path, scan: Scan) -> None:
    name = path.resolve().name
    found = checks.check(
        name,
        lambda: examined(arguments, path, scan),
        lambda found: f"{len(found.scene.objects)} objects in an upright scene; {found.sanity.sentence}",
    )
    if found is None:
        return
    checks.findings += [
        Finding("wrong", f"{name}: {warning}") for warning in (*found.sanity.warnings, *found.unused.slips)
    ]
    for note in found.scene.scan.all_notes:
        checks.note(f"{name}: {note}")


def _decode(scan: Scan, chosen: list[int]) -> None:
    for index in chosen:
        read_color(scan.frames[index])
        read_depth(scan.frames[index])
