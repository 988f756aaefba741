"""A cluster watched: readings that come whatever the admin API does, and settings that are kept without a fight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from tests.services.redpanda_server import METRICS, Redpanda, redpanda

from setpoint.services.redpanda import Admin, Readings
from setpoint.services.redpanda import cluster as module
from setpoint.services.redpanda.cluster import Cluster
from setpoint.services.redpanda.health import failing


@pytest.fixture
def server() -> Iterator[Redpanda]:
    with redpanda() as one:
        yield one


def watch(make: Callable[[], Admin], story: Callable[[Cluster], Coroutine[Any, Any, None]], registry: str = "") -> None:
    """Run a story with a cluster that is asked 20 times a second."""

    async def main() -> None:
        cluster = Cluster(make, registry=registry, every_s=0.05)
        cluster.begin()
        try:
            await story(cluster)
        finally:
            await cluster.close()

    asyncio.run(asyncio.wait_for(main(), 20))


async def when(cluster: Cluster, text: str) -> Readings:
    """The readings, once this is among what fails; with "", once nothing fails."""
    while (failing(cluster.readings) != "") if not text else (text not in failing(cluster.readings)):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return cluster.readings


def test_an_admin_api_that_hangs_is_a_reading(server: Redpanda) -> None:
    """Whoever asks for the readings does not wait for it; when it answers again all is well."""

    async def story(cluster: Cluster) -> None:
        await when(cluster, "")
        server.delay = 0.6
        readings = await when(cluster, "not-ready: ")
        assert "did not answer within 0.3 s" in failing(readings)
        assert "metrics-unreadable" not in failing(readings), "one cause, said once"
        server.delay = 0.0
        await when(cluster, "")

    watch(lambda: Admin(server.url, timeout=0.3), story)


def test_a_client_that_cannot_be_made_is_a_reading(server: Redpanda) -> None:
    """Certificates that cannot be read are tried again: somebody may put them there."""
    there = False

    def make() -> Admin:
        if not there:
            raise OSError("ca.pem cannot be read")
        return Admin(server.url)

    async def story(cluster: Cluster) -> None:
        nonlocal there
        await when(cluster, "not-ready: it cannot be asked: ca.pem cannot be read")
        there = True
        await when(cluster, "")

    watch(make, story)


@pytest.mark.parametrize("text", ["<html>no metrics</html>", b"\xff\xfe\x00", ""])
def test_metrics_that_are_none_are_a_reading(server: Redpanda, text: str | bytes) -> None:
    """The other checks go on."""
    server.metrics = text

    async def story(cluster: Cluster) -> None:
        readings = await when(cluster, "metrics-unreadable: ")
        assert readings.not_ready == ""
        assert cluster.disk() == (0, 0, 0)
        server.metrics = METRICS
        await when(cluster, "")
        assert cluster.disk() == (0, 333374935040, 460206137344)

    watch(lambda: Admin(server.url), story)


def test_a_shard_counts_as_saturated_after_a_while_only(server: Redpanda, monkeypatch: pytest.MonkeyPatch) -> None:
    """One busy second is no trouble; a stretch of them is, until it is over."""
    monkeypatch.setattr(module, "BUSY_OVER_S", 0.5)
    begun = asyncio.new_event_loop().time()
    level = 10.0

    class Busy(Redpanda):
        def answer(self, method: str, path: str, body: Any) -> tuple[int, str | bytes]:
            nonlocal level
            now = asyncio.new_event_loop().time()
            level = max(level, 10.0 + now - begun) if self.status == "ready" else level
            self.metrics = METRICS.replace("10.500000", f"{level:.3f}")
            return super().answer(method, path, body)

    server.__class__ = Busy

    async def story(cluster: Cluster) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await when(cluster, "cpu-saturated: a shard is busy for")
        assert loop.time() - start >= 0.5

    watch(lambda: Admin(server.url), story)


def test_an_operator_who_insists_wins_and_it_is_said(server: Redpanda, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is changed back three times is left to whoever does it; a new wish is tried again."""
    monkeypatch.setattr(module, "KEEP_EVERY_S", 0.05)

    async def story(cluster: Cluster) -> None:
        cluster.want({"log_retention_ms": 1000})
        turns = 0
        while not cluster.readings.configuration_fault:
            if server.settings["log_retention_ms"] == 1000:
                turns += 1
                await asyncio.sleep(0.15)  # it is seen as wanted
                server.settings["log_retention_ms"] = 77
            await asyncio.sleep(0.02)
        assert "somebody changed it back 3 times" in cluster.readings.configuration_fault
        writes = len(server.puts)
        await asyncio.sleep(0.3)
        assert (len(server.puts), server.settings["log_retention_ms"]) == (writes, 77)
        cluster.want({"log_retention_ms": 2000})
        await when(cluster, "")
        assert server.settings["log_retention_ms"] == 2000
        assert server.settings["other"] == "an operator's"

    watch(lambda: Admin(server.url), story)


def test_a_setting_that_is_refused_is_said_in_redpandas_words(server: Redpanda) -> None:
    """And does not make the rest unhealthy."""

    async def story(cluster: Cluster) -> None:
        cluster.want({"unknown_key": 1})
        readings = await when(cluster, "configuration: ")
        assert "Unknown property" in readings.configuration_fault

    watch(lambda: Admin(server.url), story)


def test_a_schema_registry_that_does_not_answer_is_a_check_of_its_own(server: Redpanda) -> None:
    """Where there is one."""

    async def story(cluster: Cluster) -> None:
        await when(cluster, "schema-registry: http://127.0.0.1:1/subjects")

    watch(lambda: Admin(server.url), story, "http://127.0.0.1:1")
