"""Topics over HTTP: looked for, one in full, as a tree, and live; with the topic browser and without it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.api.api_shop import Shop, client_of, open_shop

from setpoint.api import create_app, events
from setpoint.api.server import Server, bind, url_of
from setpoint.namespace import Message, encode_relational, encode_time_series
from setpoint.namespace.browser import Limits

PRESSES = [f"umh.v1.acme.plant-{p}.press-{n}._raw.motor.speed" for p in (1, 2) for n in (1, 2, 3)]
ORDER = "umh.v1.acme.plant-1._orders.next"
FOLLOWING = pytest.mark.parametrize("following", [True, False])


def messages() -> list[Message]:
    """Three values of each press, then an order."""
    values = [
        Message(
            name,
            encode_time_series(10 * turn + at, 1_700_000_000_000 + turn),
            {"bridged_by": f"press-{at}", "unit": "rpm"},
            5,
        )
        for turn in range(3)
        for at, name in enumerate(PRESSES)
    ]
    return [*values, Message(ORDER, encode_relational({"id": 7}), {}, 6)]


async def follow(shop: Shop) -> None:
    """Have the shop's topic browser follow its log."""
    there = asyncio.Event()
    shop.browser.changed = lambda: there.set() if shop.browser.following else None
    await shop.browser.begin(Limits(history=2))
    async with asyncio.timeout(10):
        await there.wait()


def ask(*paths: str, following: bool = True) -> list[Any]:
    """The answers of a shop with these messages in its log, half of them from before anybody followed it."""

    async def main() -> list[Any]:
        async with open_shop() as shop, client_of(create_app(shop)) as client:  # type: ignore[arg-type]
            await shop.broker.publish(messages()[:9])
            told = asyncio.Event()
            shop.browser.listen(lambda _: told.set())
            if following:
                await follow(shop)
            await shop.broker.publish(messages()[9:])
            if following:
                await told.wait()
            return [await client.get(f"/api/v1{path}") for path in paths]

    return asyncio.run(main())


def names(answer: Any) -> list[str]:
    return [topic["topic"] for topic in answer.json()]


@FOLLOWING
def test_topics_are_looked_for_by_text_pattern_and_metadata(following: bool) -> None:
    """Each condition, and all together; how many there are in all stands in a header."""
    everything, text, pattern, meta, both, some = ask(
        "/topics",
        "/topics?contains=plant-2",
        "/topics?pattern=acme.*.press-3.**",
        "/topics?meta=bridged_by=press-4&meta=unit=rpm",
        "/topics?contains=plant-1&meta=unit=rpm",
        "/topics?limit=2",
        following=following,
    )
    assert names(everything) == sorted([*PRESSES, ORDER])
    assert names(text) == PRESSES[3:]
    assert names(pattern) == [PRESSES[2], PRESSES[5]]
    assert names(meta) == [PRESSES[4]]
    assert names(both) == PRESSES[:3]
    assert len(names(some)) == 2
    assert (some.headers["X-Total-Count"], both.headers["X-Total-Count"]) == ("7", "3")


def test_a_topic_that_is_followed_has_a_rate() -> None:
    """And everything else that there is to say."""
    (answer,) = ask("/topics?contains=plant-1.press-1")
    (topic,) = answer.json()
    assert topic["rate"] > 0
    assert (topic["value"], topic["count"], topic["contract"]) == (20, 3, "_raw")
    assert topic["metadata"] == {"bridged_by": "press-0", "unit": "rpm"}
    assert topic["timestamp"] == "2023-11-14T22:13:20.002Z"
    assert topic["written"] == "1970-01-01T00:00:00.005Z"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("pattern=a.b**", "'**' stands for whole segments"),
        ("meta=press-1", "'press-1' is not key=value"),
        ("pattern=" + "x" * 2000, "pattern"),
        ("meta=a=" + "&meta=a=" * 30, "meta"),
    ],
)
@pytest.mark.parametrize("path", ["/topics", "/topics/tree", "/topics/events"])
def test_a_query_that_is_none_is_refused(path: str, query: str, says: str) -> None:
    """A 400 in the one shape, with what is wrong."""
    (answer,) = ask(f"{path}?{query}")
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_one_topic_has_its_history() -> None:
    """As many values as are kept, oldest first; the last is its value."""
    (answer,) = ask(f"/topics/{PRESSES[0]}")
    found = answer.json()
    assert [value["value"] for value in found["history"]] == [10, 20]
    assert found["history"][-1] == {key: found[key] for key in ("kind", "value", "timestamp", "written", "problem")}


