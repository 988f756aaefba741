"""Access: who may ask, and what every answer carries.

The interface listens on loopback and has no passwords, so a page of a stranger, open in the browser of somebody who sits at this machine,
must not be able to read it. Browsers keep origins apart by name; DNS rebinding gets around that by letting the stranger's own name point
to 127.0.0.1. Such a request carries that name in its Host header. So only hosts are answered that no stranger can own: IP addresses,
``localhost`` (RFC 6761), this machine's name, and the name the server was bound to.
"""

from __future__ import annotations

import ipaddress
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from setpoint.api.shapes import Failure, Json


def host_of(header: str) -> str:
    """The host in a Host header, without port and brackets, in lower case."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].rstrip(".")


def is_own(host: str, bound: str) -> bool:
    """Whether a host is an address, or a name that can only mean this machine; `bound` is what the server listens on."""
    if host == "localhost" or host.endswith(".localhost") or host in (bound.lower(), socket.gethostname().lower()):
        return bool(host)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Access:
    """Refuses requests that came under a stranger's name, and adds the headers that every answer has."""

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        host = host_of(Headers(scope=scope).get("host", ""))
        if is_own(host, self._host):
            await self._app(scope, receive, send_with_headers)
            return
        refusal = Failure(
            f"this server does not answer to the name {host[:100]!r}",
            "ask by address, such as http://127.0.0.1, or by localhost",
        )
        await Json(refusal, status_code=400)(scope, receive, send_with_headers)
