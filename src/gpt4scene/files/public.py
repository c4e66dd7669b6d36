"""The published data, question files and weights: where they are on the model hub, and where they land here."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from gpt4scene import talk
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.archives import free_bytes, size_text, unpack
from gpt4scene.files.fetched import Fetched
from gpt4scene.files.hub import Hub, HubFile, Listing, read_listing
from gpt4scene.files.hub_transfer import came_so_far, fetch_files, place_of
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.progress import Progress

IMAGES = "data/annotation"
"""Where the published rows expect ``images_2D`` and ``images_3D``."""
SPARE = 2**30
"""Bytes that stay free on a disk."""
MEBIBYTE = 2**20


@dataclass(frozen=True)
class PublicItem:
    """One repository on the hub. ``folder`` is relative to the project; ``archives`` are image archives inside it.

    ``also`` is a second name for ``folder`` that public commands use.
    """

    repo: str
    kind: str
    folder: str
    about: str
    archives: tuple[str, ...] = ()
    also: str | None = None


ITEMS = MappingProxyType(
    {
        "data": PublicItem(
            "alexzyqi/GPT4Scene-All",
            "dataset",
            "data",
            "ScanAlign: training rows, and images for training and validation",
            archives=("images_2D.zip", "images_3D.zip"),
        ),
        "annotation": PublicItem(
            "alexzyqi/GPT4Scene-Val-Annotation",
            "dataset",
            "evaluate/annotation",
            "question files of the five benchmarks",
        ),
        "base": PublicItem(
            "Qwen/Qwen2-VL-7B-Instruct",
            "model",
            "ckpts/Qwen2-VL-7B-Instruct",
            "the model that training starts from",
            also="ckpts/models--Qwen--Qwen2-VL-7B-Instruct",
        ),
        "weights": PublicItem(
            "alexzyqi/GPT4Scene-qwen2vl_full_sft_mark_32_3D_img512",
            "model",
            "model_outputs/GPT4Scene-qwen2vl_full_sft_mark_32_3D_img512",
            "the published fine-tuned model",
        ),
    }
)
"""What can be fetched, by the name that ``--what`` takes."""

NOT_FETCHED = ("README.md", ".gitattributes", "dataset_info.json")
"""Files of the data repositories that would replace ours."""


@dataclass(frozen=True)
class Plan:
    """What there is to do for one of ``ITEMS``, ``name``, below ``root``.

    ``files`` are all that belong here, ``missing`` those that have to come, ``came`` the bytes of those that an earlier
    call has fetched already, ``unpacked`` the bytes that their archives will take, as far as that is known before.
    """

    name: str
    root: Path
    listing: Listing
    files: tuple[HubFile, ...]
    missing: tuple[HubFile, ...]
    came: int
    unpacked: int

    @property
    def item(self) -> PublicItem:
        """What it is."""
        return ITEMS[self.name]

    @property
    def folder(self) -> Path:
        """Where it lands."""
        return self.root / self.item.folder

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def to_fetch(self) -> int:
        """Bytes that have to come."""
        return sum(file.size for file in self.missing) - self.came


def plan(name: str, root: Path, hub: Hub, revision: str = "main", include: Sequence[str] = ()) -> Plan:
    """Return what has to be fetched of one of ``ITEMS``; what is there already is checked by its digest, once.

    ``include`` are patterns of paths, as in ``*.json``; without any, all files are meant. Raises ``DataError`` where
    the hub can't be reached or refuses, ``ConfigError`` for a pattern that no file has.
    """
    item = ITEMS[name]
    listing = read_listing(hub, item.repo, item.kind, revision)
    for pattern in include:
        if not any(fnmatch.fnmatch(file.path, pattern) for file in listing.files):
            raise ConfigError(
                f"--include: no file of {listing.repo} is called '{pattern}'; see {hub.page(listing.repo, item.kind)}"
            )
    files = tuple(file for file in listing.files if _wanted(file, item, include))
    folder = root / item.folder
    with Fetched(folder) as fetched:
        missing = [file for file in files if not (_is_unpacked(root, item, file) or fetched.has(file))]
    archives = [file for file in files if _archive(item, file) and not _is_unpacked(root, item, file)]
    came = sum(came_so_far(folder, file) for file in missing)
    return Plan(name, root, listing, files, tuple(missing), came, sum(file.size for file in archives))


def table(plans: Sequence[Plan]) -> str:
    """Return the lines that show, for people, what each plan will fetch and how much room the disk has."""
    rows = [("", "files", "size", "to fetch", "into")]
    for one in plans:
        to_fetch = size_text(one.to_fetch) if one.missing else "nothing"
        rows.append((one.name, str(len(one.files)), size_text(one.size), to_fetch, one.item.folder))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        name, *figures, folder = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        lines.append("  ".join([name.strip().ljust(widths[0]), *figures, folder.strip()]))
    lines += [
        f"{place}: {size_text(needed)} needed at most, {size_text(free)} free" for place, needed, free in rooms(plans)
    ]
    return "\n".join(line.rstrip() for line in lines)


def rooms(plans: Sequence[Plan]) -> list[tuple[Path, int, int]]:
    """Return for every disk that the plans write to: a folder on it, the bytes needed at most, the bytes free.

    An archive of images takes its own size twice until it is unpacked: pictures do not get smaller by being packed.
    """
    found: dict[int, tuple[Path, int, int]] = {}
    for one in plans:
        for folder, needed in ((one.folder, one.to_fetch), (one.root / IMAGES, one.unpacked)):
            if needed:
                device = _device(folder)
                shown = one.root if _device(one.root) == device else folder
                first, sum_so_far, free = found.get(device, (shown, 0, free_bytes(folder)))
                found[device] = (first, sum_so_far + needed, free)
    return list(found.values())


def check_room(plans: Sequence[Plan]) -> None:
    """Raise ``DataError`` where a disk has too little room for what the plans write."""
    for place, needed, free in rooms(plans):
        if needed + SPARE > free:
            raise DataError(
                f"{place}: {size_text(needed)} are needed there at most, {size_text(free)} are free, and "
                f"{size_text(SPARE)} stay free; make room, take a part with --what, or another disk with --root"
            )


def fetch(one: Plan, hub: Hub, jobs: int = 8) -> Path:
    """Fetch what ``one`` names, unpack its images, and return its folder.

    Raises ``DataError`` where the hub refuses or breaks off too often, the disk is full, or an archive is broken; what
    came is kept for the next call.
    """
    item, folder = one.item, one.folder
    folder.mkdir(parents=True, exist_ok=True)
    with Fetched(folder) as fetched:
        missing = fetched.from_cache(one.listing, one.missing)
        total = sum(file.size for file in missing)
        with Progress(f"{one.name}, MiB", -(-total // MEBIBYTE), one.came // MEBIBYTE) as progress:
            show = _in_mebibytes(progress, one.came)
            for event in fetch_files(hub, one.listing, missing, folder, jobs):
                if isinstance(event, HubFile):
                    fetched.add(event)
                else:
                    show(event)
        for file in one.files:
            if _archive(item, file) and not _is_unpacked(one.root, item, file):
                _unpack_images(one, file)
                fetched.remove(file)
    if item.also:
        _second_name(one.root / item.also, folder)
    return folder


def _device(folder: Path) -> int:
    """Return the number of the disk that ``folder`` is, or will be, on."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists()).stat().st_dev


