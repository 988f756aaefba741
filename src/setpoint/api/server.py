"""The server: the socket that the agent is asked through, and what answers on it.

The socket is bound before anything else starts, so that a taken port is known while there is nothing to undo. Signals are not the server's
business: whoever runs it says when it ends, and it ends at once, streams included.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

CLIENT_TIMEOUT_MS = 20_000
"""Milliseconds after which the kernel gives up a client that takes no bytes (TCP_USER_TIMEOUT, RFC 5482)."""
CLOSE_TIMEOUT = 2


class BindError(Exception):
    """The address cannot be listened on: says why and what to do."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `BindError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise BindError(f"there is no address {host!r} to listen on ({error}); use --host 127.0.0.1") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, CLIENT_TIMEOUT_MS)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise BindError(_why(host, port, error)) from None
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} on {host} is taken, perhaps by another agent; "
                "stop that, or use --port with another number (--port 0 takes a free one)"
            )
        case errno.EACCES:
            return f"port {port} needs more rights than this user has; use --port with a number of 1024 or above"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine; use --host 127.0.0.1, or --host 0.0.0.0 for all of its addresses"
        case _:
            return f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}"


def url_of(listener: socket.socket) -> str:
    """The address to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Answers on one socket until told to stop."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        self._app, self._listener = app, listener
        self._task: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=CLOSE_TIMEOUT,
                limit_concurrency=512,
                timeout_keep_alive=30,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def begin(self) -> asyncio.Task[None]:
        """Start to answer, as a task of the running loop that is done when it no longer does."""
        self._task = asyncio.get_running_loop().create_task(self.serve(sockets=[self._listener]))
        return self._task

    async def end(self) -> None:
        """Stop to answer. Returns within a few seconds, whatever the clients do."""
        self._app.state.changes.close()
        self.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT + 1)
        with suppress(OSError):
            self._listener.close()