def test_one_topic_without_the_browser_has_its_last_value() -> None:
    """No rate is known then, and no history."""
    (answer,) = ask(f"/topics/{PRESSES[0]}", following=False)
    found = answer.json()
    assert (found["rate"], found["count"], [value["value"] for value in found["history"]]) == (None, 3, [20])


@FOLLOWING
def test_a_topic_that_is_not_there_is_a_404(following: bool) -> None:
    """Also where its name is part of another's; the answer says how to look for it."""
    for answer in ask("/topics/umh.v1.acme", "/topics/umh.v1.x%2Fy", following=following):
        assert answer.status_code == 404
        assert "look for it" in answer.json()["hint"]


@FOLLOWING
def test_the_tree_is_opened_as_deep_as_asked(following: bool) -> None:
    """Places with their kinds and counts, topics with their values, below any place, of what is looked for."""
    top, below, chosen = ask(
        "/topics/tree",
        "/topics/tree?at=acme.plant-1&depth=9",
        "/topics/tree?depth=9&contains=orders",
        following=following,
    )
    assert top.json() == [
        {"name": "acme", "path": "acme", "kind": "location", "topics": 7, "topic": None, "children": None}
    ]
    orders, press, *_ = below.json()
    assert (orders["kind"], orders["children"][0]["topic"]["value"]) == ("contract", {"id": 7})
    raw = press["children"][0]
    assert [press["kind"], raw["kind"], raw["children"][0]["kind"]] == ["location", "contract", "path"]
    assert raw["children"][0]["children"][0]["topic"]["topic"] == PRESSES[0]
    assert chosen.headers["X-Total-Count"] == "1"


def test_a_broker_that_is_closed_is_a_503() -> None:
    """While nobody follows the log, and the broker has no answer either."""

    async def main() -> list[Any]:
        async with open_shop(broker=False) as shop, client_of(create_app(shop)) as client:  # type: ignore[arg-type]
            return [await client.get(f"/api/v1/topics{path}") for path in ("", "/tree", "/events", "/umh.v1.a._raw.x")]

    for answer in asyncio.run(main()):
        assert answer.status_code == 503
        assert answer.json()["error"]


# live

Told = AsyncIterator[tuple[str, Any]]
Story = Callable[[Shop, str], Coroutine[Any, Any, None]]


def served(story: Story) -> None:
    """A story with a shop behind a real server, whose browser follows its log."""

    async def main() -> None:
        async with open_shop() as shop, asyncio.timeout(30):
            await shop.broker.publish(messages())
            await follow(shop)
            listener = bind("127.0.0.1", 0)
            server = Server(create_app(shop), listener)  # type: ignore[arg-type]
            server.begin()
            try:
                await story(shop, url_of(listener))
            finally:
                await server.end()

    asyncio.run(main())


@asynccontextmanager
async def stream(url: str, query: str = "") -> AsyncIterator[Told]:
    async with (
        httpx.AsyncClient(timeout=20, trust_env=False) as client,
        client.stream("GET", f"{url}/api/v1/topics/events?{query}") as answer,
    ):
        assert answer.status_code == 200

        async def told() -> Told:
            name = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])

        yield told()


async def next_of(told: Told, wanted: str = "topics") -> Any:
    async for name, data in told:
        if name == wanted:
            return data
    raise AssertionError(f"the stream ended before an event {wanted!r}")