def _wanted(file: HubFile, item: PublicItem, include: Sequence[str]) -> bool:
    if item.kind == "dataset" and file.path in NOT_FETCHED:
        return False
    return not include or any(fnmatch.fnmatch(file.path, pattern) for pattern in include)


def _archive(item: PublicItem, file: HubFile) -> bool:
    return PurePosixPath(file.path).name in item.archives


def _marker(root: Path, file: HubFile) -> Path:
    """The file that says that an archive has been unpacked; remove it to fetch the archive again."""
    return root / IMAGES / f".{PurePosixPath(file.path).name}.unpacked"


def _is_unpacked(root: Path, item: PublicItem, file: HubFile) -> bool:
    """Return whether the archive has been unpacked in the form that it has now; old markers name no form."""
    marker = _marker(root, file)
    if not _archive(item, file) or not marker.is_file():
        return False
    content = read_json(marker, "note of an unpacked archive")
    return isinstance(content, dict) and content.get("digest", file.digest) == file.digest


def _unpack_images(one: Plan, file: HubFile) -> None:
    """Unpack ``images_2D.zip`` to ``data/annotation/images_2D`` (likewise 3D), whatever folders are around it."""
    archive, top = place_of(one.folder, file), PurePosixPath(file.path).stem
    talk.say(f"unpacking {archive}")

    def place(path: PurePosixPath) -> PurePosixPath | None:
        parts = path.parts[path.parts.index(top) + 1 :] if top in path.parts else path.parts
        return PurePosixPath(top, *parts) if parts else None

    with Progress(f"{archive.name}, MiB", None) as progress:
        show = _in_mebibytes(progress, 0)
        done = 0

        def told(now: int, total: int) -> None:
            nonlocal done
            progress.total = -(-total // MEBIBYTE)
            show(now - done)
            done = now

        images = unpack(archive, one.root / IMAGES, place=place, told=told)
    note = {"archive": archive.name, "from": one.listing.repo, "files": len(images), "digest": file.digest}
    write_json(_marker(one.root, file), note)
    archive.unlink()


def _in_mebibytes(progress: Progress, start: int) -> Callable[[int], None]:
    """Return what takes bytes and advances ``progress``, which counts mebibytes."""
    done = start

    def show(more: int) -> None:
        nonlocal done
        before, done = done // MEBIBYTE, done + more
        if done // MEBIBYTE != before:
            progress.advance(done // MEBIBYTE - before)

    return show


def _second_name(link: Path, folder: Path) -> None:
    if link.is_symlink() or link.exists():
        return
    try:
        link.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
    except OSError as error:
        talk.note(f"{link} could not be made ({error.strerror}); use {folder}")


def selected(what: Collection[str]) -> list[str]:
    """Return the names of ``ITEMS`` that ``what`` means, each once; "all" means every one."""
    return list(ITEMS) if "all" in what else list(dict.fromkeys(what))
