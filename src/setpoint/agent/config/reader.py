"""`read_config`: the whole file, section by section.

The reader is pure and total: any text gives a `Configuration`, and whatever is wrong is in its `problems`. Items are read one by one,
so that one with an error leaves the others as they are; names that are given twice are an error of the later one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from setpoint.agent.config.bridge_config import flow_of
from setpoint.agent.config.bridges import BRIDGES, NAME, bridged_by, desired, name_of, read_bridge, scalar_text
from setpoint.agent.config.historian import read_historian
from setpoint.agent.config.internal import read_internal
from setpoint.agent.config.memo import Known, Memo, print_of
from setpoint.agent.config.model import Agent, Bridge, Broker, Configuration, Flow, Item, Part, StreamProcessor
from setpoint.agent.config.modelling import read_modelling
from setpoint.agent.config.references import References, hidden
from setpoint.agent.config.settings import idle_window, read_agent, running
from setpoint.agent.config.stream_processors import STREAM_PROCESSORS, StreamProcessors, processed_by
from setpoint.agent.config.templated import Surroundings, read_templates
from setpoint.agent.config.workers import read_worker
from setpoint.configfile.compose import compose
from setpoint.configfile.fields import Fields, Place, Report
from setpoint.configfile.node import Mapping, Mark, Node, Sequence, plain
from setpoint.configfile.problem import Problem
from setpoint.configfile.syntax import Fault
from setpoint.namespace.contracts import Contracts
from setpoint.workers.topic_browser import TopicBrowserSpec

_ITEMS: Final = ("protocolConverter", "dataFlow", "streamProcessor", "workers")
_Item = TypeVar("_Item", Bridge, Flow, Item, StreamProcessor)
_NO_ENVIRONMENT: Final[MappingOf[str, str]] = {}


def read_config(
    text: str,
    *,
    source: str = "config.yaml",
    env: MappingOf[str, str] = _NO_ENVIRONMENT,
    memo: Memo | None = None,
    worker_types: Collection[str] | None = None,
) -> Configuration:
    """Everything the config file `text` says, with the environment `env` taken into account.

    Never raises. A `memo` that is given to every reading of the same file makes an edit cost what it changed; the result is the same.
    `source` is the name of the file in messages. Format: the ``config.yaml`` of UMH Core 0.44. Environment: LOCATION_0 to LOCATION_6 (the
    agent's location), NODE_NAME (part of the id of a bridge), BRIDGE_IDLE_WINDOW (seconds), and the variables that the file refers to
    (`setpoint.agent.config.references`); files that it refers to are read. `worker_types` are those that ``workers`` may ask for; without
    it any name will do.
    """
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    root, faults = compose(text)
    report, references = Report(source), References(env)
    _report_faults(faults, root, report)
    if root is not None and "${" in text:
        root = references.replaced(root, Place(report))
    if not isinstance(root, Mapping) or not root.items:
        _report_unusable(root, faults, report)
        return Configuration(digest, problems=_problems(report), usable=False, source=source)
    return _Reader(root, report, env, memo or Memo(), worker_types, references).read(digest)


class _Reader:
    def __init__(
        self,
        root: Mapping,
        report: Report,
        env: MappingOf[str, str],
        memo: Memo,
        worker_types: Collection[str] | None,
        references: References,
    ) -> None:
        self.memo = memo
        self.references = references
        self.worker_types = worker_types
        self.root = Fields(root, Place(report))
        self.report = report
        self.env = env
        self.nodes: dict[tuple[Part, str], Node] = {}
        self.rejected: set[str] = set()

    def read(self, digest: str) -> Configuration:
        with self.root as root, root.fields("templates") as templates:
            agent, location_known = self._agent()
            variables, historian = read_historian(root)
            around = Surroundings(
                self.report,
                agent.location,
                location_known,
                self.env.get("NODE_NAME") or "-".join(value for _, value in sorted(agent.location.items())) or "agent",
                idle_window(self.env, root.place),
                variables,
                references=self.references,
            )
            read_templates(templates, BRIDGES, around)
            read_templates(templates, STREAM_PROCESSORS, around)
            self.memo.begin(
                (around.location, around.location_known, around.node_name, around.idle_window, around.historian)
                + (print_of(templates.node) if templates.node else ())
            )
            bridges = self._bridges(around)
            flows = self._flows(around.idle_window)
            workers = self._workers()
            contracts = read_modelling(root)
            stream_processors = self._stream_processors(around, contracts)
            broker, topic_browser = self._internal()
        return Configuration(
            digest=digest,
            agent=agent,
            broker=broker,
            topic_browser=topic_browser,
            historian=historian,
            bridges=bridges,
            flows=flows,
            stream_processors=stream_processors,
            workers=workers,
            contracts=contracts,
            node_name=around.node_name,
            problems=tuple(hidden(problem, self.references.secrets) for problem in _problems(self.report)),
            source=self.report.source,
            secrets=self.references.secrets,
            rejected=frozenset(self.rejected),
            nodes=self.nodes,
        )

    def _agent(self) -> tuple[Agent, bool]:
        """The agent's settings, and whether its location can be relied on."""
        by_environment = bool(self.env.get("LOCATION_0"))
        with self.root.fields("agent", required="" if by_environment else "the agent's location") as section:
            agent = read_agent(section, self.env)
            given = section.present or by_environment
            if given and not agent.location and self.root.has("protocolConverter"):
                message = "the agent has no location; topics begin with 'unknown'"
                section.place.at("location").warning(
                    section.mark, message, "add 'location:' with level 0, the enterprise"
                )
        wrong = any(problem.key.startswith("agent.location") for problem in self.report.errors_found())
        return agent, given and not wrong

    def _internal(self) -> tuple[Broker, TopicBrowserSpec]:
        with self.root.fields("internal") as internal:
            return read_internal(internal)

    def _bridges(self, around: Surroundings) -> tuple[Bridge, ...]:
        found = _Found[Bridge](self.report)
        groups: dict[str, str] = {}
        for node, place in self.root.sequence("protocolConverter"):
            with found.item(node, place, what="a bridge: name, desiredState and so on") as item:
                name = item.place.item or ""
                _distinct(item, bridged_by(around.node_name, name), groups)
                found.add(self._bridge(node, item, around))
        self.memo.end()
        self._needs_location("protocolConverter", "bridge", around)
        return self._settled(found)

    def _stream_processors(self, around: Surroundings, contracts: Contracts) -> tuple[StreamProcessor, ...]:
        found = _Found[StreamProcessor](self.report)
        reading = StreamProcessors(around, contracts, self.nodes)
        groups: dict[str, str] = {}
        for node, place in self.root.sequence("streamProcessor"):
            with found.item(node, place, what="a stream processor: name, desiredState and so on") as item:
                _distinct(item, processed_by(around.node_name, item.place.item or ""), groups)
                found.add(reading.read(item))
        self._needs_location("streamProcessor", "stream processor", around)
        return self._settled(found)

    def _needs_location(self, section: str, what: str, around: Surroundings) -> None:
        if not around.location_known and self.root.has(section):
            message = f"no {what} is used while the agent's location has an error: its topics would be wrong"
            self.root.place.at(section).error(self.root.mark_of(section), message)

    def _bridge(self, node: Node, item: Fields, around: Surroundings) -> Bridge | None:
        """One bridge: as it read before where nothing about it changed."""
        name, part = item.place.item or "", print_of(node)
        known = None if node.flawed else self.memo.recall(name, part)
        if known is None:
            remarks, values, nodes = len(self.report.problems), around.values, dict[tuple[Part, str], Node]()
            referred = self.references.read
            bridge = read_bridge(item, around, nodes)
            self.nodes |= nodes
            unremarkable = len(self.report.problems) == remarks and self.references.read == referred
            if bridge is not None and unremarkable and not node.flawed:
                self.memo.keep(name, Known(part, bridge, nodes, values - around.values))
            return bridge
        item.all()  # every key was asked for when it was read
        around.values -= known.values
        self.nodes |= known.nodes
        return known.bridge

    def _flows(self, idle_window: float) -> tuple[Flow, ...]:
        found = _Found[Flow](self.report)
        for node, place in self.root.sequence("dataFlow"):
            with found.item(node, place, what="a flow: name, desiredState and so on") as item:
                found.add(self._flow(item, idle_window))
        return self._settled(found)

    def _workers(self) -> tuple[Item, ...]:
        found = _Found[Item](self.report)
        for node, place in self.root.sequence("workers"):
            with found.item(node, place, what="a worker: name, type and spec") as item:
                found.add(self._worker(item))
        return self._settled(found)

    def _worker(self, item: Fields) -> Item | None:
        worker = read_worker(item)
        if worker is not None and self.worker_types is not None and worker.type not in self.worker_types:
            near = item.place.nearest(worker.type, self.worker_types)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(self.worker_types))}"
            item.place.at("type").error(item.mark_of("type"), f"there is no worker type {worker.type[:60]!r}", hint)
        return worker

    def _settled(self, found: _Found[_Item]) -> tuple[_Item, ...]:
        self.rejected |= found.rejected
        return found.sound()

    def _flow(self, item: Fields, idle_window: float) -> Flow | None:
        name, wanted, debug, how = name_of(item), desired(item), item.boolean("debug_level"), running(item)
        with item.fields("dataFlowComponentConfig", required="benthos: {input, pipeline, output}") as service:
            debug = service.boolean("debug_level") or debug
            flow = flow_of(service, required="input, pipeline and output")
            if flow is None:
                return None
            self.nodes["flow", name] = flow
            return Flow(name, plain(flow), wanted, debug, idle_window, how, line=item.mark[0])


