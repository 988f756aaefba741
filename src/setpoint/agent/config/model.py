"""What a config file says, once it has been read: a tree of frozen values and the list of everything that is wrong with it.

A `Configuration` always exists, however bad the file: it carries the items that are right (`bridges`, `flows`, `broker`, `agent`) and
every `Problem` of the others, each with its line, column and key. Which of the right items to apply while others are wrong is the
caller's decision; `usable` says whether the file as a whole may be trusted to say what is *wanted*, so that an unreadable file is
never mistaken for an empty wish list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from setpoint.configfile.node import Node, at_path
from setpoint.configfile.problem import Problem
from setpoint.namespace.contracts import Contracts
from setpoint.namespace.models import Models
from setpoint.workers.broker import External, Managed
from setpoint.workers.flow import Running
from setpoint.workers.historian import HistorianSpec
from setpoint.workers.topic_browser import TopicBrowserSpec

DesiredState = Literal["active", "stopped"]
Part = Literal["read", "write", "flow", "stream"]

METRICS_PORT = 8080
IDLE_WINDOW = 30.0
"""Seconds without a message after which a flow counts as idle (documented default of BRIDGE_IDLE_WINDOW)."""
RETENTION_MS = 604_800_000
"""Seven days, the retention UMH Core gives its broker."""


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent itself: where it stands, where its metrics are served, and what it may take of the host."""

    location: Mapping[int, str] = field(default_factory=dict)
    metrics_port: int = METRICS_PORT
    console: str = ""
    """The host name of the console that it is to report to; "" for none."""
    gate: bool = False
    """Whether new bridges are held back while the host is at one of its limits."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Those that are given, by their names in the spec of the container monitor."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker every flow writes to; from ``internal.redpanda``."""

    desired_state: DesiredState = "active"
    retention_ms: int = RETENTION_MS
    retention_bytes: int = 0
    """0: unlimited."""
    external: External | None = None
    managed: Managed | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the cluster's configuration that are kept."""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A connection to a device with up to two flows: from the device (`read`) and to it (`write`). Rendered: no template is left.

    Two bridges are equal when they want the same; where they stand in the file (`line`) does not count.
    """

    name: str
    target: str
    port: int
    bridged_by: str
    location: Mapping[int, str]
    location_path: str
    desired_state: DesiredState = "active"
    read: Mapping[str, Any] | None = None
    """A flow in the Benthos shape, output ``uns``; None when the bridge reads nothing."""
    write: Mapping[str, Any] | None = None
    """A flow in the Benthos shape, input ``uns``; None when the bridge writes nothing."""
    read_desired: DesiredState = "active"
    write_desired: DesiredState = "active"
    debug_level: bool = False
    template: str | None = None
    idle_window: float = IDLE_WINDOW
    """Seconds without a message after which a flow of this bridge counts as idle."""
    running: Running = field(default_factory=Running)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Flow:
    """A stand-alone flow in the Benthos shape; nothing in it is rendered."""

    name: str
    flow: Mapping[str, Any]
    desired_state: DesiredState = "active"
    debug_level: bool = False
    idle_window: float = IDLE_WINDOW
    """Seconds without a message after which it counts as idle."""
    running: Running = field(default_factory=Running)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class StreamProcessor:
    """A flow that derives values from others in the namespace. Rendered: no template is left."""

    name: str
    flow: Mapping[str, Any]
    """In the Benthos shape: from ``uns`` through ``stream_processor`` to ``uns``."""
    bridged_by: str
    location: Mapping[int, str]
    location_path: str
    desired_state: DesiredState = "active"
    debug_level: bool = False
    template: str | None = None
    idle_window: float = IDLE_WINDOW
    """Seconds without a message after which it counts as idle."""
    running: Running = field(default_factory=Running)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Item:
    """A worker of any type. `spec` is plain data in which templates may stand; `after` names other items that start before it."""

    name: str
    type: str
    spec: Any = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    desired_state: DesiredState = "active"
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a config file says. `digest` is the SHA-256 of its text, in hexadecimal."""

    digest: str
    agent: Agent = field(default_factory=Agent)
    broker: Broker = field(default_factory=Broker)
    bridges: tuple[Bridge, ...] = ()
    flows: tuple[Flow, ...] = ()
    stream_processors: tuple[StreamProcessor, ...] = ()
    workers: tuple[Item, ...] = ()
    topic_browser: TopicBrowserSpec = field(default_factory=TopicBrowserSpec)
    historian: HistorianSpec | None = None
    contracts: Contracts = field(default_factory=Contracts, repr=False, compare=False)
    """The data contracts, with their models and payload shapes; those with an error refuse every message."""
    problems: tuple[Problem, ...] = ()
    """In the order of the file."""
    usable: bool = True
    """False when the file could not be understood as a whole (syntax, size, empty): its lists then mean nothing."""
    node_name: str = "agent"
    """The agent among others: NODE_NAME of its environment, else its location."""
    source: str = "config.yaml"
    rejected: frozenset[str] = frozenset()
    """Names of bridges, flows, stream processors and workers that the file asks for but that are not in the lists because of an error."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """Texts that the file refers to and that must be hidden wherever they turn up (`setpoint.agent.config.references`)."""
    nodes: Mapping[tuple[Part, str], Node] = field(default_factory=dict, repr=False, compare=False)
    """The node each flow was read from, for `locate`."""

    @property
    def models(self) -> Models:
        """The payload shapes, data models and data contracts as they are written."""
        return self.contracts.models

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    def locate(self, item: str, path: Sequence[str | int] = (), *, part: Part | None = None) -> tuple[int, int]:
        """Line and column of `path` (such as ``("input", "modbus", "addresses", 0, "type")``) in a flow of the bridge or flow `item`.

        `part` says which flow; without it the read flow of a bridge comes first, then its write flow, a stand-alone flow, a stream
        processor. Of a path that is not in the file (a default, a generated output) the nearest place above it is returned. Raises
        `LookupError` when there is no such item.
        """
        parts: tuple[Part, ...] = (part,) if part else ("read", "write", "flow", "stream")
        for candidate in parts:
            if node := self.nodes.get((candidate, item)):
                return at_path(node, path)[:2]
        raise LookupError(
            f"{self.source} has no bridge or flow {item!r} with a {part or 'flow'}; known items: {self._known()}"
        )

    def _known(self) -> str:
        return ", ".join(sorted({name for _, name in self.nodes})) or "none"
