"""The built-in types: what their settings say, faults in them, and those that need nothing outside: cache, queue, folder, values."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.resources.resource_samples import IT, Clock, Sync

from setpoint.data.definition import Place, ResourceDef
from setpoint.data.resources import TYPES, BrokerQueue, Entry, Manager, ResourceError, faults, manager
from setpoint.data.resources.cache import MemoryCache
from setpoint.data.resources.filesystem import Folder, OutsideFolder
from setpoint.data.resources.queue import QueueFull


def one(type: str, **config: Any) -> Manager:
    return manager([ResourceDef(name="it", type=type, config=config)], transactions="record")


BAD = [
    ("databse", {"url": "x"}, "there is no type 'databse'; did you mean 'database'?"),
    ("nonsense", {}, "(there is: database"),
    ("http", {"base_ulr": "x"}, "'base_ulr' is no setting of type http; did you mean 'base_url'?"),
    ("http", {"timeout": "soon"}, "Expected `float`, got `str`"),
    ("http", {"breaker": {"failures": 0}}, "at least one failure"),
    ("http", {"breaker": {"failres": 1}}, "failres"),
    ("http", {"rate": {"per_second": 0}}, "some calls a second"),
    ("filesystem", {}, "base_path"),
    ("cache", {"max_entries": 0}, "at least one entry"),
    ("async_cache", {}, "url"),
    ("queue", {"size": 1}, "'size' is no setting of type queue"),
    ("queue", {"transactions": "often"}, "transactions is one of none, record, batch, manual, not 'often'"),
    ("queue", {"max_lifetime": "x"}, "Expected `float | null`"),
    ("llm", {}, "is given by the program: SimpleFSM(…, resources={'it': provider})"),
    ("custom", {}, "is given by the program"),
]


@pytest.mark.parametrize(("type", "config", "text"), BAD)
def test_what_is_wrong_is_said_with_its_place(type: str, config: dict[str, Any], text: str) -> None:
    """A type or a setting that there is not, a value of the wrong kind: each names resource, place and what to write."""
    made = ResourceDef(name="it", type=type, config=config, place=Place("flow.yaml", 3, 5))
    with pytest.raises(ResourceError) as caught:
        manager([made])
    assert str(caught.value).startswith("flow.yaml:3:5: resource 'it': ")
    assert text in str(caught.value)
    assert [place.line for place, _ in faults([made])] == [3]


def test_all_faults_are_said_at_once_and_given_providers_need_no_type() -> None:
    """Both of two; a resource of any type is fine when the program gives it."""
    made = [ResourceDef(name=name, type="llm") for name in ("a", "b", "c")]
    assert len(faults(made)) == 3
    assert len(faults(made, given=["b"])) == 2
    with pytest.raises(ResourceError, match=r"(?s)'a'.*'c'"):
        manager(made, {"b": Sync()})


def test_pool_size_is_checked() -> None:
    """A pool without a handle would be a resource that nobody can have."""
    with pytest.raises(ResourceError, match="size is at least 1"):
        manager([ResourceDef(name="it", type="http", pool_size=0)])


def test_the_settings_of_a_definition_are_those_of_its_pool() -> None:
    """Size, time-out, check interval, idle time, lifetime: all of them arrive, and `transactions` of a resource is its own."""
    config = {"idle_timeout": 1.5, "max_lifetime": 2.5, "transactions": "manual"}
    made = ResourceDef(name="it", type="http", pool_size=3, timeout=4, health_check_interval=5, config=config)
    settings = manager([made], transactions="record").pool("it").settings
    assert (settings.size, settings.timeout, settings.check_after) == (3, 4, 5)
    assert (settings.idle, settings.lifetime) == (1.5, 2.5)


def test_any_object_can_be_a_resource() -> None:
    """What is no provider is handed out as it is; names that no definition has are resources too."""
    thing = object()
    resources = manager([], {"thing": thing, "it": Sync()})
    assert resources.acquire({"x": "thing", "it": "it"}, "a") == {"x": thing, "it": 1}
    with pytest.raises(LookupError, match=r"no resource 'thong'.*known: it, thing"):
        resources.acquire({"x": "thong"}, "a")


def test_values_are_read_only() -> None:
    """Fixed data for functions: no run can change it for another."""
    with pytest.raises(TypeError):
        one("values", limit=3).acquire(IT, "a")["it"]["limit"] = 4


def test_every_type_is_tried_here() -> None:
    """A type added without a test shows."""
    assert set(TYPES) == {
        "database", "async_database", "http", "async_http", "cache", "async_cache", "queue", "filesystem", "values",
    }  # fmt: skip


def test_a_cache_forgets_by_time_and_by_use() -> None:
    """A value is gone when its time is over; of too many the one used longest ago goes."""
    clock = Clock()
    cache = MemoryCache(ttl=10, max_entries=2, clock=clock)
    cache.set("a", 1)
    cache.set("b", 2, ttl=3)
    assert (cache.get("a"), cache.get("b")) == (1, 2)
    clock.now = 3
    assert cache.get("b", "gone") == "gone"
    assert cache.get_or("b", lambda: 4) == 4
    assert cache.get_or("b", lambda: 5) == 4
    assert cache.get("a") == 1
    cache.set("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert cache.delete("a")
    assert not cache.delete("a")
    clock.now = 13
    assert cache.get("c") is None


def test_a_cache_is_shared_by_all_runs_and_bounds_nobody() -> None:
    """More runs than a pool of ten would have."""
    resources = one("cache")
    handles = [resources.acquire(IT, f"run {number}")["it"] for number in range(50)]
    handles[0].set("x", 1)
    assert handles[49].get("x") == 1


def test_a_queue_sends_when_the_record_is_committed() -> None:
    """What a failed state or a failed record has put is never seen; too much is an error of the run, and then nothing of it is sent."""
    resources = one("queue", max_items=3)

    def put(run: str, item: str, *, ok: bool = True) -> None:
        resources.acquire(IT, run)["it"].put(item)
        resources.release(IT, run, ok)

    put("a", "1")
    put("a", "2", ok=False)
    put("a", "3")
    reader = resources.acquire(IT, "reader")["it"]
    assert len(reader) == 0
    resources.finish("a", True)
    put("b", "4")
    resources.finish("b", False)
    assert [reader.take(), reader.take(), reader.take("nothing")] == ["1", "3", "nothing"]
    for number in range(4):
        put("c", str(number))
    with pytest.raises(ResourceError, match="do not fit"):
        resources.finish("c", True)
    assert len(reader) == 0


def test_a_queue_without_transactions_is_plain() -> None:
    """Put at once, in order, refused when full."""
    resources = manager([ResourceDef(name="it", type="queue", config={"max_items": 1})])
    queue = resources.acquire(IT, "a")["it"]
    queue.put(1)
    with pytest.raises(QueueFull):
        queue.put(2)
    assert queue.take() == 1


class Broker:
    """Keeps each call's messages together."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []

    async def publish(self, messages: Sequence[Any]) -> int:
        self.calls.append(list(messages))
        return len(self.calls)


