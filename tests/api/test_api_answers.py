"""Everything else over HTTP: topics, machines, config, probes, metrics, and who is answered at all."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.api.api_shop import Shop, client_of, open_shop, shop_and_client

from setpoint.api import create_app
from setpoint.namespace import BrokerError, Message, encode_relational, encode_time_series

TEMPERATURE = "umh.v1.acme._raw.temperature"


def ask(path: str, *messages: Message, **headers: str) -> Any:
    """The answer of a shop without presses to whose broker these messages were published."""

    async def main() -> Any:
        async with shop_and_client(broker=bool(messages) or "topics" in path) as (shop, client):
            if messages:
                await shop.broker.publish(messages)
            return await client.get(path, headers=headers)

    return asyncio.run(main())


def test_a_topic_has_its_last_value_decoded() -> None:
    """The value, its own time, the count and the producer of a time series topic."""
    messages = [
        Message(TEMPERATURE, encode_time_series(value, 1_700_000_000_123), {"bridged_by": "press-1"})
        for value in (1.5, 2.5)
    ]
    (found,) = ask("/api/v1/topics", *messages).json()
    assert found.pop("written") > "2024"
    assert found == {
        "topic": TEMPERATURE,
        "kind": "time_series",
        "value": 2.5,
        "timestamp": "2023-11-14T22:13:20.123Z",
        "count": 2,
        "producer": "press-1",
        "problem": "",
        "contract": "_raw",
        "rate": None,
        "metadata": {"bridged_by": "press-1"},
    }


def test_a_relational_topic_keeps_its_object() -> None:
    """An order stays an object."""
    (topic,) = ask(
        "/api/v1/topics", Message("umh.v1.acme._orders.x", encode_relational({"id": 7, "open": None}))
    ).json()
    assert (topic["kind"], topic["value"]) == ("relational", {"id": 7, "open": None})


@pytest.mark.parametrize("payload", [b"", b"\xff\x00", b"[1]", b'{"timestamp_ms": 1, "value": null}', b"{" * 500])
def test_a_payload_that_cannot_be_read_is_said_to_be_so(payload: bytes) -> None:
    """Rubbish on one topic is shown with its problem and hides no other topic."""
    good = Message(TEMPERATURE, encode_time_series(1, 1))
    bad, other = ask("/api/v1/topics", Message("umh.v1.acme._raw.bad", payload), good).json()
    assert bad["problem"]
    assert bad["value"] is None
    assert other["value"] == 1


def test_topics_are_filtered_and_limited() -> None:
    """`contains` chooses, `limit` cuts, and a header says how many there are in all."""
    messages = [Message(f"umh.v1.acme._raw.t{number:02}", encode_time_series(1, 1)) for number in range(20)]
    answer = ask("/api/v1/topics?contains=.t1&limit=3", *messages)
    assert [topic["topic"][-3:] for topic in answer.json()] == ["t10", "t11", "t12"]
    assert answer.headers["X-Total-Count"] == "10"


@pytest.mark.parametrize("query", ["contains=" + "x" * 5000, "limit=0", "limit=x"])
def test_bad_filters_are_refused(query: str) -> None:
    """A filter that is too long or a limit that is none is a 400 in the one shape."""
    answer = ask(f"/api/v1/topics?{query}")
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "hint"}
    assert len(answer.content) < 1000


class Hanging:
    """A broker whose disk does not answer."""

    async def topics(self, contains: str = "") -> Any:
        await asyncio.Event().wait()

    async def stats(self) -> Any:
        raise BrokerError("the disk is full")


def test_a_broker_that_hangs_hangs_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not answer, or fails, is a 503 with the reason; workers are still answered for."""
    monkeypatch.setattr("setpoint.api.errors.BROKER_TIMEOUT", 0.05)

    async def main() -> list[Any]:
        async with open_shop() as shop:
            working, shop.broker = shop.broker, Hanging()  # type: ignore[assignment]
            async with client_of(create_app(shop)) as client:  # type: ignore[arg-type]
                answers = [await client.get(f"/api/v1/{path}") for path in ("topics", "metrics", "workers")]
            shop.broker = working
            return answers

    topics, metrics, workers = asyncio.run(main())
    assert topics.status_code == metrics.status_code == 503
    assert "within 0.05 s" in topics.json()["error"]
    assert "the disk is full" in metrics.json()["error"]
    assert workers.status_code == 200


