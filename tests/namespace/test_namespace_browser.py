"""The browser: it knows every topic of a log, follows it, and says why when it cannot."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from setpoint.namespace import BrokerError, EmbeddedBroker, Message, TopicInfo
from setpoint.namespace.browser import Browser, Entry, Limits, Query, following

LIMITS = Limits(topics=1000, history=3)


def message(name: str, payload: bytes = b"1", **headers: str) -> Message:
    return Message(f"umh.v1.acme.{name}", payload, headers, 1_700_000_000_000)


def values(entry: Entry) -> list[bytes]:
    return [payload for _, payload in entry.history()]


def play(folder: Path, story: Callable[[EmbeddedBroker, Browser], Coroutine[Any, Any, None]]) -> None:
    """A story with an open broker and a browser of it that is not begun."""

    async def main() -> None:
        async with EmbeddedBroker(folder / "broker.sqlite") as broker, asyncio.timeout(30):
            browser = Browser(broker)
            try:
                await story(broker, browser)
            finally:
                await browser.end()

    asyncio.run(main())


async def until(condition: Callable[[], object], browser: Browser) -> None:
    """Wait until a condition holds; looked at whenever the browser took something in or stands otherwise."""
    news = asyncio.Event()
    browser.changed = news.set
    browser.listen(lambda messages: news.set())
    while not condition():
        await news.wait()
        news.clear()


def test_it_begins_with_the_last_values_and_goes_on_with_what_comes(tmp_path: Path) -> None:
    """What was written before it began counts, once; then each message is there with its payload, headers and time."""

    async def story(broker: EmbeddedBroker, browser: Browser) -> None:
        await broker.publish([message("a._raw.x", b"1"), message("a._raw.x", b"2"), message("b._raw.y", b"3")])
        await browser.begin(LIMITS)
        await until(lambda: browser.following, browser)
        assert list(browser.index.names()) == ["umh.v1.acme.a._raw.x", "umh.v1.acme.b._raw.y"]
        await broker.publish([message("a._raw.x", b"4", bridged_by="press"), message("c._raw.z", b"5")])
        await until(lambda: len(browser.index) == 3, browser)
        entry = browser.index.get("umh.v1.acme.a._raw.x")
        assert entry is not None
        assert (values(entry), entry.count, entry.headers) == ([b"2", b"4"], 3, {"bridged_by": "press"})
        assert {written for written, _ in entry.history()} == {1_700_000_000_000}
        assert browser.status().messages == 2

    play(tmp_path, story)


def test_what_is_written_while_it_loads_counts_once(tmp_path: Path) -> None:
    """A message that is both in the last values and in what comes after is one message."""

    class Late:
        """The broker, which is written to between the subscription and the answer about its topics."""

        def __init__(self, broker: EmbeddedBroker) -> None:
            self.subscribe = broker.subscribe
            self.broker = broker

        async def topics(self, contains: str = "") -> list[TopicInfo]:
            await self.broker.publish([message("a._raw.x", b"2")])
            return await self.broker.topics(contains)

    async def story(broker: EmbeddedBroker, _: Browser) -> None:
        await broker.publish([message("a._raw.x", b"1")])
        late: Any = Late(broker)
        browser = Browser(late)
        await browser.begin(LIMITS)
        await until(lambda: browser.status().messages == 1, browser)
        entry = browser.index.get("umh.v1.acme.a._raw.x")
        assert entry is not None
        assert (values(entry), entry.count) == ([b"2"], 2)
        await browser.end()

    play(tmp_path, story)


def test_a_log_that_is_not_open_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why it does not follow, and does as soon as it can."""
    monkeypatch.setattr(following, "LOOK_AGAIN_S", 0.01)

    async def main() -> None:
        broker = EmbeddedBroker(tmp_path / "broker.sqlite")
        browser = Browser(broker)
        await browser.begin(LIMITS)
        await asyncio.sleep(0)
        status = browser.status()
        assert (status.running, status.connected, status.following) == (True, False, False)
        assert "is not open" in status.fault
        await broker.open()
        async with asyncio.timeout(10):
            await until(lambda: browser.following, browser)
        assert browser.status().fault == ""
        await browser.end()
        await broker.close()

    asyncio.run(main())


def test_a_log_that_closes_ends_the_following_with_the_reason(tmp_path: Path) -> None:
    """What it knew is let go of: nothing is shown as present that may not be so any more."""

    async def story(broker: EmbeddedBroker, browser: Browser) -> None:
        await broker.publish([message("a._raw.x")])
        await browser.begin(LIMITS)
        await until(lambda: browser.following, browser)
        await broker.close()
        await until(lambda: not browser.following, browser)
        assert "closed" in browser.status().fault
        assert len(browser.index) == 0

    play(tmp_path, story)