def test_a_broker_gets_a_transaction_in_one_call() -> None:
    """All messages of a record that succeeded, none of one that failed; bytes, text and JSON."""

    async def scenario() -> None:
        broker = Broker()
        resources = Manager({"it": Entry(BrokerQueue(broker, dict), transactions="record")})
        for run, ok in (("a", True), ("b", False), ("c", True)):
            if run != "c":
                topics = (await resources.acquire(IT, run))["it"]
                await topics.publish("t/1", b"raw")
                await topics.publish("t/2", "text")
                await topics.publish("t/3", {"n": 1}, {"h": "x"})
                await resources.release(IT, run, True)
            assert len(broker.calls) <= 1
            await resources.finish(run, ok)
        (call,) = broker.calls
        assert [message["payload"] for message in call] == [b"raw", b"text", b'{"n":1}']
        assert call[2]["headers"] == {"h": "x"}

    asyncio.run(scenario())


def test_a_broker_of_the_namespace_fits(tmp_path: Path) -> None:
    """The embedded broker and its messages, as the program gives them."""
    from setpoint.namespace import EmbeddedBroker, Message

    async def scenario() -> list[str]:
        broker = EmbeddedBroker(tmp_path / "log")
        await broker.open()
        try:
            resources = Manager({"it": Entry(BrokerQueue(broker, Message), transactions="record")})
            await (await resources.acquire(IT, "a"))["it"].publish("umh.v1.plant._raw.x", {"value": 1})
            await resources.release(IT, "a", True)
            await resources.finish("a", True)
            return [info.topic for info in await broker.topics()]
        finally:
            await broker.close()

    assert asyncio.run(scenario()) == ["umh.v1.plant._raw.x"]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    resources = one("filesystem", base_path=str(tmp_path / "in"), create=True)
    made: Folder = resources.acquire(IT, "a")["it"]
    (tmp_path / "secret").write_text("no")
    return made


def test_files_are_written_whole(folder: Folder) -> None:
    """Folders on the way are made, a file is replaced in one step with its mode kept, and nothing lies beside it afterwards."""
    folder.write_text("a/b.txt", "one")
    os.chmod(folder.path("a/b.txt"), 0o600)
    folder.write_text("a/b.txt", "two")
    assert folder.path("a/b.txt").stat().st_mode & 0o777 == 0o600
    folder.append("a/b.txt", " and three")
    folder.append("log", b"x")
    assert folder.read_text("a/b.txt") == "two and three"
    assert list(folder.files("**/*")) == ["a/b.txt", "log"]
    assert folder.delete("log")
    assert not folder.delete("log")
    with pytest.raises(IsADirectoryError):
        folder.write_text("a", "x")
    assert list(folder.files("**/*")) == ["a/b.txt"]
    assert not list(folder.base.rglob("*.part"))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "link", "linked/secret", "x\0y"])
def test_nothing_outside_the_folder_is_reached(folder: Folder, name: str) -> None:
    """Dots, absolute paths and links to elsewhere are refused, for reading as for writing."""
    (folder.base / "link").symlink_to(folder.base.parent / "secret")
    (folder.base / "linked").symlink_to(folder.base.parent)
    for act in (folder.read_text, folder.exists, folder.delete, lambda name: folder.write_text(name, "x")):
        with pytest.raises(OutsideFolder):
            act(name)
    assert list(folder.files("**/*")) == []
    with pytest.raises(OutsideFolder):
        list(folder.files("../*"))
    assert (folder.base.parent / "secret").read_text() == "no"


@given(st.text(max_size=30))
def test_any_name_stays_inside_or_is_refused(name: str) -> None:
    """Whatever a record says, the path is in the folder."""
    folder = Folder(Path("/srv/data"))
    try:
        path = folder.path(name)
    except (OutsideFolder, OSError, ValueError):
        return
    assert path.is_relative_to("/srv/data")


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It is made only where that was asked for."""
    with pytest.raises(ResourceError, match="no folder; make it, or set `create: true`"):
        one("filesystem", base_path=str(tmp_path / "none")).acquire(IT, "a")
