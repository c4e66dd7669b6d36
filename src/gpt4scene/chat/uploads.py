"""What visitors send: a prepared scene or a recording, as one archive. Nothing in it is trusted.

The archive is unpacked within bounds into a folder of its own (``files.archives``). Of a prepared scene its
``scene.json`` and images are read, never a ``.pt`` file. A recording is prepared by another process, which is ended
when its time is over or nobody waits for it any more.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from gpt4scene.errors import DataError, WorkError
from gpt4scene.files.archives import Bounds, unpack
from gpt4scene.files.prepared import PreparedScene, read_prepared
from gpt4scene.scans.readers import SCAN_READERS

KINDS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "WEBP": (".webp",)}
"""Images that a scene may show, and the endings of their names."""
MOST_SCENES, MOST_IMAGES = 20, 257
MOST_PIXELS = 40_000_000
"""Of one image; photographs of phones have 12 to 50 million, and marked images of scenes far fewer."""
LOOK_S = 0.25
"""So often the process that prepares is looked at."""
GRACE_S = 5.0
"""So long it gets to end by itself."""
ANNOTATION = ("objects.json", "*.aggregation.json", "*_3dod_annotation.json")
"""Files of a recording that name its objects; without one, objects are found as connected geometry."""

Steps = Generator[str, None, list[PreparedScene]]
"""Sentences on what is done now; the scenes at the end."""


@dataclass(frozen=True)
class UploadBounds:
    """What an upload may cost: bytes sent, bytes and files unpacked, and seconds of unpacking and of preparation."""

    size: int = 2**30
    unpacked: int = 8 * 2**30
    files: int = 50_000
    ratio: float = 100.0
    unpack_seconds: float = 300.0
    prepare_seconds: float = 1800.0


def scenes_of_upload(
    archive: Path, folder: Path, bounds: UploadBounds, frames: int, stop: threading.Event, name: str = ""
) -> Steps:
    """Unpack an archive into the empty ``folder`` and return its scenes; a recording is prepared with ``frames``.

    ``name`` is what the visitor calls it. Yields what is being done. Raises ``DataError`` with one sentence for what is
    refused, ``WorkError`` where the preparation fails or ``stop`` is set.
    """
    size = archive.stat().st_size
    if size > bounds.size:
        raise DataError(f"the upload has {size / 1e6:,.0f} MB; at most {bounds.size / 1e6:,.0f} MB are taken")
    yield "unpacking the archive …"
    unpacked = folder / "in" / _plain(name or archive.name)
    unpacked.mkdir(parents=True)
    try:
        unpack(archive, unpacked, Bounds(bounds.unpacked, bounds.files, bounds.ratio, bounds.unpack_seconds))
    except DataError as error:
        raise DataError(_without(error, archive)) from None
    if stop.is_set():
        raise WorkError("the upload was stopped")
    records = sorted(unpacked.rglob("scene.json"))
    if not records:
        records = yield from _prepared(unpacked, folder, bounds, frames, stop)
        unpacked = folder / "out"
    return [_scene(record, unpacked) for record in _bounded(records)]


def _bounded(records: Sequence[Path]) -> Sequence[Path]:
    if len(records) > MOST_SCENES:
        raise DataError(f"the upload holds {len(records)} scenes; send at most {MOST_SCENES} at a time")
    return records


def _scene(record: Path, unpacked: Path) -> PreparedScene:
    """Return a scene whose files all lie in ``unpacked`` and whose images are what they say."""
    if not record.parent.parent.parent.resolve().is_relative_to(unpacked.resolve()):
        raise DataError(
            "scene.json does not lie as 'gpt4scene prepare' writes it; pack the whole folder: scenes/, images_3D/ …"
        )
    try:
        scene = read_prepared(record)
    except DataError as error:
        raise DataError(_without(error, unpacked)) from None
    if len(scene.images) > MOST_IMAGES:
        raise DataError(f"scene '{scene.scene_id}' has {len(scene.images)} images; at most {MOST_IMAGES} are taken")
    for image in dict.fromkeys(scene.images):
        _check_image(image, str(image.relative_to(scene.out)))
    return scene


def _check_image(path: Path, name: str) -> None:
    """Raise ``DataError`` for a file that is no image of the kinds that are shown, or one of too many pixels."""
    try:
        with Image.open(path, formats=list(KINDS)) as image:
            width, height = image.size
            good = path.suffix.lower() in KINDS[image.format or ""]
            if good and width * height <= MOST_PIXELS:
                image.load()
    except FileNotFoundError:
        raise DataError(f"{name} is not in the upload; pack the whole folder that prepare wrote") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, UnidentifiedImageError):
        raise DataError(f"{name} is no JPEG, PNG or WebP image, or a broken one; prepare the scene again") from None
    if not good:
        raise DataError(f"the name {name} does not say what the image is; prepare the scene again")
    if width * height > MOST_PIXELS:
        raise DataError(f"{name} has {width} x {height} pixels; at most {MOST_PIXELS:,} are taken")


def _prepared(
    unpacked: Path, folder: Path, bounds: UploadBounds, frames: int, stop: threading.Event
) -> Generator[str, None, list[Path]]:
    """Prepare the recording in ``unpacked`` in another process; return its ``scene.json`` files."""
    place, kind = find_recording(unpacked)
    annotated = any(next(place.glob(f"**/{pattern}"), None) for pattern in ANNOTATION)
    objects = "scan" if annotated else "clusters"
    words = ["prepare", "--scans", str(place), "--out", str(folder / "out"), "--format", kind]
    words += ["--objects", objects, "--frames", str(frames), "--inside_only"]
    what = f"preparing the recording ({kind}; objects: {'its annotation' if annotated else 'connected geometry'})"
    start = time.monotonic()
    with (folder / "said.txt").open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "gpt4scene", *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while child.poll() is None:
            seconds = time.monotonic() - start
            if stop.wait(LOOK_S):
                raise WorkError("the preparation was stopped")
            if seconds > bounds.prepare_seconds:
                raise WorkError(
                    f"the preparation took longer than {bounds.prepare_seconds:.0f} s and was ended; send a shorter "
                    "recording, or prepare it with 'gpt4scene prepare'"
                )
            yield f"{what}, {seconds:.0f} s …"
    finally:
        _end(child)
    if child.returncode:
        lines = (folder / "said.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        why = next((line for line in reversed(lines) if place.name in line), lines[-1] if lines else "it said nothing")
        raise DataError(f"the recording can't be prepared: {_short(why, folder)}")
    return sorted((folder / "out").glob("scenes/*/scene.json"))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)


def find_recording(unpacked: Path) -> tuple[Path, str]:
    """Return the folder of the one recording in an unpacked archive, and its format. ``DataError`` for none and two."""
    folders = [unpacked, *sorted(path for path in unpacked.glob("*") if path.is_dir())]
    folders += sorted(path for path in unpacked.glob("*/*") if path.is_dir())
    found: dict[Path, str] = {}
    for folder in folders[:1000]:
        inside = any(folder.is_relative_to(other) for other in found)
        kind = next((kind for kind in SCAN_READERS if SCAN_READERS[kind].accepts(folder)), None)
        if kind is not None and not inside:
            found[folder] = kind
    if not found:
        kinds = "; ".join(f"{name}: {SCAN_READERS[name].about}" for name in SCAN_READERS)
        raise DataError(f"the archive holds neither a prepared scene (scenes/…/scene.json) nor a recording ({kinds})")
    if len(found) > 1:
        names = ", ".join(folder.name for folder in [*found][:5])
        raise DataError(f"the archive holds {len(found)} recordings ({names}); send them one at a time")
    return next(iter(found.items()))


def _plain(name: str) -> str:
    """Return a name for a folder: letters, digits, ``_`` and ``-`` of the archive's, at most 40."""
    stem = re.sub(r"(\.tar)?\.\w+$", "", Path(name).name)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:40].strip("_-") or "room"


def _without(error: Exception, path: Path) -> str:
    """Return the words of an error without the path, which is one of this machine."""
    return str(error).replace(f"{path.absolute()}{os.sep}", "").replace(str(path.absolute()), "the upload").strip()


def _short(line: str, folder: Path) -> str:
    return line.replace(f"{folder}{os.sep}in{os.sep}", "").replace(f"{folder}{os.sep}", "").strip()[:400]
