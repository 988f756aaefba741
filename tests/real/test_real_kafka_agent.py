"""An agent whose namespace is on a real Kafka: it goes, comes back, hangs, and refuses us; each time the broker's state says why."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.ports import free_port
from tests.real.real_kafka import Kafka, kafka, no_kafka
from tests.real.service import flow
from tests.real.test_real_kafka_faults import certificates

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")

from setpoint.agent import Agent
from setpoint.namespace import decode
from setpoint.namespace.kafka.broker import KafkaBroker
from setpoint.namespace.kafka.client import Access

pytestmark = pytest.mark.real

AGENT = "agent: {location: {0: acme}}\n"
FLOW = "dataFlow:\n" + flow("count", interval="20ms")
TOLD_WITHIN_S = 15.0
"""From a fault of the broker to a state that says so."""


@pytest.fixture(scope="module")
def server() -> Iterator[Kafka]:
    if missing := no_kafka():
        pytest.skip(missing)
    with kafka() as one:
        yield one


def config(server: Kafka, topic: str, more: str = "") -> str:
    external = f"{{brokers: ['{server.servers}'], topic: {topic}{more}}}"
    return f"{AGENT}internal: {{redpanda: {{external: {external}}}}}\n{FLOW}"


def play(
    folder: Path, text: str, story: Callable[[Agent], Coroutine[Any, Any, None]], env: dict[str, str] | None = None
) -> float:
    """Run a story with an agent on the text; the seconds that its clean stop took."""
    (folder / "config.yaml").write_text(text)

    async def main() -> float:
        agent = Agent(folder / "config.yaml", data=folder / "data", env=env or {})
        assert agent.config_status().ok, [problem.text for problem in agent.config_status().problems]
        await agent.start()
        try:
            await story(agent)
        finally:
            begun = time.monotonic()
            left = await agent.stop()
        assert left == []
        return time.monotonic() - begun

    return asyncio.run(asyncio.wait_for(main(), 120))


async def reach(agent: Agent, state: str, text: str = "", seconds: float = 30.0) -> str:
    """The broker's reason, once it is in the state with this in its reason."""
    fact = agent.supervisor.core.fact("agent/broker")
    try:
        async with asyncio.timeout(seconds):
            while fact.state != state or text not in fact.reason:
                await asyncio.sleep(0.05)
                fact = agent.supervisor.core.fact("agent/broker")
    except TimeoutError:
        raise AssertionError(f"not {state} with {text!r} within {seconds} s, but {fact.state}: {fact.reason}") from None
    return fact.reason


async def written(server: Kafka, topic: str) -> list[int]:
    """All that is in the log, in its order."""
    async with KafkaBroker(Access(servers=(server.servers,)), topic=topic) as broker:
        reader = broker.subscribe("look")
        found: list[int] = []
        while messages := await reader.read(timeout=2.0):
            found += [int(decode(message.payload).value) for message in messages]
        return found


def test_what_was_acknowledged_outlives_a_broker_that_was_killed(server: Kafka, tmp_path: Path) -> None:
    """Active while a flow writes; killed: degraded with the client's reason; back: recovered, and every value is in the log."""

    async def story(agent: Agent) -> None:
        await reach(agent, "active")
        await asyncio.sleep(1.0)
        server.kill()
        begun = time.monotonic()
        reason = await reach(agent, "degraded", seconds=TOLD_WITHIN_S)
        print(f"killed → degraded in {time.monotonic() - begun:.1f} s: {reason}")
        assert server.servers in reason
        await reach(agent, "degraded", "refused", seconds=TOLD_WITHIN_S)
        await asyncio.to_thread(server.start)
        begun = time.monotonic()
        await reach(agent, "active")
        print(f"back → active in {time.monotonic() - begun:.1f} s")
        assert (await agent.broker.topics())[0].topic == "umh.v1.acme._raw.count"

    play(tmp_path, config(server, "killed"), story)
    found = asyncio.run(written(server, "killed"))
    print(
        f"{len(found)} messages, {len(found) - len(set(found))} doubled, {max(found) + 1 - min(found) - len(set(found))} lost"
    )
    assert min(found) <= 1
    assert set(found) == set(range(min(found), max(found) + 1))


def test_a_broker_that_hangs_is_degraded_with_a_reason(server: Kafka, tmp_path: Path) -> None:
    """It holds its connections and answers nothing: said within 15 s, the loop goes on; when it answers again it is well."""

    async def story(agent: Agent) -> None:
        await reach(agent, "active")
        server.pause()
        try:
            begun = time.monotonic()
            reason = await reach(agent, "degraded", seconds=TOLD_WITHIN_S)
            print(f"hangs → degraded in {time.monotonic() - begun:.1f} s: {reason}")
            assert server.servers in reason
        finally:
            server.resume()
        await reach(agent, "active")
        lag = agent.supervisor.core.lag
        print("timers were late:", dict(zip((*lag.BUCKETS, "more"), lag.counts, strict=True)))
        assert sum(lag.counts[-2:]) == 0, "the loop was held up for more than a second"

    play(tmp_path, config(server, "hangs"), story)


