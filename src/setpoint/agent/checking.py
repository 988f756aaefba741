"""The whole check of a config file: what the reader finds, and what only the flows' own components can know. Nothing is opened or run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from setpoint.agent.config import Configuration, Item, Problem, read_config
from setpoint.agent.config.memo import Memo
from setpoint.agent.config.model import Part
from setpoint.agent.config.references import hidden
from setpoint.control import Registry
from setpoint.control.variables import Scope, SpecError, as_type, rendered
from setpoint.flows import FlowConfigError, FlowEngine
from setpoint.services.benthos.program import Programs
from setpoint.workers.catalogue import known_types
from setpoint.workers.flow import Engine, FlowSpec, engine_for


class Checker:
    """Reads a file and checks each flow in it. Remembers flows that were found good, so that an edit costs what it changed."""

    def __init__(
        self, *, source: str, env: Mapping[str, str], engine: FlowEngine, programs: Programs | None = None
    ) -> None:
        self._programs = programs
        self._source = source
        self._env = env
        self._engine = engine
        self._good: dict[tuple[str, Part], tuple[Engine, Mapping[str, object]]] = {}
        self._memo = Memo()
        self._types = known_types()

    def check(self, text: str) -> Configuration:
        """What the text says. The result lists every problem; items with an error in a flow are not among its items."""
        configuration = read_config(
            text, source=self._source, env=self._env, memo=self._memo, worker_types=list(self._types)
        )
        found = [
            hidden(problem, configuration.secrets)
            for problem in (*self._flow_problems(configuration), *_worker_problems(configuration, self._types))
        ]
        if not found:
            return configuration
        bad = {problem.item for problem in found if problem.item}
        return replace(
            configuration,
            problems=tuple(
                sorted((*configuration.problems, *found), key=lambda problem: (problem.line, problem.column))
            ),
            bridges=tuple(item for item in configuration.bridges if item.name not in bad),
            flows=tuple(item for item in configuration.flows if item.name not in bad),
            stream_processors=tuple(item for item in configuration.stream_processors if item.name not in bad),
            workers=tuple(item for item in configuration.workers if item.name not in bad),
            rejected=configuration.rejected | bad,
        )

    def _flow_problems(self, configuration: Configuration) -> Iterator[Problem]:
        good: dict[tuple[str, Part], tuple[Engine, Mapping[str, object]]] = {}
        for item, part, asked in _flows_of(configuration):
            problems = (
                []
                if self._good.get((item, part)) == asked
                else list(self._problems_of(configuration, item, part, asked))
            )
            if not problems:
                good[item, part] = asked
            yield from problems
        self._good = good

    def _problems_of(
        self, configuration: Configuration, item: str, part: Part, asked: tuple[Engine, Mapping[str, object]]
    ) -> Iterator[Problem]:
        engine, flow = asked
        try:
            engine_for(FlowSpec(config=flow, engine=engine), self._engine, self._programs)
        except FlowConfigError as error:
            for problem in error.problems:
                line, column = configuration.locate(item, problem.path, part=part)
                key = ".".join(str(step) for step in problem.path)
                where = ".".join(filter(None, (item, part if part in ("read", "write") else "", key)))
                yield Problem(problem.message, line, column, where, item, problem.hint, source=configuration.source)


def _worker_problems(configuration: Configuration, types: Registry) -> Iterator[Problem]:
    """What is wrong with the specs of workers, by the types that they declare, and with the names they come after."""
    names = [item.name for item in configuration.workers]
    for item in configuration.workers:
        fault, hint = _spec_fault(item, configuration, types), ""
        if missing := [name for name in item.after if name not in names]:
            near = get_close_matches(missing[0], names, n=1)
            fault = f"comes after {missing[0]!r}, which is no worker of this section"
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
        if fault:
            yield Problem(fault, item.line, 1, f"workers.{item.name}", item.name, hint, source=configuration.source)


def _spec_fault(item: Item, configuration: Configuration, types: Registry) -> str:
    location = configuration.agent.location
    internal = {"id": item.name, "name": item.name, "type": item.type, "parent": ""}
    try:
        scope = Scope(location=location).below(item.variables)
        as_type(rendered(item.spec, scope, internal), _spec_type(item.type, types))
    except (SpecError, LookupError) as error:
        return f"spec: {error}"
    return ""


def _spec_type(worker_type: str, types: Registry) -> Any:
    """What a worker type declares; `Any` where it declares nothing, or cannot be imported (it says so when it runs)."""
    try:
        return getattr(types.factory(worker_type), "spec_type", Any)
    except Exception:
        return Any


def _flows_of(configuration: Configuration) -> Iterator[tuple[str, Part, tuple[Engine, Mapping[str, object]]]]:
    for bridge in configuration.bridges:
        if bridge.read is not None:
            yield bridge.name, "read", (bridge.running.engine, bridge.read)
        if bridge.write is not None:
            yield bridge.name, "write", (bridge.running.engine, bridge.write)
    for flow in configuration.flows:
        yield flow.name, "flow", (flow.running.engine, flow.flow)
    for processor in configuration.stream_processors:
        yield processor.name, "stream", (processor.running.engine, processor.flow)