class _Found(Generic[_Item]):
    """The items of one section. An item with an error is rejected, and so is every item whose name is used twice."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.items: list[_Item] = []
        self.rejected: set[str] = set()
        self._seen: dict[str, int] = {}

    def add(self, item: _Item | None) -> None:
        if item is not None:
            self.items.append(item)

    def sound(self) -> tuple[_Item, ...]:
        return tuple(item for item in self.items if item.name not in self.rejected)

    @contextmanager
    def item(self, node: Node, place: Place, *, what: str) -> Iterator[Fields]:
        """The fields of one item, while it is read."""
        name = scalar_text(node.items.get("name")) if isinstance(node, Mapping) else ""
        place = place._replace(item=name or None)
        errors, before = self.report.errors, len(self.items)
        with Fields(node, place, what=what) as fields:
            if name in self._seen:
                hint = f"rename one of them; the first is in line {self._seen[name]}"
                place.at("name").error(fields.mark_of("name"), f"the name {name[:60]!r} is used twice", hint)
            yield fields
        if not name:
            return
        self._seen.setdefault(name, node.mark[0])
        if node.flawed and not any(problem.item == name for problem in self.report.errors_found()):
            place.error(node.mark, "contains an alias of something that has an error", "correct that first")
        if node.flawed or self.report.errors != errors or len(self.items) == before:
            self.rejected.add(name)


def _distinct(item: Fields, id: str, ids: dict[str, str]) -> None:
    """Report an item whose id is that of another: names differ in more ways than ids."""
    name = item.place.item or ""
    other = ids.setdefault(id, name)
    if NAME.fullmatch(name) and other != name:
        hint = "rename one of them so that they differ in more than '-' and '_'"
        item.place.at("name").error(item.mark_of("name"), f"{name!r} and {other!r} get the same id", hint)


def _report_faults(faults: list[Fault], root: Node | None, report: Report) -> None:
    for fault in faults:
        place = Place(report, item=_item_at(root, fault.path))
        for step in fault.path:
            place = place.at(step)
        place.error(fault.mark, fault.message, fault.hint)


def _item_at(root: Node | None, path: tuple[str | int, ...]) -> str | None:
    """The name of the item that a path of keys leads into."""
    if len(path) < 2 or path[0] not in _ITEMS or not isinstance(root, Mapping):
        return None
    items = root.items.get(str(path[0]))
    if not isinstance(items, Sequence) or not isinstance(path[1], int) or path[1] >= len(items.items):
        return None
    item = items.items[path[1]]
    return scalar_text(item.items.get("name")) or None if isinstance(item, Mapping) else None


def _report_unusable(root: Node | None, faults: list[Fault], report: Report) -> None:
    place = Place(report)
    if root is None and not faults:
        hint = "expected at least 'agent:'; a file without content asks for nothing and is never applied"
        place.error(Mark(1, 1), "the file is empty", hint)
    elif isinstance(root, Mapping) and not faults:
        place.error(root.mark, "the file is empty", "expected at least 'agent:'")
    elif root is not None and not isinstance(root, Mapping):
        what = "a list" if isinstance(root, Sequence) else "a single value"
        place.error(root.mark, f"expected sections such as 'agent:' and 'protocolConverter:', found {what}")


def _problems(report: Report) -> tuple[Problem, ...]:
    problems = sorted(report.problems.values(), key=lambda problem: (problem.line, problem.column))
    if report.left_out:
        message = f"{report.left_out} more problems are not shown"
        problems.append(Problem(message, *_last(problems), hint="correct those above first", source=report.source))
    return tuple(problems)


def _last(problems: list[Problem]) -> tuple[int, int]:
    return problems[-1].line, problems[-1].column