def test_an_agent_starts_and_stops_while_nobody_answers(server: Kafka, tmp_path: Path) -> None:
    """The start says what it waits for, fails after its time-out and is tried again; a stop in the middle of it does not wait for Kafka."""

    async def story(agent: Agent) -> None:
        await reach(agent, "starting", "did not answer", seconds=20.0)
        await asyncio.sleep(0.5)

    away = Kafka(tmp_path)
    assert play(tmp_path, config(away, "away").removesuffix(FLOW), story) < 2.0


def test_the_namespace_moves_to_kafka_while_the_agent_runs(server: Kafka, tmp_path: Path) -> None:
    """An edit of the config: the built-in log is closed, flows go on over Kafka; the way back as well."""
    built_in = AGENT + FLOW

    def log(agent: Agent) -> str:
        return str((agent.supervisor.worker("agent/broker").observed or {}).get("log"))

    async def until(agent: Agent, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in log(agent) or agent.supervisor.core.fact("agent/broker").state != "active":  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def story(agent: Agent) -> None:
        await until(agent, "built-in")
        (tmp_path / "config.yaml").write_text(config(server, "moves"))
        await until(agent, "Kafka")
        (tmp_path / "config.yaml").write_text(built_in)
        await until(agent, "built-in")

    play(tmp_path, built_in, story)
    assert len(asyncio.run(written(server, "moves"))) > 0


def test_a_certificate_that_does_not_verify_is_said(server: Kafka, tmp_path: Path) -> None:
    """Without the authority the start says what does not verify; an edit that names the authority is enough."""
    certificates(tmp_path)
    settings = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(tmp_path / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(tmp_path / "ca.pem"),
    }
    with kafka(settings, protocol="SSL") as secure:
        file = tmp_path / "config.yaml"

        async def story(agent: Agent) -> None:
            await reach(agent, "starting", "certificate verify failed", seconds=TOLD_WITHIN_S)
            file.write_text(config(secure, "tls", f", tls: {{enabled: true, root_cas_file: {tmp_path / 'ca.pem'}}}"))
            await reach(agent, "active")

        play(tmp_path, config(secure, "tls", ", tls: {enabled: true}"), story)


def test_a_password_comes_from_the_environment_and_a_wrong_one_is_said(server: Kafka, tmp_path: Path) -> None:
    """With the right one it is active and shown nowhere; with a wrong one the reason is the broker's own."""
    users = 'username="admin" password="a" user_admin="a" user_setpoint="123456789"'
    settings = {
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        ),
    }
    sasl = ", sasl: {mechanism: PLAIN, user: setpoint, password: '${KAFKA_PASSWORD}'}"

    async def works(agent: Agent) -> None:
        await reach(agent, "active")

    async def refused(agent: Agent) -> None:
        await reach(agent, "starting", "uthentication", seconds=TOLD_WITHIN_S)

    with kafka(settings, protocol="SASL_PLAINTEXT") as guarded:
        text = config(guarded, "sasl", sasl)
        (tmp_path / "right").mkdir()
        play(tmp_path / "right", text, works, {"KAFKA_PASSWORD": "123456789"})
        play(tmp_path, text.removesuffix(FLOW), refused, {"KAFKA_PASSWORD": "987654321"})
    kept = [path for path in (tmp_path / "right").rglob("*") if path.is_file() and b"123456789" in path.read_bytes()]
    assert kept == []


def test_topics_lists_what_is_on_kafka(server: Kafka, tmp_path: Path) -> None:
    """The program as a user has it: `setpoint up`, then `setpoint topics` and `setpoint status` in another terminal."""
    (tmp_path / "config.yaml").write_text(config(server, "listed"))
    port = free_port()
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}

    def cli(*words: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "setpoint.cli.main", *words)

    up = subprocess.Popen(
        cli("up", str(tmp_path / "config.yaml"), "--data", str(tmp_path / "data"), "--port", str(port)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    try:
        ends, found = time.monotonic() + 30, []
        while not found and time.monotonic() < ends:
            answer = subprocess.run(
                cli("topics", "--json", "--url", f"http://127.0.0.1:{port}"),
                capture_output=True,
                text=True,
                check=False,
            )
            found = json.loads(answer.stdout) if answer.returncode == 0 else []
        assert [topic["topic"] for topic in found] == ["umh.v1.acme._raw.count"]
        assert found[0]["count"] > 0
    finally:
        up.terminate()
        assert up.wait(15) == 0