def test_a_machine_is_data_and_drawings() -> None:
    """A machine is found by its name or worker type, in every format, with its media type."""
    machine = ask("/api/v1/machines/bridge").json()
    assert {"name", "initial", "states", "arcs"} <= set(machine)
    assert {"event", "source", "target", "when"} <= set(machine["arcs"][0])
    assert ask("/api/v1/machines/broker").json()["name"] == "redpanda"
    for format, media_type, beginning in (
        ("svg", "image/svg+xml", "<svg"),
        ("mermaid", "text/plain", "stateDiagram"),
        ("dot", "text/vnd.graphviz", "digraph"),
        ("markdown", "text/markdown", ""),
    ):
        answer = ask(f"/api/v1/machines/connection?format={format}&at=up")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        assert beginning in answer.text


def test_all_machines_are_listed() -> None:
    """The list names every machine with its size."""
    names = {machine["name"] for machine in ask("/api/v1/machines").json()}
    assert {"bridge", "connection", "redpanda", "container_monitor", "benthos_flow", "lifecycle"} <= names


def test_the_machine_of_a_worker_that_a_user_wrote_is_served() -> None:
    """A machine that is in no catalogue is found while a worker of it runs."""

    async def main() -> list[Any]:
        async with shop_and_client("press-1", broker=False) as (shop, client):
            await shop.until("agent/press-1", "pressing")
            return [
                await client.get(f"/api/v1/machines{path}") for path in ("", "/press", "/press?format=svg&at=slack")
            ]

    everything, press, drawing = asyncio.run(main())
    assert "press" in {machine["name"] for machine in everything.json()}
    assert press.json()["initial"] == "stopped"
    assert drawing.text.lstrip().startswith("<svg")


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("brige", 404, "bridge"),
        ("bridge?at=nowhere", 404, "starting_connection"),
        ("bridge?format=gif", 400, "svg"),
        ("x" * 5000, 404, "5000 characters"),
        ("..%2f..%2fetc", 404, "Not Found"),
    ],
)
def test_a_machine_that_is_not_there(path: str, status: int, says: str) -> None:
    """An unknown machine, state or format is refused with what there is."""
    answer = ask(f"/api/v1/machines/{path}")
    assert answer.status_code == status
    assert says in json.dumps(answer.json())


