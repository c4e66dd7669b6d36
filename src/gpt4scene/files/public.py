"""The published data, question files and weights: where they are on the model hub, and where they land here.

``fetch`` continues a broken download; image archives are unpacked once, then removed.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Protocol

from gpt4scene import talk
from gpt4scene.errors import DataError
from gpt4scene.files.whole import whole_file, write_json
from gpt4scene.progress import track

IMAGES = "data/annotation"
"""Where the published rows expect ``images_2D`` and ``images_3D``."""


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


class Hub(Protocol):
    """The two methods of ``huggingface_hub.HfApi`` that are used."""

    def repo_info(self, repo_id: str, *, repo_type: str) -> Any:
        """Return an object whose ``sha`` is the newest commit."""
        ...

    def snapshot_download(
        self, repo_id: str, *, repo_type: str, revision: str, local_dir: str, ignore_patterns: list[str]
    ) -> str:
        """Write the files of a commit to ``local_dir``, those that are there already left alone."""
        ...


def fetch(name: str, root: Path, hub: Hub | None = None) -> Path:
    """Download one of ``ITEMS`` below ``root``, unpack its images, and return its folder.

    Files that are already there are not fetched again; nor are archives that were unpacked and removed. ``hub`` is
    ``huggingface_hub.HfApi()`` when left out.

    Raises:
        DataError: the hub cannot be reached or refuses, the disk is full, or an archive is broken.
    """
    item = ITEMS[name]
    folder = root / item.folder
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = [archive for archive in item.archives if _marker(root, archive).is_file()]
    leave_out = unpacked + [f"*/{archive}" for archive in unpacked]
    _download(hub or _model_hub(), item, folder, leave_out + list(NOT_FETCHED if item.kind == "dataset" else ()))
    for archive in item.archives:
        for path in sorted(folder.rglob(archive)):
            count = unpack(path, root / IMAGES)
            write_json(_marker(root, archive), {"archive": archive, "from": item.repo, "files": count})
            path.unlink()
    if item.also:
        _second_name(root / item.also, folder)
    return folder


def unpack(archive: Path, folder: Path) -> int:
    """Unpack the images of ``images_2D.zip`` into ``folder/images_2D`` (likewise 3D) and return how many there are.

    Whatever folders the archive puts around ``images_2D`` are left out. A file that is there with the right size is
    kept, so that an unpacking that was cut short goes on.

    Raises:
        DataError: the archive is broken, holds a link or a path that leads elsewhere, or the disk has too little room.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = list(_members(opened, archive))
            missing = [(info, target) for info, place in members if not _same(target := folder / place, info.file_size)]
            _check_room(folder, sum(info.file_size for info, _ in missing), archive)
            for info, target in _progress(missing, f"unpacking {archive.name}"):
                with opened.open(info) as source, whole_file(target) as partial, partial.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            return len(members)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{archive}: is no complete archive ({error}); remove it and download again") from None


def _marker(root: Path, archive: str) -> Path:
    """The file that says that an archive has been unpacked; remove it to fetch the archive again."""
    return root / IMAGES / f".{archive}.unpacked"


def _model_hub() -> Hub:
    from huggingface_hub import HfApi

    return HfApi()


def _download(hub: Hub, item: PublicItem, folder: Path, leave_out: list[str]) -> None:
    from huggingface_hub.errors import (
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  (of its HTTP library)
        RepositoryNotFoundError,
    )

    try:
        # Asked first: a snapshot of a folder that holds anything is taken for complete when the hub is out of reach.
        commit = hub.repo_info(item.repo, repo_type=item.kind).sha
        hub.snapshot_download(
            item.repo, repo_type=item.kind, revision=commit, local_dir=str(folder), ignore_patterns=leave_out
        )
    except RepositoryNotFoundError as error:
        raise DataError(f"{item.repo}: not found, or not open to you; log in with: hf auth login") from error
    except (HTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{item.repo}: download broke off ({reason}); run the same command again to go on") from error


def _members(opened: zipfile.ZipFile, archive: Path) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Every image in the archive with its place below the annotation folder."""
    top = archive.stem
    for info in opened.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if info.is_dir() or parts[0] == "__MACOSX":
            continue
        inside = parts[parts.index(top) + 1 :] if top in parts else parts
        if not inside or ".." in parts or parts[0] == "/" or ":" in parts[0] or stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{archive}: '{info.filename}' would land outside its folder; nothing was unpacked")
        yield info, PurePosixPath(top, *inside)


def _same(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _check_room(folder: Path, needed: int, archive: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"{archive}: needs {needed / 2**30:.1f} GiB in {folder}, where {free / 2**30:.1f} GiB are free")


def _progress(items: list, title: str) -> Iterator:
    talk.say(f"{title}: {len(items)} files")
    return track(items, "files")


def _second_name(link: Path, folder: Path) -> None:
    if link.is_symlink() or link.exists():
        return
    try:
        link.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
    except OSError as error:
        talk.note(f"{link} could not be made ({error.strerror}); use {folder}")
