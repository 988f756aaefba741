"""Processors that need nothing but the message: mappings, dedupe, rate limits, unarchive and log."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from flows_plant import context
from flows_walk import Pipeline, problems
from hypothesis import given
from hypothesis import strategies as st

from setpoint.flows.component import Msg
from setpoint.flows.scope import CacheFields, LimitFields, LocalLimit, MemoryCache

SEEN = {"cache_resources": [{"label": "seen", "memory": {"default_ttl": "10s", "max_entries": 3}}]}
SLOW = {"rate_limit_resources": [{"label": "slow", "local": {"count": 2, "interval": "1s"}}]}


def test_mapping_and_mutation() -> None:
    """A mapping makes a new document, a mutation changes the one there is; both may drop, and both leave a message that fails alone."""
    for kind in ("mapping", "bloblang"):
        assert Pipeline({kind: "root.b = this.a"}).out(b'{"a":1,"c":2}') == [{"b": 1}]
    assert Pipeline({"mutation": "root.b = this.a"}).out(b'{"a":1,"c":2}') == [{"a": 1, "c": 2, "b": 1}]
    assert Pipeline({"mapping": 'meta line = "7"'}).result(b"raw ").data == Msg(b"raw ", {"line": "7"})
    assert Pipeline({"mapping": "root = deleted()"}).result({}).final_state == "dropped"
    failed = Pipeline({"mutation": "root.b = 1\nroot.c = this.a.number()"}).result({"a": "x"})
    assert (failed.final_state, failed.data.payload) == ("failed", {"a": "x"})
    assert str(failed.error) == "mutation_0: MappingError: line 2: 'x' is no number"


def test_a_mapping_is_a_text() -> None:
    """Anything else is refused at its place."""
    assert "expected the text of a mapping" in problems({"mapping": {"root": 1}})["0.mapping"]
    assert "expected the text of a mapping" in problems({"mutation": None})["0.mutation"]
    assert "unknown method" in problems({"mapping": "root = this.a.uppercas()"})["0.mapping"]


def test_dedupe_lets_a_key_pass_once() -> None:
    """Until its time is over; a double does not lengthen it."""
    now = [100.0]
    flow = Pipeline({"dedupe": {"cache": "seen", "key": '${! json("id") }'}}, sections=SEEN, now=lambda: now[0])
    passed = []
    for at, key in ((100.0, 1), (105.0, 1), (109.9, 1), (110.0, 1), (111.0, 2), (112.0, 1)):
        now[0] = at
        passed.append(flow.result({"id": key}).final_state)
    assert passed == ["done", "dropped", "dropped", "done", "done", "dropped"]


def test_a_message_without_a_key_is_no_double() -> None:
    """It fails, with the reason; or is dropped, where that was asked for."""
    step = {"cache": "seen", "key": '${! json("id") }'}
    failed = Pipeline({"dedupe": step}, sections=SEEN).result({"a": 1})
    assert failed.error is not None
    assert failed.error.message == "its key cannot be evaluated: its payload has no 'id'"
    assert Pipeline({"dedupe": {**step, "drop_on_err": True}}, sections=SEEN).result({}).final_state == "dropped"


def test_a_cache_is_shared_by_its_label_and_bounded() -> None:
    """Two processors see the same keys; of more than `max_entries` the oldest is forgotten."""
    step = {"dedupe": {"cache": "seen", "key": "${! content() }"}}
    assert Pipeline(step, step, sections=SEEN).result(b"a").final_state == "dropped"
    flow = Pipeline(step, sections=SEEN)
    assert [flow.result(key).final_state for key in (b"1", b"2", b"3", b"4", b"1", b"4")] == [*["done"] * 5, "dropped"]
    values = {"cache_resources": [{"label": "seen", "memory": {"init_values": {"k": "v"}}}]}
    assert Pipeline(step, sections=values).result(b"k").final_state == "dropped"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60))
def test_no_key_passes_twice_within_its_time(steps: list[tuple[int, int]]) -> None:
    """The law of the cache, as long as there is room for all keys."""
    cache, last, now = MemoryCache(CacheFields(default_ttl="7s")), dict[int, int](), 0
    for wait, key in steps:
        now += wait
        fresh = key not in last or now >= last[key] + 7
        assert cache.add(str(key), float(now)) == fresh
        last[key] = now if fresh else last[key]


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(1, 5))
def test_no_interval_sees_more_than_its_count(waits: list[float], count: int) -> None:
    """The law of the rate limit; who has to wait has its place when that is over."""
    limit, now, passed = LocalLimit(LimitFields(count=count, interval="1s")), 0.0, list[float]()
    for wait in waits:
        now += wait
        while pause := limit.take(now):
            assert 0 < pause <= 1
            now += pause
        passed.append(now)
    for n in range(len(passed) - 2 * count):
        assert passed[n + 2 * count] - passed[n] >= 1 - 1e-9  # two windows touch any second at most


def test_rate_limit_waits_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two a second: seven messages take three waits; the order stays."""
    now, waited = [0.0], list[float]()
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    flow = Pipeline({"rate_limit": {"resource": "slow"}}, sections=SLOW, now=lambda: now[0])
    assert [flow.out({"n": n}) for n in range(7)] == [[{"n": n}] for n in range(7)]
    assert waited == [1.0, 1.0, 1.0]


