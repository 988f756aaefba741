"""Everything at once: publishers, readers fast and slow, retention of nothing, last values."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from setpoint.namespace import BrokerError, EmbeddedBroker, Message, log_writer, tail

PUBLISHERS, BATCHES, SIZE = 20, 30, 7


def test_readers_miss_nothing_while_others_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast, a slow and a choosy group each get all they want once and in order, from memory and from disk, while last values are
    written and read."""
    monkeypatch.setattr(tail, "TAIL_BYTES", 3_000)
    monkeypatch.setattr(log_writer, "FLUSH_BYTES", 5_000)
    total = PUBLISHERS * BATCHES * SIZE

    async def publish(broker: EmbeddedBroker, publisher: int) -> None:
        for batch in range(BATCHES):
            topic = f"umh.v1.acme.p{publisher}._raw.x"
            await broker.publish([Message(topic, b"%d" % (batch * SIZE + n)) for n in range(SIZE)])

    async def read(broker: EmbeddedBroker, group: str, pattern: str, *, limit: int, wanted: int, pause: float) -> None:
        subscription = broker.subscribe(group, [pattern])
        found: list[Message] = []
        while len(found) < wanted:
            part = await subscription.read(limit, timeout=10)
            assert part, f"{group} waits for ever after {len(found)}"
            found += part
            await subscription.commit(part[-1].offset)
            await asyncio.sleep(pause)
        offsets = [message.offset for message in found]
        assert offsets == sorted(set(offsets))
        for publisher in range(PUBLISHERS):
            numbers = [int(m.payload) for m in found if m.topic == f"umh.v1.acme.p{publisher}._raw.x"]
            assert numbers in ([], list(range(BATCHES * SIZE)))

    async def browse(broker: EmbeddedBroker) -> None:
        seen = 0
        while seen < total:
            count = sum(info.count for info in await broker.topics())
            assert count >= seen
            seen = count

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log.db", commit_interval=0.0005) as broker:
            await asyncio.gather(
                *(publish(broker, publisher) for publisher in range(PUBLISHERS)),
                read(broker, "fast", "umh", limit=1000, wanted=total, pause=0),
                read(broker, "slow", "umh", limit=90, wanted=total, pause=0.001),
                read(broker, "choosy", r"umh\.v1\.acme\.p[35]\.", limit=5, wanted=2 * BATCHES * SIZE, pause=0),
                browse(broker),
            )
            assert {group.lag for group in (await broker.stats()).groups if group.group != "choosy"} == {0}

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_one_reader_at_a_time(tmp_path: Path) -> None:
    """A second read of the same subscription while the first waits is refused, and does not disturb it."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log.db") as broker:
            subscription = broker.subscribe("g")
            reading = asyncio.create_task(subscription.read())
            await asyncio.sleep(0)
            with pytest.raises(BrokerError, match="one reader at a time"):
                await subscription.read()
            with pytest.raises(ValueError, match="at least 1"):
                await subscription.read(0)
            await broker.publish([Message("umh.v1.a._raw.x", b"1")])
            assert len(await reading) == 1

    asyncio.run(scenario())
