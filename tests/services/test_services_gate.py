"""The gate before what is new: who is let in, why not, and in which order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.services import Gate, HostFigures, HostLimits
from setpoint.services.host.gate import COMES_BACK_S, FIRST, GROUP_EVERY_S, MOST_MORE, group_size

LIMITS = HostLimits()
AT_EASE = HostFigures(20.0, 2.0, 0.0, 30.0, 1, 4, 40.0, 20, 50)


class Host:
    """Figures that are set by hand, and a gate over them."""

    def __init__(self, **figures: object) -> None:
        self.figures = AT_EASE
        self.gate = Gate(lambda: self.figures)
        self.now = 100.0
        self.set(**figures)

    def set(self, **figures: object) -> None:
        self.figures = msgspec.structs.replace(self.figures, **figures)

    def ask(self, name: str) -> str:
        return self.gate.ask(name, LIMITS, self.now)


def test_with_room_whoever_asks_is_let_in() -> None:
    """At once, and asking again changes nothing."""
    host = Host()
    assert [host.ask("one"), host.ask("two"), host.ask("one")] == ["", "", ""]


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("cpu_percent", 85.0, "CPU 85 % (limit 85 %), room below 80 %"),
        ("memory_percent", 90.0, "memory 90 % (limit 90 %), room below 85 %"),
        ("disk_percent", 90.0, "disk 90 % (limit 90 %), room below 85 %"),
        ("throttled_percent", 5.0, "CPU throttling 5 % (limit 5 %), room below 2.5 %"),
    ],
)
def test_each_figure_shuts_it_exactly_at_its_limit_and_opens_it_well_below(
    metric: str, value: float, said: str
) -> None:
    """One that waits is let in by itself once there is room again; in between it waits."""
    host = Host(**{metric: value - 0.1})
    assert host.ask("first") == ""
    host.set(**{metric: value})
    assert host.ask("new") == said
    host.set(**{metric: value - 1.0})
    host.now += 60.0
    assert host.ask("new") != ""
    host.set(**{metric: value / 2 - 0.1})
    host.now += 5.0
    assert host.ask("new") == ""


def test_what_is_inside_stays_inside() -> None:
    """Whatever the figures say, and also when it was never asked."""
    host = Host()
    assert host.ask("asked") == ""
    host.gate.runs("found running")
    host.set(cpu_percent=100.0, memory_percent=100.0)
    assert [host.ask("asked"), host.ask("found running")] == ["", ""]
    assert host.ask("new") == "CPU 100 % (limit 85 %), room below 80 %; memory 100 % (limit 90 %), room below 85 %"


def test_one_that_starts_again_within_a_minute_need_not_ask() -> None:
    """A restart is no new start; one that was away for longer is new."""
    host = Host()
    assert [host.ask("a"), host.ask("b")] == ["", ""]
    for name in ("a", "b"):
        host.gate.leave(name, host.now)
    host.set(cpu_percent=99.0)
    host.now += COMES_BACK_S
    assert host.ask("a") == ""
    host.now += 0.1
    assert host.ask("b").startswith("CPU 99 %")


def test_a_host_that_could_not_be_measured_has_no_room() -> None:
    """The fault is the reason. That use is not known yet, at the very start, is no fault."""
    assert Host(cpu_percent=None, throttled_percent=None).ask("a") == ""
    fault = "CPU: /sys/fs/cgroup/cpu.stat cannot be read: Permission denied"
    assert Host(cpu_percent=None, faults=(fault,)).ask("a") == fault


def test_they_come_in_groups_in_the_order_in_which_they_asked() -> None:
    """The next group waits until what the first uses has been measured."""
    host = Host(cpu_percent=42.5, memory_percent=1.0)  # half of the limit: room for as many again
    names = [f"bridge-{number:02}" for number in range(45)]
    assert [name for name in names if host.ask(name) == ""] == names[:FIRST]
    assert host.ask("bridge-44") == "others were let in just now; what they use is measured first (35 wait)"
    host.now += GROUP_EVERY_S
    assert [name for name in reversed(names[10:]) if host.ask(name) == ""] == names[19:9:-1]
    host.now += GROUP_EVERY_S
    assert [name for name in names[20:] if host.ask(name) == ""] == names[20:40]


def test_one_that_gives_up_makes_way() -> None:
    """It is neither waited for nor counted."""
    host = Host(cpu_percent=80.0)
    assert host.ask("first") == ""
    assert [host.ask("a") != "", host.ask("b") != ""] == [True, True]
    host.gate.leave("a", host.now)
    host.now += GROUP_EVERY_S
    assert host.ask("b") == ""


@pytest.mark.parametrize(
    ("inside", "cpu", "memory", "size"),
    [
        (0, 1.0, 1.0, MOST_MORE * FIRST),
        (0, None, None, MOST_MORE * FIRST),
        (0, 0.0, 0.0, MOST_MORE * FIRST),
        (10, 20.0, 10.0, 32),
        (40, 68.0, 10.0, 10),
        (40, 10.0, 75.0, 8),
        (3, 84.9, 10.0, 1),
        (500, 40.0, 45.0, 500),
    ],
)
def test_a_group_is_as_large_as_the_room_that_is_left(inside: int, cpu: float, memory: float, size: int) -> None:
    """If each new one takes what one of those inside takes, and never none."""
    figures = msgspec.structs.replace(AT_EASE, cpu_percent=cpu, memory_percent=memory)
    assert group_size(inside, figures, LIMITS) == size


@given(each=st.floats(0.05, 2.0), others=st.floats(0.0, 40.0))
def test_as_many_come_in_as_there_is_room_for(each: float, others: float) -> None:
    """Where all take the same: use ends at its limit, and after the first group, of which nothing can be known, not above it."""
    host = Host(cpu_percent=others, memory_percent=0.0)
    inside = 0
    for _ in range(80):
        host.set(cpu_percent=min(100.0, others + inside * each))
        while host.ask(f"b{inside}") == "":
            inside += 1
        host.now += GROUP_EVERY_S
    use, first_group = others + inside * each, MOST_MORE * FIRST * each
    assert LIMITS.cpu_percent <= use <= max(LIMITS.cpu_percent, others + first_group) + each
