"""What machines that run flows over the broker have in common: the guards over both, and the words for them.

A bridge and a stream processor start gate by gate, broker before flows, and say of a running flow the same things in the same words. Each
declares its own states and arcs; what these look at and how it is put is here. A machine reads the broker's fact as `BROKER`, and has its
flows as children; its spec names them (`flows`), and those of them that shall run (`wanted_flows`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from setpoint.control import Fact, Snapshot
from setpoint.machine import Verdict, guard, held
from setpoint.workers.flow import REJECTED

BROKER: Final = "broker"
"""The name under which such a machine reads the broker's fact."""
FLOW: Final = "flow"
"""The child of a machine that has one flow only."""
REJECTED_FOR_S: Final = 2.0
"""So long a config must stay rejected: after a retry the flow first says what was found before."""
INCONSISTENT_FOR_S: Final = 5.0
"""Facts of different age may contradict each other for a moment; for longer they are a fault."""

WAITS_FOR_REDPANDA: Final = "starting: redpanda not healthy"
WAITS_FOR_FLOW: Final = "starting: flow not running"
FLOW_FAILED: Final = "starting failed: flow in error state"


Seen = Snapshot[Any, Any]


@guard
def redpanda_healthy(s: Seen) -> Verdict:
    "the broker is idle or active"
    broker = s.peers[BROKER]
    return Verdict(broker.healthy, says("redpanda", broker))


@guard
def flows_healthy(s: Seen) -> Verdict:
    "every flow that is wanted is idle or active"
    for name in s.desired.wanted_flows:
        if not s.children[name].healthy:
            return Verdict(False, says(called(name), s.children[name]))
    return Verdict(True, ", ".join(says(called(name), s.children[name]) for name in s.desired.wanted_flows))


@guard
def flow_misconfigured(s: Seen) -> Verdict:
    "a flow cannot work as configured"
    return Verdict(bool(_misconfigured(s)), _misconfigured(s))


@guard
def flow_rejected(s: Seen) -> Verdict:
    "Benthos will not have the config of a flow"
    return Verdict(bool(_rejected(s)), _rejected(s))


@guard
def flow_active(s: Seen) -> Verdict:
    "a flow processes messages"
    flows = [s.children[name] for name in s.desired.flows if name in s.children]
    return Verdict(any(flow.state == "active" for flow in flows), ", ".join(says("flow", flow) for flow in flows))


@guard
def children_stopped(s: Seen) -> Verdict:
    "all that it runs is stopped"
    running = [says(name, fact) for name, fact in s.children.items() if not fact.stopped]
    return Verdict(not running, ", ".join(running))


lost = flow_misconfigured | held(flow_rejected, REJECTED_FOR_S)
"""A flow will not start however long one waits."""


def called(flow: str) -> str:
    """What a flow is called in reasons: ``read flow``."""
    return "flow" if flow == FLOW else f"{flow} flow"


def says(name: str, fact: Fact) -> str:
    """What somebody says of itself, in one line."""
    text = why(fact)
    return f"{name} is {fact.state}: {text}" if text != fact.state else f"{name} is {fact.state}"


def why(fact: Fact) -> str:
    """The reason somebody gives, without the state in front of it."""
    return (fact.stalled or fact.reason).removeprefix(f"{fact.state}: ") or fact.state


def contradiction(s: Seen, publishing: str) -> str:
    """An active flow that is not connected to the broker is degraded itself; what is left is a broker that has heard nothing of it."""
    if s.children[publishing].state == "active" and s.peers[BROKER].state == "idle":
        return f"{called(publishing)} is active, but redpanda is idle"
    return ""


def flow_error(s: Seen) -> str:
    """Why a flow cannot work, however often it is tried."""
    return _misconfigured(s) or _rejected(s)


def redpanda_degraded(s: Seen) -> str:
    """The reason of the state of that name."""
    return f"redpanda degraded: {why(s.peers[BROKER])}"


def flow_degraded(s: Seen) -> str:
    """The reason of ``degraded_dfc``."""
    return f"flow degraded: {why_of_flows(s) or 'recovering'}"


def flow_failed(s: Seen) -> str:
    """The reason of ``starting_failed_dfc``."""
    return f"{FLOW_FAILED}: {flow_error(s)}"


def waits_for_redpanda(s: Seen) -> str:
    """The reason of ``starting_redpanda``."""
    return f"{WAITS_FOR_REDPANDA}: {why(s.peers[BROKER])}"


def waits_for_flow(s: Seen) -> str:
    """The reason of ``starting_dfc``."""
    return f"{WAITS_FOR_FLOW}: {why_of_flows(s)}"


def why_of_flows(s: Seen) -> str:
    """What the flows say that are wanted and not healthy."""
    troubled = [s.children[name] for name in s.desired.wanted_flows if not s.children[name].healthy]
    return "; ".join(why(flow) for flow in troubled)


def _of_flows(s: Seen, told: Callable[[Fact], str]) -> str:
    """What is so with the flows that are wanted, each by its name."""
    found = [(called(name), told(s.children[name])) for name in s.desired.wanted_flows]
    return "; ".join(f"{name}: {text}" for name, text in found if text)


def _misconfigured(s: Seen) -> str:
    return _of_flows(s, lambda fact: fact.stalled if fact.stalled.startswith("config error") else "")


def _rejected(s: Seen) -> str:
    def told(fact: Fact) -> str:
        _, found, text = fact.reason.partition(REJECTED)
        return f"{found}{text}" if found and not fact.healthy else ""

    return _of_flows(s, told)
