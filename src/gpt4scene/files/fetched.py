"""Which fetched files are known to be whole: their digests are found out once, not at every call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from gpt4scene import talk
from gpt4scene.files.hub import HubFile, Listing
from gpt4scene.files.hub_transfer import digest_of, place_of
from gpt4scene.files.whole import copy_file, read_json, write_json
from gpt4scene.progress import Progress

NAME = ".cache/fetched.json"
MEBIBYTE = 2**20


class Fetched:
    """The files of a folder whose digests were right when they came: ``with Fetched(folder) as fetched: …``.

    It is kept in ``folder/.cache/fetched.json``, written at the end, also after an error.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._changed = folder, False
        content = read_json(folder / NAME) if (folder / NAME).is_file() else {}
        self._rows: dict[str, Any] = content if isinstance(content, dict) else {}

    def __enter__(self) -> Fetched:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._changed:
            write_json(self._folder / NAME, self._rows)

    def has(self, file: HubFile) -> bool:
        """Return whether ``file`` is here whole.

        A file that came whole and was changed here since counts as well, and a note is said: it is the user's now.
        """
        path = place_of(self._folder, file)
        if not path.is_file():
            return False
        row, now = self._rows.get(file.path), _stamp(path)
        row = row if isinstance(row, dict) else {}
        known = row.get("digest") == file.digest
        if known and row.get("stamp") == now:
            return True
        if now[0] == file.size and self._is_right(path, file):
            self.add(file)
            return True
        if known:
            talk.note(f"{path} was changed since it came, and is kept; remove it to fetch it again")
        return known

    def add(self, file: HubFile) -> None:
        """Note that ``file`` is whole."""
        self._rows[file.path] = {"digest": file.digest, "stamp": _stamp(place_of(self._folder, file))}
        self._changed = True

    def remove(self, file: HubFile) -> None:
        """Note that ``file`` has gone."""
        self._changed |= self._rows.pop(file.path, None) is not None

    def from_cache(self, listing: Listing, files: Sequence[HubFile]) -> list[HubFile]:
        """Copy the files that huggingface_hub's cache on this machine holds whole, and return the others."""
        from huggingface_hub import try_to_load_from_cache

        others = []
        for file in files:
            kind, commit = listing.kind, listing.commit
            cached = try_to_load_from_cache(listing.repo, file.path, revision=commit, repo_type=kind)
            if isinstance(cached, str) and self._is_right(Path(cached), file):
                copy_file(cached, place_of(self._folder, file))
                self.add(file)
            else:
                others.append(file)
        return others

    def _is_right(self, path: Path, file: HubFile) -> bool:
        if path.stat().st_size != file.size:
            return False
        with Progress(f"checking {path.name}, MiB", None) as progress:
            right = digest_of(path, file) == file.digest
            progress.advance(file.size // MEBIBYTE)
        return right


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
