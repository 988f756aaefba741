"""The whole check of a config file: what the reader finds, and what only the flows' own components can know. Nothing is opened or run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from setpoint.agent.config import Configuration, Problem, read_config
from setpoint.agent.config.model import Part
from setpoint.flows import FlowConfigError, FlowEngine


def check_config(text: str, *, source: str, env: Mapping[str, str], engine: FlowEngine) -> Configuration:
    """Read a file and check each flow in it. The result lists every problem; items with an error in a flow are not among its items."""
    configuration = read_config(text, source=source, env=env)
    found = list(_flow_problems(configuration, engine))
    if not found:
        return configuration
    bad = {problem.item for problem in found if problem.item}
    return replace(
        configuration,
        problems=tuple(sorted((*configuration.problems, *found), key=lambda problem: (problem.line, problem.column))),
        bridges=tuple(item for item in configuration.bridges if item.name not in bad),
        flows=tuple(item for item in configuration.flows if item.name not in bad),
        rejected=configuration.rejected | bad,
    )


def _flow_problems(configuration: Configuration, engine: FlowEngine) -> Iterator[Problem]:
    for bridge in configuration.bridges:
        if bridge.read is not None:
            yield from _problems_of(configuration, engine, bridge.name, "read", bridge.read)
        if bridge.write is not None:
            yield from _problems_of(configuration, engine, bridge.name, "write", bridge.write)
    for flow in configuration.flows:
        yield from _problems_of(configuration, engine, flow.name, "flow", flow.flow)


def _problems_of(
    configuration: Configuration, engine: FlowEngine, item: str, part: Part, flow: Mapping[str, object]
) -> Iterator[Problem]:
    try:
        engine.compile(flow)
    except FlowConfigError as error:
        for problem in error.problems:
            line, column = configuration.locate(item, problem.path, part=part)
            key = ".".join(str(step) for step in problem.path)
            where = f"{item}.{part}.{key}" if part != "flow" else f"{item}.{key}"
            yield Problem(problem.message, line, column, where, item, problem.hint, source=configuration.source)
