"""Files of the model hub come here: several at once, from where they broke off, each checked against its digest."""

from __future__ import annotations

import hashlib
import queue
import urllib.error
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.archives import inner_path
from gpt4scene.files.hub import BROKEN, Hub, HubFile, Listing, StopFetchingError, patiently, refusal
from gpt4scene.files.whole import grown_file, grown_size

_BLOCK = 2**20
BY_XET = 50 * 1000**3
"""Larger files come over the hub's own protocol only, which ``huggingface_hub`` speaks."""


def place_of(folder: Path, file: HubFile) -> Path:
    """Return where a file of a repository lands below ``folder``; ``DataError`` where its path leads out."""
    return folder / inner_path(file.path, f"the list of {folder.name}")


def came_so_far(folder: Path, file: HubFile) -> int:
    """Return the bytes that an earlier call has fetched of a file that is not whole yet."""
    return min(grown_size(place_of(folder, file), file.digest), file.size)


def digest_of(path: Path, file: HubFile) -> str:
    """Return the digest of what ``path`` holds, of the kind that ``file`` has."""
    found = hashlib.sha256() if file.lfs else hashlib.sha1(usedforsecurity=False)
    if not file.lfs:
        found.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def fetch_files(
    hub: Hub, listing: Listing, files: Sequence[HubFile], folder: Path, jobs: int
) -> Iterator[int | HubFile]:
    """Fetch ``files`` into ``folder``, ``jobs`` at once; give the bytes that came, and every file that is whole.

    Bytes that have to come again are given as a negative number. What came of a file stays when the work ends early.

    Raises:
        DataError: the server refuses, sends something else, or breaks off too often; or the disk is full.
    """
    events: queue.SimpleQueue[int | HubFile | BaseException] = queue.SimpleQueue()
    waiting, stop = deque(sorted(files, key=lambda file: -file.size)), Event()

    def work() -> None:
        try:
            while not stop.is_set():
                try:
                    file = waiting.popleft()
                except IndexError:
                    return
                _Transfer(hub, listing, file, folder, events.put, stop).run()
                events.put(file)
        except StopFetchingError:
            pass
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits)
            events.put(error)

    threads = [Thread(target=work, name=f"fetch-{number}", daemon=True) for number in range(min(jobs, len(files)))]
    for thread in threads:
        thread.start()
    left = len(files)
    try:
        while left:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            left -= isinstance(event, HubFile)
            yield event
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=0.2)  # one that waits for the network ends with the process


@dataclass(frozen=True)
class _Transfer:
    """One file on its way into ``folder``."""

    hub: Hub
    listing: Listing
    file: HubFile
    folder: Path
    told: Callable[[int], None]
    stop: Event

    def run(self) -> None:
        """Fetch the file, from where it broke off, until its digest is right."""
        if self.file.size > BY_XET:
            self._by_xet()
            return
        with grown_file(place_of(self.folder, self.file), self.file.digest) as part:
            for last in (False, True):
                if part.stat().st_size > self.file.size:
                    _cut(part)
                self._receive(part)
                if digest_of(part, self.file) == self.file.digest:
                    return
                wrong = self._wrong(_is_page(part))
                _cut(part)
                if last:
                    raise wrong
                self.told(-self.file.size)

    def _wrong(self, page: bool) -> DataError:
        came = "a web page came instead" if page else "what came has another digest than the hub lists"
        where = self.hub.page(self.listing.repo, self.listing.kind)
        return DataError(f"{self._name}: {came}; a proxy may change files on their way: compare with {where}")

    @property
    def _name(self) -> str:
        return f"{self.listing.repo}: '{self.file.path}'"

    def _receive(self, part: Path) -> None:
        url = self.hub.url(self.listing, self.file.path)
        listing, path = self.listing, self.file.path

        def ask() -> None:
            while (have := part.stat().st_size) < self.file.size:
                with closing(self.hub.open(url, have)) as answer:
                    self._take(answer, part, have)
                if part.stat().st_size < self.file.size:
                    raise ConnectionError("the connection ended early")

        def refused(error: urllib.error.HTTPError) -> DataError | None:
            if error.code == 416:  # what came does not fit what is there
                self.told(-part.stat().st_size)
                _cut(part)
                return None
            return refusal(self.hub, error, listing.repo, listing.kind, listing.commit, path)

        patiently(self.hub, ask, self._name, refused, lambda: part.stat().st_size, self.stop)

    def _take(self, answer: Any, part: Path, have: int) -> None:
        """Write what an answer holds behind the ``have`` bytes that are there."""
        if have and not (answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            self.told(-have)
            _cut(part)
            have = 0
            if answer.status == 206:  # another part than was asked for
                raise ConnectionError("the server sends another part of the file")
        self._check_length(answer, have)
        with part.open("ab", buffering=0) as sink:
            while block := answer.read1(_BLOCK):
                if self.stop.is_set():
                    raise StopFetchingError
                have += len(block)
                if have > self.file.size:
                    raise DataError(f"{self._name}: more comes than the {self.file.size} bytes that the hub lists")
                self._write(sink, block)
                self.told(len(block))

    def _check_length(self, answer: Any, have: int) -> None:
        length = answer.headers.get("Content-Length")
        if length is None or not length.isdigit() or int(length) + have == self.file.size:
            return
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise DataError(
                f"{self._name}: {answer.url.split('?')[0]} sends a web page instead of the file: "
                "a proxy or a log-in page; open the address in a browser"
            )
        raise DataError(
            f"{self._name}: {int(length) + have} bytes are sent where the hub lists {self.file.size}; "
            "run the same command again, which reads the list anew"
        )

    def _write(self, sink: Any, block: bytes) -> None:
        try:
            while block:
                block = block[sink.write(block) :]
        except OSError as error:
            raise DataError(
                f"{place_of(self.folder, self.file)}: {error.strerror}; "
                "make room, then run the same command again to go on"
            ) from error

    def _by_xet(self) -> None:
        """Let ``huggingface_hub`` fetch a file that plain requests don't give; it begins anew after a break."""
        from huggingface_hub import hf_hub_download

        listing, path = self.listing, self.file.path
        kind, commit, endpoint = listing.kind, listing.commit, self.hub.endpoint
        try:
            came = Path(
                hf_hub_download(
                    listing.repo, path, repo_type=kind, revision=commit, local_dir=self.folder, endpoint=endpoint
                )
            )
        except BROKEN as error:
            raise DataError(f"{self._name}: {error}; run the same command again") from error
        if digest_of(came, self.file) != self.file.digest:
            came.unlink()
            raise self._wrong(page=False)
        self.told(self.file.size)


def _cut(part: Path) -> None:
    part.write_bytes(b"")


def _is_page(part: Path) -> bool:
    with part.open("rb") as opened:
        return opened.read(64).lstrip()[:1] == b"<"
