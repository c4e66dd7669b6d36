"""Files that another file names: found below a folder, whichever machine wrote the name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import escape
from os.path import normpath
from pathlib import Path, PureWindowsPath

from gpt4scene.errors import DataError
from gpt4scene.scans.images import IMAGE_ENDINGS
from gpt4scene.scans.types import Scan, StoredImage

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|.*\\")


def existing_file(folder: Path, name: str) -> Path:
    """The file that ``name`` means below ``folder``; DataError when there is none, with what was seen instead.

    A name that leads out of ``folder`` is a DataError, too: what is no image is read from inside only.
    """
    found = named_file(folder, name)
    if found is None:
        raise DataError(f"{folder / name}: is missing{_seen_instead(name, [folder])}")
    if leads_out(folder, found):
        raise DataError(f"{folder}: the name '{name[:200]}' leads out of this folder; copy the file into it")
    return found


def leads_out(folder: Path, path: Path) -> bool:
    """True for a path that is not below ``folder`` as it is written; where links end is not asked."""
    return not Path(normpath(path.absolute())).is_relative_to(normpath(folder.absolute()))


def check_inside(scan: Scan, folder: Path) -> None:
    """Raise DataError where an image of ``scan`` lies outside ``folder``, also by a link."""
    for frame in scan.frames:
        for place in (frame.image, frame.depth):
            path = place.path if isinstance(place, StoredImage) else place
            if path is not None and not path.resolve().is_relative_to(folder.resolve()):
                raise DataError(f"{folder}: the image of frame '{frame.name}' lies outside; copy it into the folder")


def named_file(folder: Path, name: str) -> Path | None:
    """The file that ``name`` means below ``folder``, None when there is none.

    An image's ending may be left out or be written in other letters. A name with Windows separators is read so where
    no file has it as it stands, and of an absolute one the last parts are looked for in ``folder``.
    """
    for candidate in _candidates(name):
        path = folder / candidate
        for ending in ("", *IMAGE_ENDINGS, *(ending.upper() for ending in IMAGE_ENDINGS)):
            longer = path.with_name(path.name + ending) if path.name else path
            if longer.is_file():
                return longer
        if path.suffix.lower() in IMAGE_ENDINGS:
            for ending in (path.suffix.lower(), path.suffix.upper()):
                if path.with_suffix(ending).is_file():
                    return path.with_suffix(ending)
    return None


def _candidates(name: str) -> list[str]:
    windows = bool(_WINDOWS.match(name))
    parts = PureWindowsPath(name).parts if windows else Path(name).parts
    found = [name] + (["/".join(parts)] if windows else [])
    if Path(name).is_absolute() or PureWindowsPath(name).drive:
        found += ["/".join(parts[start:]) for start in range(1, len(parts))]
    return found


def absent_notes(
    listing: Path, absent: list[str], count: int, folders: Sequence[Path], what: str = "images"
) -> tuple[str, ...]:
    """A note on the images of ``listing`` that are not in ``folders``, of ``count``. Raises DataError where none is."""
    if not absent:
        return ()
    seen = _seen_instead(absent[0], folders)
    if len(absent) == count:
        raise DataError(f"{listing}: none of its {count} {what} is there, the first: {absent[0]}{seen}")
    names = ", ".join(absent[:3]) + (", …" if len(absent) > 3 else "")
    return (f"{listing}: {len(absent)} of {count} {what} are not there and left out: {names}{seen}",)


def _seen_instead(name: str, folders: Sequence[Path]) -> str:
    """A hint at a file that differs from ``name`` by its ending, or by its folder."""
    last = PureWindowsPath(name).name
    for folder in folders:
        elsewhere = [place / last for place in _folders(folder if folder.is_dir() else folder.parent, name)]
        for place in (folder / name, *((folder / one) for one in _candidates(name)), folder / last, *elsewhere):
            beside = sorted(place.parent.glob(f"{escape(Path(last).stem)}.*")) if place.parent.is_dir() else []
            if beside:
                return f"; seen {beside[0]}: name it as the list does, or the other way round" + (
                    " (HEIC is not read: save it as .jpg)" if beside[0].suffix.lower() in (".heic", ".heif") else ""
                )
    return ""


def _folders(folder: Path, name: str) -> list[Path]:
    """The folders directly in ``folder`` that may hold what ``name`` means: colour, depth and masks lie apart."""
    found = sorted(place for place in folder.iterdir() if place.is_dir()) if folder.is_dir() else []
    kinds = ("depth", "mask")
    return [place for place in found if all((kind in place.name.lower()) == (kind in name.lower()) for kind in kinds)]
