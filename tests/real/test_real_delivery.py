"""What becomes of messages while something breaks: short runs of the cases of benchmarks/delivery.py, each against a real agent."""

from __future__ import annotations

import pytest
from benchmarks.delivery import run
from benchmarks.delivery_agent import Missing, Outcome

pytest.importorskip("paho", reason="the client of MQTT is not installed: pip install 'setpoint[mqtt]'")
pytestmark = pytest.mark.real


def happened(name: str, count: int, *, kills: int = 0) -> Outcome:
    """What came of a case. Nothing is lost in any; what it needs and is not here skips the test, with what that is."""
    try:
        found = run(name, count, kills)
    except Missing as missing:
        pytest.skip(str(missing))
    print(found)
    assert found.lost == 0, found
    assert found.arrived, found
    return found


def test_a_device_that_goes_and_comes_back() -> None:
    """All it answered is in the namespace, once; the flow says that the connection broke, and reads again within seconds."""
    found = happened("device", 0)
    assert found.doubled == 0
    assert "input not connected: input modbus" in found.told


def test_a_broker_that_goes_and_comes_back() -> None:
    """Everything published is in the namespace; the flow says which broker it misses."""
    assert "input not connected: input mqtt: 127.0.0.1:" in happened("mosquitto", 1000).told


def test_an_agent_that_is_killed_under_load() -> None:
    """Everything the broker took is in the file at the end, by way of the namespace."""
    happened("kill", 1000, kills=2)


def test_an_agent_that_is_killed_behind_a_webhook() -> None:
    """Whatever was answered with 200 is in the namespace."""
    happened("webhook", 300, kills=2)


def test_a_disk_that_is_full() -> None:
    """The flow keeps what it has, says why, and goes on when there is room."""
    found = happened("disk", 1000)
    assert found.doubled == 0
    assert "database or disk is full" in found.told


def test_a_script_that_throws_on_every_tenth_message() -> None:
    """Those are set aside with what it threw, the others arrive, in the order they had; a flow beside it is not held up."""
    found = happened("throws", 300)
    assert (found.set_aside, found.doubled) == (30, 0)
    assert "the tenth" in found.told
    assert "not expected" not in found.note


def test_topics_with_illegal_segments() -> None:
    """Are set aside, with the segment that is illegal."""
    found = happened("topics", 200)
    assert (found.set_aside, found.doubled) == (40, 0)
    assert "topic to build" in found.told


def test_a_payload_of_two_megabytes() -> None:
    """Is set aside with its size; those before and after it arrive."""
    found = happened("large", 3)
    assert found.set_aside == 1
    assert "at most 1048576 (1 MiB)" in found.told
