"""``flow://file.yaml``: one end of a flow, as its configuration says it.

The file is a flow's configuration in the shape of Benthos. A source takes its `input`, a sink its `output`, of whatever kind these are;
each leaves the other alone, so one file can serve as both. What stands between the two is the machine's work: processors are refused.
In a program a mapping in place of the file does: ``source("flow://", config={"input": {"modbus": {…}}})``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setpoint.configfile import compose, plain
from setpoint.flows.config import ComponentConfig, FlowConfigError, parse
from setpoint.flows.ends.adapters import InputSource, OutputSink
from setpoint.flows.ends.options import sink_options, source_options
from setpoint.flows.ends.where import STAND_IN, Where, where

_TOPICS = {"mqtt": "mqtt_topic", "uns": "umh_topic", "kafka": "kafka_topic"}


def source(url: str, *, config: Mapping[str, Any] | None = None, **options: Any) -> InputSource:
    """The input of the flow. Raises `ValueError` for a configuration that is not valid, `OSError` for a file that cannot be read."""
    place = where(url, options, host=False)
    found, name = _component(place, config, "input")
    chosen, _ = source_options(place, topic_meta=_TOPICS.get(found.kind, ""), exactly=True)
    return InputSource(lambda context: found.make(found.fields, context), name=name, **chosen)


def sink(url: str, *, config: Mapping[str, Any] | None = None, **options: Any) -> OutputSink:
    """The output of the flow. Raises as `source` does."""
    place = where(url, options, host=False)
    found, name = _component(place, config, "output")
    chosen, _ = sink_options(place, topic_meta=_TOPICS.get(found.kind, ""), exactly=True)
    return OutputSink(lambda context: found.make(found.fields, context), name=name, **chosen)


def _component(place: Where, config: Mapping[str, Any] | None, role: str) -> tuple[ComponentConfig, str]:
    whole = _read(Path(place.path)) if config is None else config
    if not isinstance(whole, Mapping):
        raise ValueError("a flow's configuration is a mapping with input or output")
    if isinstance(whole.get("pipeline"), Mapping) and whole["pipeline"].get("processors"):
        raise ValueError("it has processors: here the machine takes their place; remove the pipeline")
    other = "output" if role == "input" else "input"
    try:
        flow = parse({**whole, other: STAND_IN[other]})
    except FlowConfigError as error:
        raise ValueError("; ".join(map(str, error.problems))) from None
    found = flow.input if role == "input" else flow.output
    if found.kind == "uns":
        raise ValueError("read and write the namespace by uns://, which remembers how far a stream came")
    return found, found.name


def _read(file: Path) -> Any:
    root, faults = compose(file.read_text(encoding="utf-8"))
    if faults or root is None:
        fault = faults[0] if faults else None
        raise ValueError(f"{file}:{fault.mark[0]}: {fault.message}" if fault else f"{file} is empty")
    return plain(root)
