"""Data contracts in a schema registry: registered where the broker has one, kept there, and why not is a reason of the broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.redpanda_server import Redpanda, redpanda

from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.services.processes import ProcessBackend, ProcessError
from setpoint.services.redpanda import Schemas
from setpoint.services.redpanda import schemas as module
from setpoint.services.redpanda.schemas import KeptSchemas
from setpoint.workers.broker import Broker, BrokerObserved, BrokerSpec, External, NamespaceLog

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")

from tests.namespace.kafka_mock import Mock, mock

BROKER = "agent/broker"
PUMP = {"_pump_v1-timeseries-number": {"type": "object"}}


@pytest.fixture
def server() -> Iterator[Redpanda]:
    with redpanda() as one:
        yield one


@pytest.fixture
def cluster() -> Iterator[Mock]:
    with mock() as one:
        one.topic("umh.messages")
        yield one


async def until(fact: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110 - the server is another thread
            await asyncio.sleep(0.01)


def keep(make: Callable[[], Schemas], story: Callable[[KeptSchemas], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        kept = KeptSchemas(make, lambda: PUMP)
        kept.begin()
        try:
            await story(kept)
        finally:
            await kept.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_schemas_are_registered_and_others_at_once_when_they_are_wanted(server: Redpanda) -> None:
    """What is not wanted any more goes; what somebody else has registered stays."""
    server.subjects = {"orders": ['{"type": "object"}']}

    async def story(kept: KeptSchemas) -> None:
        await until(lambda: "_pump_v1-timeseries-number" in server.subjects)
        kept.want(lambda: {"_tank_v1-x": {"type": "object"}})
        await until(lambda: set(server.subjects) == {"orders", "_tank_v1-x"})
        assert kept.fault == ""

    keep(lambda: Schemas(server.url), story)


def test_what_goes_wrong_is_said_and_tried_again(server: Redpanda, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that refuses, one that does not answer, certificates that cannot be read, schemas that cannot be made."""
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(module, "SLOWEST_RETRY_S", 0.05)
    trouble: list[Exception] = []

    def make() -> Schemas:
        if trouble:
            raise trouble[0]
        return Schemas(server.url, timeout=0.3)

    def unmakable() -> dict[str, Any]:
        raise KeyError("no such shape")

    async def story(kept: KeptSchemas) -> None:
        await until(lambda: "not compatible with what is registered" in kept.fault)
        server.incompatible.clear()
        server.delay = 1.0
        await until(lambda: "did not answer within 0.3 s" in kept.fault)
        server.delay = 0.0
        await until(lambda: kept.fault == "")
        trouble.append(OSError("ca.pem cannot be read"))
        kept.want(lambda: PUMP)
        await until(lambda: kept.fault == "it cannot be asked: ca.pem cannot be read")
        trouble.clear()
        kept.want(unmakable)
        await until(lambda: "no such shape" in kept.fault)

    server.incompatible.add("_pump_v1-timeseries-number")
    keep(make, story)


def test_it_is_looked_at_again(server: Redpanda, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that lost its subjects gets them again."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)

    async def story(kept: KeptSchemas) -> None:
        await until(lambda: server.subjects)
        server.subjects.clear()
        await until(lambda: server.subjects)

    keep(lambda: Schemas(server.url), story)


def test_two_agents_share_a_registry(server: Redpanda) -> None:
    """Each removes only what it registered itself; what the other registered and is as wanted will do."""

    async def within() -> None:
        async with Schemas(server.url, owner="cologne") as one, Schemas(server.url, owner="aachen") as other:
            assert (await one.keep(PUMP)).registered == ("_pump_v1-timeseries-number",)
            tank = {"_tank_v1-x": {"type": "object"}}
            again = await other.keep({**PUMP, **tank})
            assert (again.registered, again.changed, again.fault) == (("_tank_v1-x",), (), "")
            assert (await one.keep(PUMP)).removed == ()
            different = {"_pump_v1-timeseries-number": {"type": "array"}, **tank}
            assert "somebody else has registered another schema" in (await other.keep(different)).fault
            assert (await one.keep({})).removed == ("_pump_v1-timeseries-number",)

    asyncio.run(asyncio.wait_for(within(), 20))
    assert json.loads(server.subjects["_tank_v1-x"][0])["$comment"] == "registered by setpoint for aachen"


async def no_processes() -> ProcessBackend:
    raise ProcessError("nothing here needs a process")


def test_the_broker_says_why_contracts_are_not_registered(
    cluster: Mock, server: Redpanda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its states are what they were: degraded with the reason, idle again once all is registered; messages are counted beside it."""
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.1)
    place = External.model_validate({"brokers": [cluster.servers], "registry": server.url})
    server.subjects = {"_pump_v1-timeseries-number": ['{"type": "array"}']}

    async def main() -> None:
        log = NamespaceLog(tmp_path, processes=no_processes, open_timeout=1.0)
        log.undeclared = lambda: {"_order": 3}
        registry = Registry(broker=log)
        registry.add("broker", Broker)
        s = Supervisor(registry)
        s.want([ChildSpec("broker", "broker", BrokerSpec(external=place, idle_window_s=1.0))])
        log.set_schemas(lambda: PUMP, owner="cologne")
        try:
            assert await s.until(lambda s: "somebody else" in s.core.fact(BROKER).reason, 15)
            assert "schemas: _pump_v1-timeseries-number: somebody else has" in s.worker(BROKER).reason
            server.subjects.clear()
            assert await s.until(lambda s: s.core.fact(BROKER).state == "idle", 15)
            seen = s.records[BROKER].observed
            assert isinstance(seen, BrokerObserved)
            assert seen.undeclared == {"_order": 3}
            log.set_schemas(lambda: {"_tank_v1-x": {"type": "object"}}, owner="cologne")
            await until(lambda: list(server.subjects) == ["_tank_v1-x"])
        finally:
            assert await s.stop(5.0) == []

    asyncio.run(asyncio.wait_for(main(), 60))
    assert "for cologne" in server.subjects["_tank_v1-x"][0]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("registry:8081", "expected http://host:8081"),
        ("http://user:secret@registry:8081", "a user does not stand in a url"),
        ("http://registry:8081/?x=1", "expected http://host:8081"),
    ],
)
def test_the_address_of_a_registry_is_checked(given: str, text: str) -> None:
    """It may have a path, as other registries than Redpanda's have, and no password is repeated."""
    assert External.model_validate({"brokers": ["k:9092"], "registry": "http://r:8081/apis/v7"}).registry is not None
    with pytest.raises(ValueError, match="registry") as caught:
        External.model_validate({"brokers": ["k:9092"], "registry": given})
    assert text in str(caught.value)
