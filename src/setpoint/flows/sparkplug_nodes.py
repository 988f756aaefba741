"""What is known of edge nodes: whether they live, what their numbers stand for, and whether anything was missed.

A birth certificate names the metrics of a node or of one of its devices, with their types and with numbers (aliases) that later messages
use in place of names. Each message of a node has a sequence number, one more than that before, 255 being followed by 0 (Eclipse Sparkplug
3.0, 6.4.1, 5.5). A gap means that something was missed, nobody knows what; it may have been a birth certificate that gave the numbers
other meanings. So after a gap all that was known of the node is forgotten: a value under a wrong name would be worse than none. What
comes then without name and type cannot be read, and the node is to be asked for a new birth.

A death certificate of a node counts for the session that it was made for: it has the `bdSeq` of that session's birth. One that is late is
passed over.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from setpoint.flows.sparkplug_payload import value_of

PREFIX: Final = "spBv1.0"
KINDS: Final = ("NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA")
MAX_METRICS: Final = 1_000_000
"""Metrics that are remembered, of all nodes."""
MAX_NODES: Final = 100_000


class Topic(NamedTuple):
    """Where a message came from: ``spBv1.0/<group>/<kind>/<node>[/<device>]``."""

    group: str
    kind: str
    node: str
    device: str = ""

    @property
    def key(self) -> str:
        """The node or device, as one text."""
        return "/".join(part for part in (self.group, self.node, self.device) if part)


def topic(text: str) -> Topic | None:
    """The parts of a topic; None for one that is not that of a node's or device's message."""
    parts = text.split("/")
    if len(parts) not in (4, 5) or parts[0] != PREFIX or parts[2] not in KINDS or not all(parts):
        return None
    found = Topic(parts[1], *parts[2:])
    return found if (found.kind[0] == "D") == bool(found.device) else None


class Reading(NamedTuple):
    """One metric with its meaning: its name and type, and the metric as it came."""

    name: str
    datatype: int
    metric: Any


class Outcome(msgspec.Struct):
    """What a message says."""

    readings: list[Reading] = []
    died: bool = False
    """It is a death certificate that counts."""
    problems: list[str] = []
    rebirth: bool = False
    """The node is to be asked for a birth certificate."""


class _Known(NamedTuple):
    device: str
    name: str
    datatype: int


class _Node:
    """One edge node, with its devices."""

    def __init__(self) -> None:
        self.born = False
        self.sequence: int | None = None
        self.session: int | None = None
        self.aliases: dict[int, _Known] = {}
        self.names: dict[tuple[str, str], _Known] = {}

    def forget(self, device: str | None = None) -> None:
        """What its metrics mean; of one device, or of all."""
        self.aliases = {alias: known for alias, known in self.aliases.items() if device not in (None, known.device)}
        self.names = {key: known for key, known in self.names.items() if device not in (None, known.device)}


class Nodes:
    """All edge nodes that were heard of."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], _Node] = {}

    def forget(self) -> None:
        """Messages may have been missed, of any node."""
        self._nodes.clear()

    def session(self, topic: Topic) -> int | None:
        """The `bdSeq` of the node's birth."""
        node = self._nodes.get((topic.group, topic.node))
        return node.session if node is not None else None

    def take(self, topic: Topic, payload: Any, *, again: bool = False) -> Outcome:
        """What this message says; it is remembered. `again`: the broker says that it may have sent it before."""
        if (topic.group, topic.node) not in self._nodes and len(self._nodes) >= MAX_NODES:
            return Outcome(problems=[f"{topic.key}: more than {MAX_NODES} edge nodes; this one is left out"])
        node = self._nodes.setdefault((topic.group, topic.node), _Node())
        if topic.kind == "NDEATH":
            return self._node_died(node, payload)
        outcome = Outcome(readings=[], problems=[])
        self._follow(node, topic, payload, again=again, outcome=outcome)
        if topic.kind == "DDEATH":
            node.forget(topic.device)
            outcome.died = True
        elif topic.kind.endswith("BIRTH"):
            self._birth(node, topic, payload, outcome)
        else:
            self._data(node, topic, payload, outcome)
        outcome.rebirth = outcome.rebirth or not node.born
        return outcome

    def _node_died(self, node: _Node, payload: Any) -> Outcome:
        session = _session(payload)
        if node.born and None not in (session, node.session) and session != node.session:
            return Outcome()
        node.forget()
        node.born, node.sequence = False, None
        return Outcome(died=True)

    def _follow(self, node: _Node, topic: Topic, payload: Any, *, again: bool, outcome: Outcome) -> None:
        """Looks whether the message is the next one, and forgets the node where it is not."""
        number = payload.seq if payload.HasField("seq") else None
        if topic.kind == "NBIRTH":
            node.sequence = number
            return
        due = None if node.sequence is None or not node.born else (node.sequence + 1) % 256
        follows = due is None or number in (None, due)
        if again and not follows:
            return  # we have had it, and what comes next follows on the last one
        node.sequence = number
        if follows:
            return
        node.forget()
        node.born = False
        problem = f"{topic.key}: sequence number {number} where {due} was due; messages were missed"
        outcome.problems.append(problem)

    def _birth(self, node: _Node, topic: Topic, payload: Any, outcome: Outcome) -> None:
        if topic.kind == "NBIRTH":
            node.forget()
            node.born, node.session = True, _session(payload)
        else:
            node.forget(topic.device)
        if sum(len(each.names) for each in self._nodes.values()) + len(payload.metrics) > MAX_METRICS:
            outcome.problems.append(
                f"{topic.key}: more than {MAX_METRICS} metrics; those of its birth are not remembered"
            )
            return
        for metric in payload.metrics:
            known = _Known(topic.device, metric.name, metric.datatype)
            node.names[topic.device, metric.name] = known
            if metric.HasField("alias"):
                node.aliases[metric.alias] = known
            outcome.readings.append(Reading(metric.name, metric.datatype, metric))

    def _data(self, node: _Node, topic: Topic, payload: Any, outcome: Outcome) -> None:
        unknown = 0
        for metric in payload.metrics:
            if metric.name:
                known = node.names.get((topic.device, metric.name))
                name, datatype = metric.name, metric.datatype or (known.datatype if known else 0)
            else:
                known = node.aliases.get(metric.alias) if metric.HasField("alias") else None
                known = known if known is not None and known.device == topic.device else None
                name, datatype = (known.name, known.datatype) if known else ("", 0)
            if name and datatype:
                outcome.readings.append(Reading(name, datatype, metric))
            else:
                unknown += 1
        if unknown:
            outcome.problems.append(
                f"{topic.key}: {unknown} metrics of {topic.kind} are in no birth certificate that is known"
            )
            outcome.rebirth = True


def _session(payload: Any) -> int | None:
    """The number of a node's session, in its birth and in its death certificate."""
    for metric in payload.metrics:
        if metric.name == "bdSeq":
            try:
                found = value_of(metric, metric.datatype or 8)
            except ValueError:
                return None
            return found if isinstance(found, int) else None
    return None
