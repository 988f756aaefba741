"""Streams from and to a real Kafka, killed with -9 and with its broker killed under it: the output is the input, each record once.

``SETPOINT_KILLS`` says how often it is killed (CI: a few), ``SETPOINT_SEED`` repeats the moments of a run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.real_kafka import Kafka, kafka, no_kafka

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")
pytestmark = pytest.mark.real

KILLS = int(os.environ.get("SETPOINT_KILLS") or 3)
SEED = int(os.environ.get("SETPOINT_SEED") or random.randrange(1_000_000))
COUNT = 8000
MACHINE = """\
name: copy
states:
  read:
    transforms: [{javascript: "let n = 0; for (let i = 0; i < 3000; i++) n += i; return record;"}]
    arcs: [written]
  written: {final: true}
"""
"""Slow enough to be killed in the middle."""


@pytest.fixture(scope="module")
def server() -> Iterator[Kafka]:
    if missing := no_kafka():
        pytest.skip(missing)
    print(f"SETPOINT_SEED={SEED} SETPOINT_KILLS={KILLS}")
    with kafka() as one:
        yield one


def started(folder: Path, source: str, sink: str) -> subprocess.Popen[str]:
    (folder / "copy.yaml").write_text(MACHINE)
    command = ["run", str(folder / "copy.yaml"), "-i", source, "-o", sink, "--stream", "--resume"]
    program = f"from setpoint.cli.main import main; main({command!r})"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdout=pipe, stderr=pipe, text=True)


def run(folder: Path, source: str, sink: str) -> None:
    """Lets it come to its end."""
    process = started(folder, source, sink)
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def written(server: Kafka, topic: str) -> list[int]:
    """The numbers of the committed messages of a topic; none where there is no topic yet."""
    from confluent_kafka import Consumer, TopicPartition

    reader = Consumer({"bootstrap.servers": server.servers, "group.id": "look", "enable.partition.eof": True})
    found: list[int] = []
    try:
        parts = reader.list_topics(topic, timeout=10).topics[topic].partitions
        reader.assign([TopicPartition(topic, part, 0) for part in parts])
        ends = len(parts)
        while ends:
            message = reader.poll(10)
            assert message is not None
            if message.error() is None:
                found.append(json.loads(message.value() or b"{}")["n"])
            elif message.error().name() == "_PARTITION_EOF":
                ends -= 1
            else:
                break
    finally:
        reader.close()
    return found


def killed_until_done(folder: Path, source: str, sink: str) -> int:
    """Kills it at random moments, then lets it end; how often it was at work."""
    chance, hits = random.Random(SEED), 0
    for _ in range(KILLS):
        process = started(folder, source, sink)
        time.sleep(chance.uniform(0.8, 2.5))
        hits += process.poll() is None
        process.kill()
        process.communicate()
    run(folder, source, sink)
    return hits


def numbered(folder: Path) -> Path:
    file = folder / "in.jsonl"
    file.write_text("".join(f'{{"n": {n}}}\n' for n in range(COUNT)))
    return file


def test_a_file_comes_to_a_topic_exactly_once(server: Kafka, tmp_path: Path) -> None:
    """Killed again and again: every line is one committed message, in order."""
    sink = f"kafka://{server.servers}/once-out"
    hits = killed_until_done(tmp_path, str(numbered(tmp_path)), sink)
    found = written(server, "once-out")
    print(f"file to kafka: {COUNT} in, {hits} kills at work, {len(found) - len(set(found))} doubled")
    assert found == list(range(COUNT))


def test_a_topic_comes_to_a_file_and_to_a_topic_exactly_once(server: Kafka, tmp_path: Path) -> None:
    """From three partitions into a file, and into another topic by key, killed again and again: nothing lost, nothing twice."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": server.servers})
    for name in ("many", "many-out"):
        admin.create_topics([NewTopic(name, 3)])[name].result(10)
    run(tmp_path, str(numbered(tmp_path)), f'kafka://{server.servers}/many?key=${{! json("n") }}')
    source = f"kafka://{server.servers}/many?idle=0s"
    hits = killed_until_done(tmp_path, source, str(tmp_path / "out.jsonl"))
    lines = [json.loads(line)["n"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    hits += killed_until_done(tmp_path, source, f'kafka://{server.servers}/many-out?key=${{! json("n") }}')
    found = written(server, "many-out")
    print(f"kafka to file and to kafka: {COUNT} in, {hits} kills at work, {len(found) - len(set(found))} doubled")
    assert sorted(lines) == sorted(found) == list(range(COUNT))


def test_the_broker_may_be_killed_under_a_stream(server: Kafka, tmp_path: Path) -> None:
    """It goes on when the broker is back, and each record is there once."""
    file, sink = numbered(tmp_path), f"kafka://{server.servers}/survives"
    process = started(tmp_path, str(file), sink)
    time.sleep(2.0)
    server.kill()
    server.start()
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert written(server, "survives") == list(range(COUNT))


def test_a_second_run_of_a_stream_fences_the_first(server: Kafka, tmp_path: Path) -> None:
    """Two runs of one name do not mix: the first ends with the reason, and what it had not committed never was."""
    from setpoint.data.stream import Mark
    from setpoint.flows.ends.kafka import sink
    from setpoint.namespace import BrokerError

    async def within() -> None:
        first, second = (sink(f"kafka://{server.servers}/fenced") for _ in range(2))
        await first.open(resume=False)
        await first.write([{"n": 0}], {"at": 1})
        await first.commit(Mark({"at": 1}))
        assert await second.open(resume=True) == Mark({"at": 1})
        await first.write([{"n": 1}], {"at": 2})
        with pytest.raises(BrokerError, match="another run of the stream 'fenced' has taken over"):
            await first.commit(Mark({"at": 2}))
        await first.abort()
        await second.write([{"n": 2}], {"at": 2})
        await second.commit(Mark({"at": 2}))
        await second.finish()
        third = sink(f"kafka://{server.servers}/fenced")
        assert await third.open(resume=True) == Mark({"at": 2}, done=True)
        await third.abort()

    asyncio.run(asyncio.wait_for(within(), 60))
    assert written(server, "fenced") == [0, 2]


def test_a_stream_ends_when_all_is_read(server: Kafka, tmp_path: Path) -> None:
    """With ``idle=0s`` it reads up to where the topic ended when it began, markers of transactions and empty partitions included."""
    from setpoint.flows.ends.kafka import source

    async def within() -> list[int]:
        found: list[int] = []
        reader = source(f"kafka://{server.servers}/fenced,many?idle=0s&meta_field=meta")
        while chunk := await reader.read(1000):
            found += [record["n"] for record in chunk.records if record["meta"]["kafka_topic"] == "fenced"]
        await reader.close()
        return found

    assert asyncio.run(asyncio.wait_for(within(), 60)) == [0, 2]


def test_a_position_that_is_gone_is_said(server: Kafka, tmp_path: Path) -> None:
    """A topic that was made anew does not have what comes next; the stream says so instead of leaving something out."""
    from setpoint.flows.ends.kafka import KafkaSource, source

    async def within() -> None:
        reader = source(f"kafka://{server.servers}/once-out?idle=1s")
        assert isinstance(reader, KafkaSource)
        await reader.seek({"offsets": {"once-out/0": 10**9}})
        with pytest.raises(ValueError, match="is to go on at offset 1000000000"):
            await reader.read(10)
        await reader.close()

    asyncio.run(asyncio.wait_for(within(), 60))