def test_a_stream_begins_with_what_is_there_and_goes_on_with_changes() -> None:
    """As many as asked for at first; then each topic that is written to, if it is meant, with its latest value."""

    async def story(shop: Shop, url: str) -> None:
        async with stream(url, "contains=plant-1&meta=unit=rpm&limit=2") as told:
            assert [topic["topic"] for topic in await next_of(told)] == PRESSES[:2]
            unit = {"unit": "rpm"}
            await shop.broker.publish(
                [
                    Message(PRESSES[5], encode_time_series(1, 1), unit),
                    Message(PRESSES[2], encode_time_series(2, 1), unit),
                    Message(PRESSES[1], encode_time_series(3, 1), {}),
                    Message(PRESSES[2], encode_time_series(4, 1), unit),
                ]
            )
            (topic,) = await next_of(told)
            assert (topic["topic"], topic["value"], topic["count"]) == (PRESSES[2], 4, 5)

    served(story)


def test_a_stream_is_narrowed_to_places() -> None:
    """Only topics right below them."""

    async def story(shop: Shop, url: str) -> None:
        async with stream(url, "at=acme.plant-1.press-1._raw.motor&at=acme.plant-1._orders") as told:
            assert await next_of(told) == []
            await shop.broker.publish(messages())
            assert [topic["topic"] for topic in await next_of(told)] == [PRESSES[0], ORDER]

    served(story)


def test_a_flood_is_told_in_few_writes_with_the_latest_values() -> None:
    """A thousand changes of a topic in a moment are some events, and the last of them has the last value."""

    async def story(shop: Shop, url: str) -> None:
        async with stream(url) as told:
            await next_of(told)
            began = asyncio.get_running_loop().time()
            for number in range(1000):
                await shop.broker.publish([Message(ORDER, encode_time_series(number, 1))])
            writes, value = 0, -1
            while value != 999:
                (topic,) = await next_of(told)
                writes, value = writes + 1, topic["value"]
            assert writes <= (asyncio.get_running_loop().time() - began) / events.PAUSE + 2

    served(story)


def test_a_stream_says_when_nobody_follows_the_log_any_more() -> None:
    """It ends with the reason, and a new one is refused."""

    async def story(shop: Shop, url: str) -> None:
        async with stream(url) as told:
            await next_of(told)
            await shop.browser.end()
            assert "no longer follows" in await next_of(told, "end")
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{url}/api/v1/topics/events")
            assert answer.status_code == 503

    served(story)


def test_there_is_a_limit_to_the_number_of_topic_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is refused, and let in once another has left."""
    monkeypatch.setattr(events, "MAX_CLIENTS", 1)

    async def story(shop: Shop, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            async with stream(url) as told:
                await next_of(told)
                assert (await client.get(f"{url}/api/v1/topics/events")).status_code == 503
            async with asyncio.timeout(10):
                while True:
                    async with client.stream("GET", f"{url}/api/v1/topics/events") as answer:
                        if answer.status_code == 200:
                            break

    served(story)


def test_silence_is_broken_by_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a client knows that the connection lives."""
    monkeypatch.setattr(events, "HEARTBEAT", 0.1)
    monkeypatch.setattr(events, "LOOK", 0.05)

    async def story(shop: Shop, url: str) -> None:
        async with stream(url) as told:
            await next_of(told)
            assert (await next_of(told, "time")).endswith("Z")

    served(story)


def test_the_server_ends_with_topic_streams_open() -> None:
    """Within a moment; the stream says why."""

    async def main() -> str:
        async with open_shop() as shop, asyncio.timeout(20):
            await follow(shop)
            listener = bind("127.0.0.1", 0)
            server = Server(create_app(shop), listener)  # type: ignore[arg-type]
            server.begin()
            async with stream(url_of(listener)) as told:
                await next_of(told)
                ending = asyncio.create_task(server.end())
                why: str = await next_of(told, "end")
                await ending
                return why

    assert asyncio.run(main()) == "the agent is stopping"
