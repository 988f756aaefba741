"""One output at work: connected, written to, connected again, for as long as that takes.

`deliver` returns when the output has taken everything. A write that failed is tried again, later and later (capped, jittered); a connection
that broke is made again in the same manner. What the output says can never be written is handed back, and the rest is written again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from setpoint.flows.component import ConnectError, Output, Rejected, WriteError

SLOW_WRITE: Final = 10.0
"""Seconds after which a write that still waits is reported."""


class Backoff:
    """How long to wait before the next attempt: doubling from `first` to `cap` seconds, each wait half to all of that."""

    def __init__(self, rng: random.Random, *, first: float = 0.1, cap: float = 5.0) -> None:
        self._rng, self._first, self._cap, self._next = rng, first, cap, first

    def reset(self) -> None:
        self._next = self._first

    async def wait(self) -> None:
        delay = self._next * (0.5 + 0.5 * self._rng.random())
        self._next = min(self._next * 2, self._cap)
        await asyncio.sleep(delay)


class Report(NamedTuple):
    """Who is told how an output does: that its connection came up or broke, that an attempt to connect or to write failed and will be made
    again, that so many messages of so many bytes were taken."""

    is_connected: Callable[[bool], None]
    write_failed: Callable[[Exception], None]
    written: Callable[[int, int], None]


class Sink:
    """An output, and what is known of it."""

    def __init__(self, output: Output, rng: random.Random, report: Report) -> None:
        self.output = output
        self._backoff = Backoff(rng)
        self._report = report
        self._connected = False

    async def connect(self) -> None:
        """Returns once it is connected."""
        while not self._connected:
            try:
                await self.output.connect()
            except ConnectError as error:
                self._report.write_failed(error)
                await self._backoff.wait()
            else:
                self._connected = True
                self._report.is_connected(True)

    async def deliver(self, prepared: list[Any]) -> dict[int, str]:
        """Returns once the output took everything, with the reasons, by place, for those it can never take."""
        refused: dict[int, str] = {}
        places = list(range(len(prepared)))
        while places:
            try:
                await self.connect()
                size = await self._write([prepared[place] for place in places] if refused else prepared)
            except Rejected as error:
                if not error.reasons:
                    raise
                refused |= {places[number]: reason for number, reason in error.reasons.items()}
                places = [place for number, place in enumerate(places) if number not in error.reasons]
            except (WriteError, ConnectError) as error:
                await self._failed(error)
            else:
                self._report.written(len(places), size)
                self._backoff.reset()
                break
        return refused

    async def _write(self, prepared: list[Any]) -> int:
        alarm = asyncio.get_running_loop().call_later(SLOW_WRITE, self._is_slow)
        try:
            return await self.output.write(prepared)
        finally:
            alarm.cancel()

    async def _failed(self, error: Exception) -> None:
        self._report.write_failed(error)
        if isinstance(error, ConnectError):
            self._connected = False
            self._report.is_connected(False)
            await self.output.close()
        await self._backoff.wait()

    def _is_slow(self) -> None:
        self._report.write_failed(WriteError(f"has not taken a batch for {SLOW_WRITE:g} s; still waiting"))