def test_the_config_status_names_the_place_of_every_problem() -> None:
    """A config error is shown with file, line, column, key and hint, and with what runs instead."""

    async def main() -> Any:
        async with shop_and_client() as (shop, client):
            shop.break_config()
            return (await client.get("/api/v1/config/status")).json()

    status = asyncio.run(main())
    assert not status["ok"]
    assert status["applied"] == "this file"
    assert status["applied_at"].endswith("Z")
    (problem,) = status["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("config.yaml", 12, 3)


def test_probes_answer_at_both_places() -> None:
    """Liveness, readiness and metrics are where operators and where programs look for them."""
    for base in ("", "/api/v1"):
        assert ask(f"{base}/healthz").status_code == 200
        assert ask(f"{base}/readyz").status_code == 200
        assert ask(f"{base}/metrics").status_code == 200


def test_not_ready_is_503_and_says_what_is_missing() -> None:
    """Readiness names what it waits for."""

    async def main() -> Any:
        async with shop_and_client() as (shop, client):
            shop.readiness = (False, "not observed yet: agent/press-1")
            return await client.get("/readyz")

    answer = asyncio.run(main())
    assert answer.status_code == 503
    assert "agent/press-1" in answer.json()["error"]


async def _metrics(shop: Shop, client: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = list(text_string_to_metric_families((await client.get("/metrics")).text))
    assert all(family.name.startswith("setpoint_") for family in families)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_metrics_have_one_series_for_the_state_a_worker_is_in() -> None:
    """A worker has exactly one state series, which goes when the worker goes; a strange name is escaped."""
    name = 'odd "name"\\ {x="y"}'

    async def main() -> tuple[Any, Any]:
        async with shop_and_client(name, "press-2") as (shop, client):
            await shop.until(f"agent/{name}", "pressing")
            await shop.until("agent/press-2/sensor", "pressing")
            await shop.broker.publish([Message(TEMPERATURE, encode_time_series(1, 1))])
            before = await _metrics(shop, client)
            shop.want("press-2")
            assert await shop.supervisor.until(lambda s: len(s.workers()) == 2, 10)
            return before, await _metrics(shop, client)

    before, after = asyncio.run(main())

    def states(figures: Any) -> dict[str, str]:
        return {
            dict(labels)["path"]: dict(labels)["state"]
            for (name, labels), _ in figures.items()
            if name == "setpoint_worker_state"
        }

    assert states(before) == {f"agent/{n}": "pressing" for n in (name, f"{name}/sensor", "press-2", "press-2/sensor")}
    assert states(after) == {"agent/press-2": "pressing", "agent/press-2/sensor": "pressing"}
    assert not [labels for (_, labels) in after if any(name in value for _, value in labels)]
    assert before["setpoint_broker_messages_in_total", ()] == 1
    assert before["setpoint_broker_topics", ()] == 1
    assert before["setpoint_config_ok", ()] == 1
    assert before["setpoint_process_resident_memory_bytes", ()] > 1e6
    press = (("path", "agent/press-2"), ("type", "press"))
    assert before["setpoint_worker_transitions_total", press] == 4


def test_two_agents_in_one_process_have_metrics_of_their_own() -> None:
    """Nothing is registered globally: a second application shows its own workers only."""

    async def main() -> list[Any]:
        async with shop_and_client("press-1") as first, shop_and_client("press-9") as second:
            await first[0].until("agent/press-1", "pressing")
            await second[0].until("agent/press-9", "pressing")
            return [(await client.get("/metrics")).text for _, client in (first, second)]

    one, two = asyncio.run(main())
    assert "press-1" in one
    assert "press-9" not in one
    assert "press-9" in two
    assert "press-1" not in two


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "[::1]:8080", "192.168.1.7", "x.localhost", "LOCALHOST"]
)
def test_addresses_and_localhost_are_answered(host: str) -> None:
    """A host that no stranger can own is answered."""
    assert ask("/healthz", host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "", "[evil]", "1"]
)
def test_a_rebound_name_is_refused(host: str) -> None:
    """A page of a stranger whose name was pointed at this machine gets nothing, whatever it asks for."""

    async def main() -> None:
        async with shop_and_client(broker=False) as (_, client):
            for path in ("/", "/api/v1/workers", "/metrics", "/api/v1/events", "/nowhere"):
                answer = await client.get(path, headers={"host": host})
                assert answer.status_code == 400
                assert set(answer.json()) == {"error", "hint"}

    asyncio.run(main())


def test_the_name_it_was_bound_to_is_answered() -> None:
    """An agent that listens on a name answers to it."""

    async def main() -> int:
        async with open_shop() as shop, client_of(create_app(shop, host="edge-7.plant"), host="edge-7.plant") as client:  # type: ignore[arg-type]
            return (await client.get("/healthz")).status_code

    assert asyncio.run(main()) == 200


def test_every_answer_is_json_with_safe_headers() -> None:
    """Also what is not there or not allowed: one shape, no caching, no guessing of types, nothing to embed."""
    for path in ("/nowhere", "/api/v1/nowhere", "/docs", "/redoc", "/api/v1/workers/x"):
        answer = ask(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "hint"}
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_nothing_can_be_changed_over_http() -> None:
    """The interface reads; other methods are refused."""

    async def main() -> set[int]:
        async with shop_and_client() as (_, client):
            return {
                (await client.request(method, "/api/v1/workers")).status_code
                for method in ("POST", "PUT", "DELETE", "PATCH")
            }

    assert asyncio.run(main()) == {405}


def test_a_defect_is_a_500_without_its_insides(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception names its type to the client and the rest to the log."""

    async def main() -> Any:
        async with open_shop() as shop:
            shop.config_status = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
            import httpx

            transport = httpx.ASGITransport(create_app(shop), raise_app_exceptions=False)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.get("/api/v1/config/status")

    answer = asyncio.run(main())
    assert answer.status_code == 500
    assert answer.json()["error"] == "ZeroDivisionError while answering"
    assert "division" not in answer.text
