"""Addresses that open the 3D view at one scene and one object, and what such an address asks for.

The page itself hands only the address of its web socket on, so scene and object stand in the path of that one:
``http://HOST:PORT/?websocket=ws://HOST:PORT/scene/ID/object/7``. The page writes this parameter unescaped into the
browser's address, from where it is read again when the page is loaded anew: so names are escaped with ``~``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

_ESCAPE = re.compile("~([0-9A-Fa-f]{2})")
_MOST = 1000
"""Longest path in characters that is looked at."""


@dataclass(frozen=True)
class Wanted:
    """What an address asks for: a scene by name and an object by number, ``None`` where it says neither."""

    scene: str | None = None
    object: int | None = None


def address(base: str, scene: str | None = None, object: int | None = None) -> str:
    """Return the address that opens the view at ``base`` with ``scene`` shown and ``object`` chosen.

    ``base`` is the view's own address, such as ``http://127.0.0.1:8080``. Raises ``ValueError`` where it is none.
    """
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{base}: is no address of a view, which is like http://127.0.0.1:8080")
    home = f"{parts.scheme}://{parts.netloc}/"
    if scene is None:
        return home
    socket = "wss" if parts.scheme == "https" else "ws"
    path = f"scene/{_escaped(scene)}" + ("" if object is None else f"/object/{object}")
    return f"{home}?websocket={socket}://{parts.netloc}/{path}"


def wanted(path: str) -> Wanted:
    """Return what the path of a web socket's address asks for; nothing where it is not one of ``address``."""
    words = path[:_MOST].partition("?")[0].strip("/").split("/")
    if len(words) not in (2, 4) or words[0] != "scene":
        return Wanted()
    number = words[3] if len(words) == 4 and words[2] == "object" else ""
    known = number.isascii() and number.isdecimal() and len(number) < 10
    return Wanted(_unescaped(words[1]), int(number) if known else None)


def _escaped(name: str) -> str:
    return quote(name, safe="").replace("~", "%7E").replace("%", "~")


def _unescaped(name: str) -> str:
    return unquote(_ESCAPE.sub(r"%\1", name))
