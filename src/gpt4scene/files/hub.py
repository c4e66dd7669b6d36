"""The model hub: what a repository holds, and answers of its server as sentences.

``huggingface_hub`` knows the address, the token and the cache. Lists and files are asked for here: that library, as of
2.4, begins a file anew when the process that fetched it has ended.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from urllib.parse import quote, urlsplit

from gpt4scene import talk
from gpt4scene.errors import DataError

SECONDS = 30.0
"""How long a server may be silent before the connection counts as broken."""
LOG_IN = "log in with 'hf auth login', or set HF_TOKEN"
BROKEN = (OSError, http.client.HTTPException)
"""What a connection that fails or breaks raises."""


class StopFetchingError(Exception):
    """The rest is not wanted any more: another file failed, or the user stopped the work."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its path there, its bytes, and the digest of its content.

    ``lfs`` is true where ``digest`` is the SHA-256 of the content, false where it is git's SHA-1 of it.
    """

    path: str
    size: int
    digest: str
    lfs: bool


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit. ``repo`` is the name that it has now."""

    repo: str
    kind: str
    commit: str
    files: tuple[HubFile, ...]


@dataclass(frozen=True)
class Patience:
    """How often a request is tried in a row, the first pause in seconds (each next is twice as long), the longest."""

    tries: int = 5
    pause: float = 1.0
    longest: float = 300.0


@dataclass(frozen=True)
class Hub:
    """A server that speaks the hub's protocol: its address and the headers of requests, the token among them."""

    endpoint: str
    headers: Mapping[str, str]
    patience: Patience = Patience()
    opener: urllib.request.OpenerDirector = field(default_factory=lambda: _opener())

    def url(self, listing: Listing, path: str) -> str:
        """Return the address of a file of ``listing``."""
        folder = "" if listing.kind == "model" else f"{listing.kind}s/"
        return f"{self.endpoint}/{folder}{listing.repo}/resolve/{listing.commit}/{quote(path)}"

    def page(self, repo: str, kind: str) -> str:
        """Return the address of a repository's page for people."""
        return f"{self.endpoint}/{'' if kind == 'model' else f'{kind}s/'}{repo}"

    def open(self, url: str, start: int = 0) -> Any:
        """Return the answer to one request, from byte ``start`` on; ``BROKEN`` and ``HTTPError`` are the caller's."""
        request = urllib.request.Request(url)
        for name, value in {**self.headers, "Accept-Encoding": "identity"}.items():
            if name.lower() == "authorization":
                request.add_unredirected_header(name, value)
            else:
                request.add_header(name, value)
        if start:
            request.add_header("Range", f"bytes={start}-")
        return self.opener.open(request, timeout=SECONDS)