def test_a_broker_that_cannot_give_its_topics_yet_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The subscription stays where it began, so nothing is missed meanwhile."""
    monkeypatch.setattr(following, "PAUSES_S", (0.01, 0.01))
    twice = asyncio.Event()

    class Slow:
        def __init__(self, broker: EmbeddedBroker) -> None:
            self.subscribe, self.broker, self.asked = broker.subscribe, broker, 0

        async def topics(self, contains: str = "") -> list[TopicInfo]:
            self.asked += 1
            if self.asked == 2:
                twice.set()
            if self.asked < 3:
                raise BrokerError("the last values are complete up to offset 7 of 9")
            return []

    async def story(broker: EmbeddedBroker, _: Browser) -> None:
        slow: Any = Slow(broker)
        browser = Browser(slow)
        await browser.begin(LIMITS)
        await twice.wait()
        assert browser.status().connected
        assert "complete up to offset 7" in browser.status().fault
        await broker.publish([message("a._raw.x")])
        await until(lambda: len(browser.index) == 1, browser)
        assert browser.status().fault == ""
        await browser.end()

    play(tmp_path, story)


def test_a_defect_of_its_own_is_said_and_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside, it begins anew."""
    monkeypatch.setattr(following, "PAUSES_S", (0.01, 0.01))

    async def story(broker: EmbeddedBroker, browser: Browser) -> None:
        times = 0

        def broken(messages: Sequence[Message]) -> None:
            nonlocal times
            times += 1
            if times == 1:
                raise ZeroDivisionError("a defect")

        browser.listen(broken)
        await browser.begin(LIMITS)
        await until(lambda: browser.following, browser)
        await broker.publish([message("a._raw.x")])
        await until(lambda: "ZeroDivisionError" in browser.status().fault, browser)
        await until(lambda: browser.following, browser)
        assert len(browser.index) == 1

    play(tmp_path, story)


def test_other_limits_begin_it_anew_and_the_same_do_not(tmp_path: Path) -> None:
    """Beginning is idempotent."""

    async def story(broker: EmbeddedBroker, browser: Browser) -> None:
        await broker.publish([message(f"a._raw.x{number}") for number in range(10)])
        await browser.begin(LIMITS)
        await until(lambda: browser.following, browser)
        index = browser.index
        await browser.begin(LIMITS)
        assert browser.index is index
        await browser.begin(Limits(topics=4))
        await until(lambda: browser.following, browser)
        assert len(browser.index) == 4
        assert browser.status().dropped == 6
        assert browser.status().limits == Limits(topics=4)

    play(tmp_path, story)


def test_it_never_makes_publishers_wait_and_catches_up(tmp_path: Path) -> None:
    """While nobody gives it a turn, publishing goes on; then it takes in everything, in order, and tells of each message once."""

    async def story(broker: EmbeddedBroker, browser: Browser) -> None:
        told = 0

        def count(messages: Sequence[Message]) -> None:
            nonlocal told
            told += len(messages)

        browser.listen(count)
        await browser.begin(LIMITS)
        await until(lambda: browser.following, browser)
        for start in range(0, 10_000, 1000):
            await broker.publish(
                [message(f"a._raw.x{number % 50}", b"%d" % number) for number in range(start, start + 1000)]
            )
        await until(lambda: told == 10_000, browser)
        entry = browser.index.get("umh.v1.acme.a._raw.x49")
        assert entry is not None
        assert values(entry) == [b"9899", b"9949", b"9999"]
        assert entry.count == 200
        assert await Query("x49").find(browser.index) == ["umh.v1.acme.a._raw.x49"]

    play(tmp_path, story)


def test_what_is_no_topic_of_the_namespace_is_left_out(tmp_path: Path) -> None:
    """A stream's mark in the log is nobody's topic."""

    async def story(broker: EmbeddedBroker, browser: Browser) -> None:
        await broker.publish([Message("_setpoint.stream.run", b"{}"), message("a._raw.x")])
        await browser.begin(LIMITS)
        await until(lambda: browser.following, browser)
        assert list(browser.index.names()) == ["umh.v1.acme.a._raw.x"]

    play(tmp_path, story)


def test_a_log_that_was_made_anew_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets that begin again are another log: the last values are asked for again, and nothing is passed over as old."""
    monkeypatch.setattr(following, "PAUSES_S", (0.01, 0.01))
    topic = "umh.v1.acme._raw.x"
    log = [[Message(topic, b"old", {}, 1, 100)], [Message(topic, b"new", {}, 1, 0)]]

    class Remade:
        """A broker whose log begins again under its readers, as that of a cluster that lost it does."""

        def __init__(self) -> None:
            self.begun = 0

        def subscribe(self, group: str, **options: Any) -> Any:
            self.begun += 1
            return self

        async def topics(self, contains: str = "") -> list[TopicInfo]:
            return [] if self.begun == 1 else [TopicInfo(topic, b"new", {}, 1, 0, 1)]

        async def read(self, limit: int) -> list[Message]:
            return log.pop(0) if log else await asyncio.Event().wait() or []

        async def close(self) -> None:
            pass

    async def main() -> None:
        broker: Any = Remade()
        browser = Browser(broker)
        await browser.begin(LIMITS)
        async with asyncio.timeout(10):
            await until(lambda: broker.begun == 2 and browser.following, browser)
        entry = browser.index.get(topic)
        assert entry is not None
        assert (entry.payload, entry.count) == (b"new", 1)
        await browser.end()

    asyncio.run(main())
