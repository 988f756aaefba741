"""A Redpanda cluster watched: asked every second how it is, and its configuration kept as wanted.

A task of its own asks, so that whoever wants to know has an answer at once, whatever the admin API does: `readings` is the latest. An
answer that does not come is a reading as well, with the reason. Asking slows down where answers take long, so that a large cluster spends
no more than a fifth of the time on it. The processor counts as saturated only over a longer stretch: one busy second is no trouble.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from setpoint.services.blocking import in_thread
from setpoint.services.redpanda.admin import Admin, AdminError
from setpoint.services.redpanda.health import Rates, Readings, rates
from setpoint.services.redpanda.metrics import Metrics, NotMetrics, parse
from setpoint.services.redpanda.registry import Schemas
from setpoint.services.redpanda.settings import ClusterSettings

EVERY_S: Final = 1.0
SLOWEST_S: Final = 5.0
"""At the latest after so long it is asked again."""
KEEP_EVERY_S: Final = 10.0
"""Between two looks at the cluster's configuration."""
BUSY_OVER_S: Final = 15.0
"""How long a shard must be busy to count as saturated."""


class Cluster:
    """One cluster, watched from `begin` to `close`. For the event loop's thread.

    `make` makes the client of the admin API and may block; what it raises is a reading. `registry` is the URL of a schema registry that
    belongs to it, "" for none.
    """

    def __init__(self, make: Callable[[], Admin], *, registry: str = "", every_s: float = EVERY_S) -> None:
        self._make, self._registry_url, self._every_s = make, registry, every_s
        self.readings = Readings(not_ready="it has not answered yet")
        self._wanted: Mapping[str, Any] = {}
        self._admin: Admin | None = None
        self._registry: Schemas | None = None
        self._settings: ClusterSettings | None = None
        self._configuration_fault = ""
        self._keep_at = float("-inf")
        self._before: deque[tuple[float, Metrics]] = deque()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def want(self, settings: Mapping[str, Any]) -> None:
        """Keep these keys of the cluster's configuration as they are here, from the next look on, and no others."""
        if settings != self._wanted:
            self._wanted, self._keep_at, self._configuration_fault = dict(settings), float("-inf"), ""

    def disk(self) -> tuple[int, int, int]:
        """The bytes of the log (not known: 0), and the free and all bytes of the disk, as last read. Any thread may ask."""
        metrics = self.readings.metrics
        return (0, metrics.disk_free_bytes or 0, metrics.disk_total_bytes or 0) if metrics else (0, 0, 0)

    async def close(self) -> None:
        """Watch no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        for client in (self._admin, self._registry):
            if client is not None:
                await client.close()
        self._admin = self._registry = self._settings = None

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                self.readings = await self._read()
            except Exception as error:  # whatever it is: silence would look like health
                self.readings = Readings(not_ready=f"it cannot be asked: {error or type(error).__name__}")
            await asyncio.sleep(min(max(self._every_s, 4 * (loop.time() - begun)), SLOWEST_S))

    async def _read(self) -> Readings:
        admin = await self._client()
        not_ready, (metrics, metrics_fault), registry_fault = await asyncio.gather(
            admin.not_ready(), self._metrics(admin), self._registry_fault()
        )
        if not not_ready:
            await self._keep()
        return Readings(
            not_ready=not_ready,
            metrics=metrics,
            metrics_fault="" if not_ready else metrics_fault,  # it says the same again
            registry_fault=registry_fault,
            configuration_fault="" if not_ready else self._configuration_fault,
            rates=self._rates(metrics),
        )

    async def _client(self) -> Admin:
        if self._admin is None:
            self._admin = await in_thread(self._make)
            self._settings = ClusterSettings(self._admin)
        return self._admin

    async def _metrics(self, admin: Admin) -> tuple[Metrics | None, str]:
        try:
            text = await admin.metrics()
            return await in_thread(lambda: parse(text)), ""
        except (AdminError, NotMetrics) as error:
            return None, str(error)

    async def _registry_fault(self) -> str:
        if not self._registry_url:
            return ""
        if self._registry is None:
            self._registry = await in_thread(lambda: Schemas(self._registry_url))
        return await self._registry.fault()

    async def _keep(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._wanted or self._settings is None or now < self._keep_at:
            return
        wanted = self._wanted
        try:
            fault = (await self._settings.keep(wanted)).fault
        except AdminError as error:
            fault = str(error)
        if wanted is self._wanted:  # else it is looked at again at once
            self._configuration_fault, self._keep_at = fault, now + KEEP_EVERY_S

    def _rates(self, metrics: Metrics | None) -> Rates:
        """What went through since the reading before, and how busy the busiest shard was over the longer stretch."""
        now, before = asyncio.get_running_loop().time(), self._before
        if metrics is None:
            before.clear()
            return Rates()
        while len(before) > 1 and before[1][0] <= now - BUSY_OVER_S:
            before.popleft()
        found = rates(before[-1][1], metrics, now - before[-1][0]) if before else Rates()
        long_ago = before[0][0] if before else now
        busiest = (
            rates(before[0][1], metrics, now - long_ago).busiest_percent if now - long_ago >= BUSY_OVER_S else None
        )
        before.append((now, metrics))
        return msgspec.structs.replace(found, busiest_percent=busiest)
