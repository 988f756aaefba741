"""The whole check of a config file: what the reader finds, and what only the flows' own components can know. Nothing is opened or run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from setpoint.agent.config import Configuration, Problem, read_config
from setpoint.agent.config.memo import Memo
from setpoint.agent.config.model import Part
from setpoint.flows import FlowConfigError, FlowEngine
from setpoint.workers.catalogue import worker_types


class Checker:
    """Reads a file and checks each flow in it. Remembers flows that were found good, so that an edit costs what it changed."""

    def __init__(self, *, source: str, env: Mapping[str, str], engine: FlowEngine) -> None:
        self._source = source
        self._env = env
        self._engine = engine
        self._good: dict[tuple[str, Part], Mapping[str, object]] = {}
        self._memo = Memo()
        self._types = worker_types()

    def check(self, text: str) -> Configuration:
        """What the text says. The result lists every problem; items with an error in a flow are not among its items."""
        configuration = read_config(text, source=self._source, env=self._env, memo=self._memo, worker_types=self._types)
        found = list(self._flow_problems(configuration))
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
            rejected=configuration.rejected | bad,
        )

    def _flow_problems(self, configuration: Configuration) -> Iterator[Problem]:
        good: dict[tuple[str, Part], Mapping[str, object]] = {}
        for item, part, flow in _flows_of(configuration):
            problems = (
                [] if self._good.get((item, part)) == flow else list(self._problems_of(configuration, item, part, flow))
            )
            if not problems:
                good[item, part] = flow
            yield from problems
        self._good = good

    def _problems_of(
        self, configuration: Configuration, item: str, part: Part, flow: Mapping[str, object]
    ) -> Iterator[Problem]:
        try:
            self._engine.compile(flow)
        except FlowConfigError as error:
            for problem in error.problems:
                line, column = configuration.locate(item, problem.path, part=part)
                key = ".".join(str(step) for step in problem.path)
                where = f"{item}.{part}.{key}" if part != "flow" else f"{item}.{key}"
                yield Problem(problem.message, line, column, where, item, problem.hint, source=configuration.source)


def _flows_of(configuration: Configuration) -> Iterator[tuple[str, Part, Mapping[str, object]]]:
    for bridge in configuration.bridges:
        if bridge.read is not None:
            yield bridge.name, "read", bridge.read
        if bridge.write is not None:
            yield bridge.name, "write", bridge.write
    for flow in configuration.flows:
        yield flow.name, "flow", flow.flow