def hub_here() -> Hub:
    """Return the hub that ``HF_ENDPOINT`` names, with the token of ``HF_TOKEN`` or ``hf auth login``.

    Raises ``DataError`` where ``HF_HUB_OFFLINE`` forbids to ask, or the address is none.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers

    if constants.HF_HUB_OFFLINE:
        raise DataError("HF_HUB_OFFLINE is set, so nothing is fetched; unset it, or copy the files by hand")
    endpoint = constants.ENDPOINT.rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        raise DataError(f"HF_ENDPOINT is '{endpoint}', which is no address such as https://huggingface.co")
    return Hub(endpoint, build_hf_headers(library_name="gpt4scene"))


def read_listing(hub: Hub, repo: str, kind: str, revision: str) -> Listing:
    """Return what ``repo`` (``kind`` "model" or "dataset") holds at ``revision``, a branch, tag or commit.

    Raises ``DataError`` where the hub can't be reached, refuses, or answers something else than a list.
    """
    url = f"{hub.endpoint}/api/{kind}s/{repo}/revision/{quote(revision, safe='')}?blobs=true"

    def ask() -> bytes:
        with hub.open(url) as answer:
            return answer.read()

    content = patiently(hub, ask, repo, lambda error: refusal(hub, error, repo, kind, revision))
    try:
        listed = json.loads(content)
        name, commit = str(listed.get("id") or repo), str(listed["sha"])
        files = tuple(map(_file, listed["siblings"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = "a web page" if content.lstrip()[:1] == b"<" else "something else than the list of its files"
        raise DataError(
            f"{repo}: {hub.endpoint} answers with {what}: a proxy, a log-in page or a wrong HF_ENDPOINT"
        ) from error
    if name != repo:
        talk.note(f"{repo} has moved: its name is now {name}")
    return Listing(name, kind, commit, files)


def _file(row: Mapping[str, Any]) -> HubFile:
    large = row.get("lfs")
    if large:
        return HubFile(str(row["rfilename"]), int(large["size"]), str(large["sha256"]), lfs=True)
    return HubFile(str(row["rfilename"]), int(row["size"]), str(row["blobId"]), lfs=False)


def patiently(
    hub: Hub,
    ask: Callable[[], Any],
    what: str,
    refused: Callable[[urllib.error.HTTPError], DataError | None],
    progress: Callable[[], int] = lambda: 0,
    stop: Event | None = None,
) -> Any:
    """Return what ``ask`` returns; broken connections and busy servers are asked again after a pause.

    ``refused`` turns an answer of the server into the error to raise, ``None`` where another try may help. A try after
    which ``progress`` gives more than before counts as the first again. ``stop`` ends a pause.

    Raises:
        DataError: the server refuses, or too many tries in a row have failed.
        StopFetchingError: ``stop`` was set.
    """
    failed, reached = 0, progress()
    while True:
        try:
            return ask()
        except urllib.error.HTTPError as error:
            if (refusing := refused(error)) is not None:
                raise refusing from error
            reason, pause = f"the server answers {error.code} {error.reason}", _asked_pause(error)
        except BROKEN as error:
            if (untrusted := _untrusted(error, what)) is not None:
                raise untrusted from error
            reason, pause = _reason(error), None
        failed, reached = (1 if progress() > reached else failed + 1), progress()
        pause = hub.patience.pause * 2 ** (failed - 1) if pause is None else pause
        if failed >= hub.patience.tries or pause > hub.patience.longest:
            asks = f", which asks to wait {pause:.0f} s" if pause > hub.patience.longest else ""
            raise DataError(
                f"{what}: {hub.endpoint} can't be used now ({reason}{asks}); "
                "what came is kept, run the same command again to go on"
            )
        if pause >= 10:
            talk.say(f"{what}: {reason}; trying again in {pause:.0f} s")
        if (stop or Event()).wait(pause):
            raise StopFetchingError


def refusal(
    hub: Hub, error: urllib.error.HTTPError, repo: str, kind: str, revision: str, path: str | None = None
) -> DataError | None:
    """Return the error for a server's refusal, with what to do about it; ``None`` where another try may help."""
    code, page = error.headers.get("X-Error-Code", ""), hub.page(repo, kind)
    token = any(name.lower() == "authorization" for name in hub.headers)
    if error.code in (408, 425, 429) or error.code >= 500:
        return None
    if code == "GatedRepo":
        sentence = f"is gated: open {page}, accept the terms, then {'try again' if token else LOG_IN}"
    elif code == "RevisionNotFound":
        sentence = f"has no revision '{revision}'; {page}/tree/main lists them"
    elif code == "EntryNotFound" or (path and error.code in (404, 410)):
        sentence = f"no longer has '{path}'; run the same command again, which reads the list anew"
    elif error.code in (401, 403) and token:
        sentence = f"refuses your token ({error.code}), or does not exist; {LOG_IN} with one that may read {page}"
    elif error.code in (401, 403, 404):
        sentence = f"is not at {page}, or not open to you; check HF_ENDPOINT, or {LOG_IN}"
    elif 300 <= error.code < 400:
        sentence = f"leads in a circle, or to an address that is not of the web ({error.code}); check HF_ENDPOINT"
    else:
        sentence = f"can't be read: {hub.endpoint} answers {error.code} {error.reason}; check HF_ENDPOINT and proxies"
    return DataError(f"{repo}: {sentence}")


def _asked_pause(error: urllib.error.HTTPError) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, written as a number or a date; ``None`` without it."""
    asked = error.headers.get("Retry-After")
    if not asked:
        return None
    if asked.strip().isdigit():
        return float(asked)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return None


def _untrusted(error: BaseException, what: str) -> DataError | None:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if not isinstance(reason, ssl.SSLCertVerificationError):
        return None
    return DataError(
        f"{what}: the certificate of the server is not trusted ({reason.verify_message}); "
        "where a proxy signs connections, name its certificate in SSL_CERT_FILE"
    )


def _reason(error: BaseException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return text.splitlines()[0] if text else type(reason).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to web addresses only; the token goes along only where host and scheme stay the same."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        there, here = urlsplit(newurl), urlsplit(req.full_url)
        if there.scheme not in ("http", "https"):
            raise urllib.error.HTTPError(newurl, code, "no address of the web", headers, fp)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and there[:2] == here[:2]:
            for name, value in req.unredirected_hdrs.items():
                if name.lower() == "authorization":
                    following.add_unredirected_header(name, value)
        return following


def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE"))
    if not context.cert_store_stats()["x509_ca"]:
        import certifi

        context.load_verify_locations(certifi.where())
    return urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=context))
