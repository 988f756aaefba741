"""Scenarios: small stories of real workers, each of which shows one thing the runtime does, and checks that it did.

    report = on_virtual_time(find("cascade"))
    assert report.ok

Each is a module of its own, with its workers and its story, to be read as an example of how such a worker is written. ``setpoint scenario``
performs them in real time; the tests perform them on virtual time.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from setpoint.testing.scenarios.performing import Report, on_virtual_time, perform
from setpoint.testing.scenarios.scene import Check, Decided, Move, News, Remark, Scenario, Scene

NAMES = (
    "simple",
    "failing",
    "panic",
    "cascade",
    "timeout",
    "slow",
    "communicator",
    "disable",
    "configerror",
    "inheritance",
    "order",
    "concurrent",
    "maintenance",
    "dynamic",
    "containment",
)
"""All scenarios, by the names of their modules here."""


def find(name: str) -> Scenario:
    """The scenario of that name. Raises `LookupError` with the nearest name."""
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(NAMES)}"
        raise LookupError(f"there is no scenario {name!r}; {hint}")
    scenario = import_module(f"{__name__}.{name}").SCENARIO
    assert isinstance(scenario, Scenario)
    return scenario


__all__ = [
    "NAMES",
    "Check",
    "Decided",
    "Move",
    "News",
    "Remark",
    "Report",
    "Scenario",
    "Scene",
    "find",
    "on_virtual_time",
    "perform",
]
