"""What any broker must do: the conformance suite of `setpoint.namespace.broker.Broker`.

To run it on an implementation, subclass `BrokerConformance` in a test file, with `broker` returning a broker that is
not open yet. The same directory must give the same log, so that a second broker made after the first was closed finds
what the first wrote.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from setpoint.namespace import Broker, BrokerError, Message, TopicError

TOPIC = "umh.v1.acme._raw.x"


def message(number: int = 0, topic: str = TOPIC) -> Message:
    """A message that can be told from others."""
    return Message(topic, b"%d" % number)


def numbers(messages: list[Message]) -> list[int]:
    """Which messages these are."""
    return [int(one.payload) for one in messages]


class BrokerConformance:
    """One test a promise."""

    def broker(self, directory: Path) -> Broker:
        """A broker, not open yet, whose log is in `directory`."""
        raise NotImplementedError

    def run(self, directory: Path, scenario: Callable[[Broker], Awaitable[None]]) -> None:
        """Runs a scenario with an open broker."""

        async def within() -> None:
            broker = self.broker(directory)
            await broker.open()
            try:
                await asyncio.wait_for(scenario(broker), 20)
            finally:
                await broker.close()

        asyncio.run(within())

    def test_offsets_grow_by_one(self, tmp_path: Path) -> None:
        """A publish returns the offset of its last message, and offsets have no gaps."""

        async def scenario(broker: Broker) -> None:
            first = await broker.publish([message()])
            assert await broker.publish([message(), message()]) == first + 2
            assert await broker.publish([]) == first + 2

        self.run(tmp_path, scenario)

    def test_messages_come_back_whole_and_in_order(self, tmp_path: Path) -> None:
        """A reader gets topic, payload, headers and time as they were published, in the order of the offsets."""

        async def scenario(broker: Broker) -> None:
            sent = [
                Message(TOPIC, b'{"a": 1}', {"bridged_by": "press"}, 5),
                Message(TOPIC + "y", b"\x00\xff", {}, 6),
                Message(TOPIC, b"", {"ü": "ß"}, 7),
            ]
            last = await broker.publish(sent)
            received = await broker.subscribe("g").read()
            assert [(m.topic, m.payload, m.headers, m.timestamp_ms) for m in received] == [
                (m.topic, m.payload, m.headers, m.timestamp_ms) for m in sent
            ]
            assert [m.offset for m in received] == [last - 2, last - 1, last]

        self.run(tmp_path, scenario)

    def test_the_broker_stamps_messages_without_a_time(self, tmp_path: Path) -> None:
        """A message published with the time 0 gets the broker's."""

        async def scenario(broker: Broker) -> None:
            await broker.publish([message()])
            (received,) = await broker.subscribe("g").read()
            assert abs(received.timestamp_ms - time.time() * 1000) < 10_000

        self.run(tmp_path, scenario)

    def test_what_was_published_survives_closing(self, tmp_path: Path) -> None:
        """After closing and opening again the messages are there, and offsets go on where they ended."""
        ends: list[int] = []

        async def write(broker: Broker) -> None:
            ends.append(await broker.publish([message(1), message(2)]))

        async def look(broker: Broker) -> None:
            assert numbers(await broker.subscribe("g").read()) == [1, 2]
            assert await broker.publish([message(3)]) == ends[0] + 1

        self.run(tmp_path, write)
        self.run(tmp_path, look)

    def test_a_group_resumes_after_its_commit(self, tmp_path: Path) -> None:
        """What a group committed it does not see again, what it only read it does, in this run and in the next."""

        async def read(broker: Broker) -> None:
            await broker.publish([message(n) for n in range(4)])
            subscription = broker.subscribe("g")
            received = await subscription.read()
            await subscription.commit(received[1].offset)
            await subscription.close()
            assert numbers(await broker.subscribe("g").read()) == [2, 3]

        async def resume(broker: Broker) -> None:
            assert numbers(await broker.subscribe("g").read()) == [2, 3]

        self.run(tmp_path, read)
        self.run(tmp_path, resume)

    def test_groups_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Every group gets every message."""

        async def scenario(broker: Broker) -> None:
            await broker.publish([message(1)])
            one, other = broker.subscribe("one"), broker.subscribe("other")
            received = await one.read()
            await one.commit(received[0].offset)
            assert numbers(await other.read()) == [1]

        self.run(tmp_path, scenario)

    def test_a_new_group_starts_where_it_says(self, tmp_path: Path) -> None:
        """`earliest` gets what is there already, `latest` only what comes; a group that has committed goes on from there either way."""

        async def scenario(broker: Broker) -> None:
            await broker.publish([message(1)])
            earliest, latest = broker.subscribe("e"), broker.subscribe("l", start="latest")
            last = await broker.publish([message(2)])
            assert numbers(await earliest.read(1)) == [1]
            assert numbers(await latest.read()) == [2]
            await latest.commit(last)
            await broker.publish([message(3)])
            assert numbers(await broker.subscribe("l", start="latest").read()) == [3]

        self.run(tmp_path, scenario)

    def test_a_subscription_gets_the_topics_it_asked_for(self, tmp_path: Path) -> None:
        """Any of the patterns must match, from the start of the topic."""

        async def scenario(broker: Broker) -> None:
            topics = ["umh.v1.a._raw.x", "umh.v1.b._raw.x", "umh.v1.c._raw.x", "x.umh.v1.a._raw.x"]
            await broker.publish([message(n, topic) for n, topic in enumerate(topics)])
            subscription = broker.subscribe("g", [r"umh\.v1\.a", r"umh\.v1\.c\..*"])
            assert numbers(await subscription.read()) == [0, 2]
            with pytest.raises(TopicError):
                broker.subscribe("g", ["("])

        self.run(tmp_path, scenario)

    def test_a_commit_covers_what_was_passed_over(self, tmp_path: Path) -> None:
        """Having committed the last message it wanted, a group has nothing left to read, whatever else is in the log."""

        async def scenario(broker: Broker) -> None:
            await broker.publish([message(1, "umh.v1.a._raw.x"), message(2, "umh.v1.b._raw.x")])
            subscription = broker.subscribe("g", [r"umh\.v1\.a"])
            (received,) = await subscription.read()
            await subscription.commit(received.offset)
            assert await subscription.read(timeout=0.01) == []

        self.run(tmp_path, scenario)

    def test_a_read_keeps_to_its_limit(self, tmp_path: Path) -> None:
        """A read gives at most `limit` messages, and the next one goes on behind them."""

        async def scenario(broker: Broker) -> None:
            await broker.publish([message(n) for n in range(5)])
            subscription = broker.subscribe("g")
            assert [numbers(await subscription.read(2)) for _ in range(3)] == [[0, 1], [2, 3], [4]]

        self.run(tmp_path, scenario)

    def test_a_read_waits_for_messages(self, tmp_path: Path) -> None:
        """A read at the end of the log comes back empty when its time is over, and with the message as soon as there is one."""

        async def scenario(broker: Broker) -> None:
            subscription = broker.subscribe("g")
            assert await subscription.read(timeout=0.01) == []
            reading = asyncio.create_task(subscription.read())
            await asyncio.sleep(0)
            await broker.publish([message(1)])
            assert numbers(await asyncio.wait_for(reading, 5)) == [1]

        self.run(tmp_path, scenario)

    def test_a_cancelled_read_loses_nothing(self, tmp_path: Path) -> None:
        """Cancelling a read that waits leaves the subscription as it was."""

        async def scenario(broker: Broker) -> None:
            subscription = broker.subscribe("g")
            reading = asyncio.create_task(subscription.read())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait({reading})
            await broker.publish([message(1)])
            assert numbers(await subscription.read()) == [1]

        self.run(tmp_path, scenario)

    def test_closing_wakes_who_waits(self, tmp_path: Path) -> None:
        """A read that waits ends with an error when the broker is closed, and so does all that is tried afterwards."""

        async def scenario(broker: Broker) -> None:
            subscription = broker.subscribe("g")
            reading = asyncio.create_task(subscription.read())
            await asyncio.sleep(0)
            await broker.close()
            with pytest.raises(BrokerError):
                await asyncio.wait_for(reading, 5)
            with pytest.raises(BrokerError):
                await broker.publish([message()])
            with pytest.raises(BrokerError):
                await subscription.read()
            with pytest.raises(BrokerError):
                broker.subscribe("g")

        self.run(tmp_path, scenario)

    def test_opening_and_closing_can_be_repeated(self, tmp_path: Path) -> None:
        """A second open or close changes nothing, and a closed broker can be opened again."""

        async def scenario(broker: Broker) -> None:
            await broker.open()
            await broker.publish([message(1)])
            await broker.close()
            await broker.close()
            await broker.open()
            assert numbers(await broker.subscribe("g").read()) == [1]

        self.run(tmp_path, scenario)

    def test_the_newest_subscription_of_a_group_takes_over(self, tmp_path: Path) -> None:
        """A reader that hangs can be replaced: from then on it gets errors, also for what it wants to commit late."""

        async def scenario(broker: Broker) -> None:
            await broker.publish([message(1)])
            old = broker.subscribe("g")
            received = await old.read()
            new = broker.subscribe("g")
            with pytest.raises(BrokerError):
                await old.read()
            with pytest.raises(BrokerError):
                await old.commit(received[0].offset)
            await old.close()
            assert numbers(await new.read()) == [1]

        self.run(tmp_path, scenario)

    def test_a_group_cannot_commit_what_does_not_exist(self, tmp_path: Path) -> None:
        """An offset beyond the end is refused: it would hide messages that are yet to come."""

        async def scenario(broker: Broker) -> None:
            last = await broker.publish([message(1)])
            subscription = broker.subscribe("g")
            with pytest.raises(BrokerError):
                await subscription.commit(last + 1)

        self.run(tmp_path, scenario)

    def test_topics_show_the_last_value_and_the_count(self, tmp_path: Path) -> None:
        """Every topic shows its last message and how many there were, found by part of its name, also after opening again."""
        ends: list[int] = []

        async def write(broker: Broker) -> None:
            await broker.publish([message(1, "umh.v1.b._raw.x"), message(2, "umh.v1.a._raw.x")])
            ends.append(await broker.publish([Message("umh.v1.b._raw.x", b"3", {"k": "v"}, 9)]))
            await look(broker)

        async def look(broker: Broker) -> None:
            a, b = await broker.topics()
            assert (a.topic, a.payload, a.count) == ("umh.v1.a._raw.x", b"2", 1)
            assert (b.payload, b.headers, b.timestamp_ms, b.offset, b.count) == (b"3", {"k": "v"}, 9, ends[0], 2)
            assert await broker.topics("1.b.") == [b]
            assert await broker.topics("nothing like it") == []
            assert (await broker.stats()).topics == 2

        async def more(broker: Broker) -> None:
            await broker.publish([message(4, "umh.v1.b._raw.x")])
            assert [info.count for info in await broker.topics("1.b.")] == [3]

        self.run(tmp_path, write)
        self.run(tmp_path, look)
        self.run(tmp_path, more)

    def test_stats_tell_what_went_through(self, tmp_path: Path) -> None:
        """An open broker is ready and counts traffic and the lag of groups; one that is not open is not ready."""

        async def scenario(broker: Broker) -> None:
            await broker.publish([message(1), message(2)])
            subscription = broker.subscribe("g")
            (received,) = await subscription.read(1)
            await subscription.commit(received.offset)
            stats = await broker.stats()
            assert stats.ready
            assert stats.error == ""
            assert (stats.messages_in, stats.messages_out) == (2, 1)
            assert stats.bytes_in == 2 * stats.bytes_out == 2 * len(TOPIC + "1")
            assert stats.last_offset - stats.first_offset == 1
            assert [(group.group, group.lag) for group in stats.groups] == [("g", 1)]
            assert 0 < stats.disk_free_bytes <= stats.disk_total_bytes
            assert stats.size_bytes > 0
            await broker.close()
            assert not (await broker.stats()).ready

        self.run(tmp_path, scenario)

    def test_publishers_do_not_mix(self, tmp_path: Path) -> None:
        """What many publish at the same time arrives completely, each batch in one piece."""

        async def scenario(broker: Broker) -> None:
            async def publish(publisher: int) -> None:
                for part in range(5):
                    start = publisher * 1000 + part * 10
                    last = await broker.publish([message(start + n) for n in range(10)])
                    offsets.update({last - 9 + n: start + n for n in range(10)})

            offsets: dict[int, int] = {}
            await asyncio.gather(*(publish(publisher) for publisher in range(20)))
            received = await broker.subscribe("g").read(2000)
            assert {m.offset: int(m.payload) for m in received} == offsets
            assert len(offsets) == 1000

        self.run(tmp_path, scenario)

    @pytest.mark.parametrize(
        "bad",
        [
            Message(TOPIC, b"x" * (1024 * 1024 + 1)),
            Message("", b""),
            Message("x" * 1025, b""),
            Message(TOPIC, b"", {}, -1),
            Message(TOPIC, b"", {"k": "v" * 70_000}),
            Message(TOPIC, "text"),  # type: ignore[arg-type]
            Message(TOPIC, b"", {"k": 1}),  # type: ignore[dict-item]
        ],
        ids=["large", "no topic", "long topic", "negative time", "large headers", "text payload", "number in headers"],
    )
    def test_what_is_not_acceptable_is_refused_whole(self, tmp_path: Path, bad: Message) -> None:
        """A message that cannot be accepted is refused together with its batch, and disturbs nobody else."""

        async def scenario(broker: Broker) -> None:
            with pytest.raises(BrokerError):
                await broker.publish([message(1), bad])
            await broker.publish([message(2)])
            assert numbers(await broker.subscribe("g").read()) == [2]

        self.run(tmp_path, scenario)

    def test_a_large_publish_stays_together(self, tmp_path: Path) -> None:
        """Thousands of messages and many megabytes in one publish are written as one, and read in parts."""

        async def scenario(broker: Broker) -> None:
            sent = [Message(TOPIC, b"%d" % n + b" " * (300_000 if n % 1000 == 0 else 0)) for n in range(5000)]
            last = await broker.publish(sent)
            assert last == (await broker.stats()).last_offset
            subscription, received = broker.subscribe("g"), []
            while found := await subscription.read(700, timeout=0.01):
                received += found
            assert numbers(received) == list(range(5000))

        self.run(tmp_path, scenario)
