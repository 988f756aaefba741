"""The broker machine over a cluster that runs elsewhere: the client library's mock of Kafka, and a server of Redpanda's formats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.redpanda_server import METRICS, Redpanda, redpanda

from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.namespace import BrokerError, Message
from setpoint.services.processes import ProcessBackend, ProcessError
from setpoint.workers.broker import Broker, BrokerObserved, BrokerSpec, External, NamespaceLog

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")

from tests.namespace.kafka_mock import Mock, mock

BROKER = "agent/broker"
MESSAGE = Message("umh.v1.acme._raw.x", b"1")
Story = Callable[[Supervisor, NamespaceLog], Coroutine[Any, Any, None]]


@pytest.fixture
def cluster() -> Iterator[Mock]:
    with mock() as one:
        one.topic("umh.messages")
        yield one


@pytest.fixture
def admin() -> Iterator[Redpanda]:
    with redpanda() as one:
        yield one


async def no_processes() -> ProcessBackend:
    raise ProcessError("nothing here needs a process")


def play(folder: Path, spec: BrokerSpec, story: Story) -> None:
    """Run a story with a broker of this spec, and stop it cleanly."""

    async def main() -> None:
        log = NamespaceLog(folder, processes=no_processes, open_timeout=1.0)
        registry = Registry(broker=log)
        registry.add("broker", Broker)
        s = Supervisor(registry)
        want(s, spec)
        try:
            await story(s, log)
        finally:
            left = await s.stop(5.0)
        assert left == []

    asyncio.run(asyncio.wait_for(main(), 60))


def want(s: Supervisor, spec: BrokerSpec) -> None:
    s.want([ChildSpec("broker", "broker", spec)])


async def reach(s: Supervisor, state: str, text: str = "", seconds: float = 15.0) -> str:
    """The reason, once the broker is in the state with this in its reason."""

    def there(s: Supervisor) -> bool:
        fact = s.core.fact(BROKER)
        return fact.state == state and text in fact.reason

    assert await s.until(there, seconds), (state, text, s.worker(BROKER))
    return s.worker(BROKER).reason


def seen(s: Supervisor) -> BrokerObserved:
    """What was observed last."""
    found: BrokerObserved = s.records[BROKER].observed or BrokerObserved()
    return found


def external(cluster: Mock, admin: Redpanda | None = None, **more: Any) -> BrokerSpec:
    place = {"brokers": [cluster.servers]} | ({"admin": admin.url} if admin else {})
    return BrokerSpec(external=External.model_validate(place), idle_window_s=1.0, **more)


def test_without_an_admin_api_the_clients_own_figures_tell_whether_it_is_in_use(cluster: Mock, tmp_path: Path) -> None:
    """A plain Kafka: idle until something is published, idle again after the window; stopped closes the log."""

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        await reach(s, "idle", "no bytes in 1 s")
        await log.publish([MESSAGE])
        await reach(s, "active")
        assert not seen(s).metered
        await reach(s, "idle")
        want(s, external(cluster, desired_state="stopped"))
        await reach(s, "stopped")
        with pytest.raises(BrokerError, match="not open"):
            await log.publish([MESSAGE])

    play(tmp_path, external(cluster), story)


def test_the_metrics_of_the_cluster_tell_whether_it_is_in_use(cluster: Mock, admin: Redpanda, tmp_path: Path) -> None:
    """What others write counts as well, although nothing goes through this agent."""

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        await reach(s, "idle")
        for turn in range(1, 3):
            admin.metrics = METRICS.replace('"umh.messages"} 1000', f'"umh.messages"}} {1000 + 5000 * turn}')
            await asyncio.sleep(1.1)
        await reach(s, "active")
        assert seen(s).metered
        assert seen(s).bytes_in_per_s > 1000
        await reach(s, "idle")

    play(tmp_path, external(cluster, admin), story)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("disk_free_space_alert{} 0", "disk_free_space_alert{} 1", "disk-space-low: 333.4 GB of 460 GB free"),
        ("unavailable_partitions{} 0", "unavailable_partitions{} 2", "unavailable-partitions: 2 without a quorum"),
        ("redpanda_cluster_topics{}", "renamed{}", "metrics-unreadable: not exported: redpanda_cluster_topics"),
    ],
)
def test_a_check_that_fails_is_degraded_with_its_name(
    cluster: Mock, admin: Redpanda, tmp_path: Path, old: str, new: str, text: str
) -> None:
    """And recovered when it passes again; what is written meanwhile is written."""

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        await reach(s, "idle")
        admin.metrics = METRICS.replace(old, new)
        await reach(s, "degraded", text)
        await log.publish([MESSAGE])
        admin.metrics = METRICS
        await reach(s, "idle")

    play(tmp_path, external(cluster, admin), story)


def test_an_admin_api_that_is_down_is_degraded_while_kafka_works(
    cluster: Mock, admin: Redpanda, tmp_path: Path
) -> None:
    """Also from the start: what is wrong is said, nothing is stopped, and messages are written."""
    admin.status = "booting"

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        await reach(s, "starting", "not-ready: it says it is booting")
        await log.publish([MESSAGE])
        await reach(s, "degraded", "not-ready: it says it is booting", seconds=5.0)
        admin.status = "ready"
        await reach(s, "idle")

    play(tmp_path, external(cluster, admin, start_timeout_s=1.0), story)


def test_a_broker_that_goes_away_is_degraded_and_recovers_by_itself(
    cluster: Mock, admin: Redpanda, tmp_path: Path
) -> None:
    """With the reason of the client, beside what the admin API says."""

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        await reach(s, "idle")
        cluster.down()
        await reach(s, "degraded", cluster.servers)
        cluster.up()
        await reach(s, "idle", seconds=20.0)

    play(tmp_path, external(cluster, admin), story)


def test_settings_of_the_cluster_are_kept_and_only_ours(cluster: Mock, admin: Redpanda, tmp_path: Path) -> None:
    """Written, read back, and changed with the config without a new connection; one that is not taken is degraded with its name."""

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        await reach(s, "idle")
        assert admin.puts == [{"upsert": {"log_retention_ms": 1000}, "remove": []}]
        assert admin.settings["other"] == "an operator's"
        admin.sticky = {"log_segment_ms"}
        admin.settings["log_segment_ms"] = 5
        want(s, external(cluster, admin, settings={"log_segment_ms": 7}))
        await reach(s, "degraded", "configuration: log_segment_ms was set to 7 and reads 5")
        assert seen(s).current

    play(tmp_path, external(cluster, admin, settings={"log_retention_ms": 1000}), story)


def test_nobody_there_is_a_failed_start_with_its_reason_again_and_again(tmp_path: Path) -> None:
    """Stopped for a moment after its time-out, with what the client said; then it is tried again, and its end waits for nobody."""
    spec = BrokerSpec(external=External(addresses=("127.0.0.1:1",)), start_timeout_s=1.5)

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        assert await s.until(
            lambda s: sum(move.event == "start_failed" for move in s.journal.history(BROKER)) >= 2, 30.0
        )
        failed = [move for move in s.journal.history(BROKER) if move.event == "start_failed"]
        assert failed[0].target == "stopped"
        assert failed[0].reason.startswith("start failed: 127.0.0.1:1 did not answer within 1 s")
        assert s.worker(BROKER).reason.count("did not answer") == 1, "one cause, said once"

    play(tmp_path, spec, story)


def test_another_log_is_opened_in_the_place_of_the_one_before(cluster: Mock, tmp_path: Path) -> None:
    """From the built-in log to Kafka and back: degraded while it moves; readers hear of it, and messages go where the config says."""

    async def story(s: Supervisor, log: NamespaceLog) -> None:
        await reach(s, "idle")
        first = await log.publish([MESSAGE])
        reader = log.subscribe("g")
        want(s, external(cluster))
        assert await s.until(lambda s: seen(s).open and seen(s).log.startswith("Kafka at"), 15.0)
        with pytest.raises(BrokerError):
            await reader.read()
        await reach(s, "idle")
        await log.publish([MESSAGE, MESSAGE])
        want(s, BrokerSpec())
        assert await s.until(lambda s: seen(s).log == "the built-in log", 15.0)
        assert await log.publish([MESSAGE]) == first + 1

    play(tmp_path, BrokerSpec(), story)
