"""What viser knows of a connection and has no public name for: its address and headers. All of that stands here.

A web page of a stranger that is open in the same browser could else read the scenes and edit the boxes.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gpt4scene.view.links import Wanted, wanted

if TYPE_CHECKING:
    import viser

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine by which a browser on it reaches it."""


def allowed(headers: Mapping[str, str], local: bool) -> bool:
    """Return whether a connection with these headers may be served.

    A browser says with ``Origin`` which page opens the connection: it must be one of ours. Where only this machine
    is served (``local``), the address must name it, since a stranger's name can be made to lead here.
    """
    host, origin = headers.get("Host", ""), headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return False
    return not local or (urlsplit(f"//{host}").hostname or "").lower() in LOCAL


def refuse_strangers(server: viser.ViserServer, local: bool) -> None:
    """Close connections that are not ``allowed`` before anything is sent to them."""
    inner = server._websock_server

    async def check(connection: Any) -> None:
        live = inner._live_connections.get(connection.client_id)
        if live is not None and live.request is not None and not allowed(live.request.headers, local):
            await live.close(1008, "this page may not look into this view")

    inner.on_client_connect(check)


def wanted_by(server: viser.ViserServer, client: viser.ClientHandle) -> tuple[Wanted, str]:
    """Return what a person's address asks for, and the address of the view as that person's browser writes it."""
    live = server._websock_server._live_connections.get(client.client_id)
    if live is None or live.request is None:
        return Wanted(), f"http://{server.get_host()}:{server.get_port()}"
    headers = live.request.headers
    origin = headers.get("Origin") or f"http://{headers.get('Host', '')}"
    return wanted(live.request.path), origin


def stop_quietly(server: viser.ViserServer) -> None:
    """Stop the server without what it says meanwhile: on stdout, where results go, and of pages that were open."""
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    thread = server._websock_server._server_thread
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()
        if thread is not None:
            thread.join(timeout=10)