def test_resources_are_known_by_their_labels() -> None:
    """At load, with the nearest name."""
    found = problems(
        {"dedupe": {"cache": "sen", "key": "${! content() }"}}, {"rate_limit": {"resource": "x"}}, sections={**SEEN}
    )
    assert "no cache with the label 'sen' (did you mean 'seen'?)" in found["0.dedupe.cache"]
    assert "no rate limit with the label 'x' (rate_limit_resources has none)" in found["1.rate_limit.resource"]
    assert (
        "same for every message" in problems({"dedupe": {"cache": "seen", "key": "k"}}, sections=SEEN)["0.dedupe.key"]
    )


@pytest.mark.parametrize(
    ("form", "payload", "parts"),
    [
        ("json_array", b'[1, {"a": 2}, "s", null]', [1, {"a": 2}, b'"s"', None]),
        ("json_array", [1.5, [2]], [1.5, [2]]),
        ("json_array", b"[]", []),
        ("json_documents", b'{"a":1}\n{"b":2} "s"  3 ', [{"a": 1}, {"b": 2}, b'"s"', 3]),
        ("json_documents", b"  ", []),
        ("lines", b"a\nb\n", [b"a", b"b", b""]),
    ],
)
def test_unarchive_takes_a_message_apart(form: str, payload: Any, parts: list[Any]) -> None:
    """Each part has the meta of the whole, and one of its own."""
    flow = Pipeline({"unarchive": {"format": form}})
    ends = [end for end in flow.result(payload, {"m": "1"}).ends() if end.final_state == "done"]
    assert [end.data.payload for end in ends] == parts
    assert all(end.data.meta == {"m": "1"} for end in ends)
    assert len({id(end.data.meta) for end in ends}) == len(ends)


@pytest.mark.parametrize(
    ("form", "payload", "text"),
    [
        ("json_array", b'{"a": 1}', "expected a JSON array, got dict"),
        ("json_array", b"\xff", "expected a JSON array, got str"),
        ("json_documents", b'{"a":1} {', "document 2 is no JSON"),
        ("json_documents", b"[" * 100_000, "document 1 is no JSON"),
    ],
)
def test_what_cannot_be_taken_apart_fails(form: str, payload: Any, text: str) -> None:
    """With the reason."""
    result = Pipeline({"unarchive": {"format": form}}).result(payload)
    assert result.error is not None
    assert text in result.error.message
    assert "one of Benthos" in problems({"unarchive": {"format": "tar"}})["0.unarchive.format"]
    assert "json_array" in problems({"unarchive": {"format": "jsn"}})["0.unarchive.format"]


def test_log_writes_one_line_for_a_message(caplog: pytest.LogCaptureFixture) -> None:
    """With what is filled in; a message cannot forge a second line, and what cannot be filled in is said and stops nothing."""
    caplog.set_level(logging.DEBUG, "setpoint.flows")
    step = {"log": {"level": "WARN", "message": "got ${! content() }", "fields": {"line": '${! meta("line") }'}}}
    assert Pipeline(step).out(b"a\nERROR b", {"line": "7"}) == [b"a\nERROR b"]
    assert Pipeline(step).out(b"x") == [b"x"]
    assert [record.getMessage() for record in caplog.records] == [
        "flow test: got a\\nERROR b line=7",
        "flow test: got x line=${! meta(\"line\") } (has no meta 'line')",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert "expected a text" in problems({"log": {"message": 5}})["0.log.message"]


def test_log_knows_the_error_in_a_catch(caplog: pytest.LogCaptureFixture) -> None:
    """There, and nowhere else."""
    step = {"log": {"message": "failed: ${! error() }"}}
    caplog.set_level(logging.INFO, "setpoint.flows")
    assert Pipeline({"mapping": 'root = throw("hot")'}, {"catch": [step]}).out({}) == [{}]
    assert caplog.records[-1].getMessage() == "flow test: failed: line 1: hot"
    assert "in a `catch` only" in problems(step)["0.log.message"]


def test_the_clock_of_a_mapping_is_that_of_the_flow(tmp_path: Path) -> None:
    """So a simulated flow gives the same messages each time."""
    flow = Pipeline({"mapping": "root.at = timestamp_unix()\nroot.n = random_int(min: 0, max: 9)"}, clock=lambda: 5.0)
    assert flow.out({}) == [{"at": 5, "n": 5}]
    assert context().clock() == 1_700_000_000.0
