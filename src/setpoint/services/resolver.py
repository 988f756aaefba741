"""Names of hosts to addresses, without a slow name server holding up anything else.

The event loop's own look-ups share a few threads with everybody; a dozen names that nobody answers for keep them all. Here each name has
at most one look-up under way, in a thread of its own, and whoever asks meanwhile waits for the same one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from setpoint.services.blocking import in_thread


class Resolver:
    """Looks up names. For the event loop's thread."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[str]] = {}

    async def address(self, host: str) -> str:
        """An address of the host; the host itself where it is one. Raises `OSError` when there is none, `ValueError` for no name at all."""
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
        task = self._under_way.get(host)
        if task is None:
            task = asyncio.get_running_loop().create_task(in_thread(lambda: _looked_up(host)))
            self._under_way[host] = task
            task.add_done_callback(lambda done: self._ended(host, done))
        return await asyncio.shield(task)

    def _ended(self, host: str, task: asyncio.Task[str]) -> None:
        self._under_way.pop(host, None)
        if not task.cancelled():
            task.exception()  # it was told to whoever waited, if anybody still did


def _looked_up(host: str) -> str:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])
