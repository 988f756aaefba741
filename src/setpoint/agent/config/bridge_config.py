"""The ``config`` of a bridge, or the body of a template: connection, read flow and write flow.

The read flow is a Benthos flow whose output is always the unified namespace, and whose time series are always downsampled. The write
flow is given in four parts (source, processing, destination, extra), from which the Benthos flow is made here; the older form with a
ready Benthos flow is accepted as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Mapping, Mark, Node, Scalar, Sequence

FLOW_SECTIONS: Final = (
    "input", "pipeline", "output", "dead_letter", "buffer", "cache_resources", "rate_limit_resources",
)  # fmt: skip
_HOST: Final = re.compile(r"[^\s/@\"'<>]+")


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """What a rendered config says."""

    target: str
    port: int
    read: Mapping | None
    write: Mapping | None
    debug_level: bool


def read_bridge_config(node: Node | None, place: Place, *, bridged_by: str) -> BridgeConfig:
    """The config at `node`; problems go to the report of `place`."""
    with Fields(node, place, what="connection and flows") as config:
        target, port = _connection(config)
        with config.fields("dataflowcomponent_read") as section:
            read = _read_flow(section, bridged_by)
        with config.fields("dataflowcomponent_write") as section:
            write = _write_flow(section, bridged_by)
        return BridgeConfig(target, port, read, write, config.boolean("debug_level"))


def _connection(config: Fields) -> tuple[str, int]:
    with config.fields("connection", required="nmap: {target, port}") as connection:
        connection.text("name")
        with connection.fields("nmap", required="target and port") as nmap:
            target = nmap.text("target", required="a host name or address")
            excused = nmap.place.templated or not nmap.has("target")
            if not _HOST.fullmatch(target) and (target or not excused):
                hint = "expected a host name or address alone, without protocol and port"
                nmap.place.at("target").error(nmap.mark_of("target"), f"{target[:60]!r} is not a host", hint)
            return target, nmap.integer("port", low=1, high=65535, required="a port from 1 to 65535")


def flow_of(section: Fields, *, required: str = "") -> Mapping | None:
    """The Benthos flow below the key ``benthos``, with its known sections only; None when there is none."""
    with section.fields("benthos", required=required) as benthos:
        sections: dict[str, Node] = {}
        for name in FLOW_SECTIONS:
            node = benthos.get(name)
            if node is not None and not (isinstance(node, Mapping | Sequence) and not node.items):
                sections[name] = node
        flow = Mapping(benthos.mark, sections, {name: benthos.mark_of(name) for name in sections})
        flow.flawed = benthos.node.flawed if benthos.node else False
        return flow if sections else None


def _read_flow(section: Fields, bridged_by: str) -> Mapping | None:
    section.boolean("debug_level")
    flow = flow_of(section)
    if flow is None:
        return None
    place = section.place.at("benthos")
    if "input" not in flow.items:
        place.at("input").error(flow.mark, "is missing", "expected the input to read from, such as modbus")
    output = flow.items.get("output")
    if place.templated and isinstance(output, Mapping) and "uns" not in output.items:
        message = "this output is not used: the read flow of a bridge always writes to uns"
        place.at("output").warning(flow.keys["output"], message, "write 'uns: {}', or use a dataFlow for other outputs")
    mark = flow.keys.get("output", flow.mark)
    flow.items["output"] = made(mark, {"uns": {"bridged_by": bridged_by}})
    flow.keys["output"] = mark
    flow.items["pipeline"] = _downsampled(flow.items.get("pipeline") or Mapping(flow.mark))
    flow.keys.setdefault("pipeline", flow.mark)
    return flow


def _downsampled(pipeline: Node) -> Node:
    """The pipeline; with a downsampler behind a tag_processor that is its only processor."""
    processors = pipeline.items.get("processors") if isinstance(pipeline, Mapping) else None
    if not isinstance(pipeline, Mapping) or not isinstance(processors, Sequence) or len(processors.items) != 1:
        return pipeline
    only = processors.items[0]
    if not isinstance(only, Mapping) or set(only.items) - {"label"} != {"tag_processor"}:
        return pipeline
    downsampler = made(only.mark, {"downsampler": {}})
    items = {**pipeline.items, "processors": Sequence(processors.mark, [only, downsampler])}
    return Mapping(pipeline.mark, items, pipeline.keys)


def _write_flow(section: Fields, bridged_by: str) -> Mapping | None:
    section.boolean("debug_level")
    ready = flow_of(section)
    topics, destination, processor, extra = (
        _source(section),
        _destination(section),
        _processing(section),
        _extra(section),
    )
    if ready is not None and (topics or destination):
        message, hint = "the write flow is given twice", "give either benthos, or source and destination"
        section.place.at("benthos").error(section.mark_of("benthos"), message, hint)
    if ready is not None or not (topics or destination):
        return ready
    if not topics and not section.place.templated:
        mark, place = section.mark_of("source"), section.place.at("source").at("topics")
        place.error(mark, "is missing", "expected the topics to read, one a line")
    if destination is None:
        mark, place = section.mark_of("destination"), section.place.at("destination")
        place.error(mark, "is missing", "expected protocol and code")
        return None
    source_mark = section.mark_of("source")
    flow = Mapping(section.mark)
    _put(flow, "input", made(source_mark, {"uns": {"umh_topics": topics, "consumer_group": bridged_by}}), source_mark)
    if processor:
        _put(flow, "pipeline", _pipeline(processor), processor.mark)
    _put(flow, "output", destination, section.mark_of("destination"))
    for name, node in extra.items():
        _put(flow, name, node, node.mark)
    return flow


def _source(section: Fields) -> list[str]:
    with section.fields("source") as source:
        node, place = source.get("topics"), source.place.at("topics")
        if isinstance(node, Sequence):
            lines = [child.text for child in node.items if isinstance(child, Scalar)]
        else:
            lines = (
                node.text.splitlines() if isinstance(node, Scalar) and not (node.dynamic and place.templated) else []
            )
        topics = [line.strip().removeprefix("- ").strip() for line in lines]
        if node is not None and any("," in topic for topic in topics):
            place.error(node.mark, "a topic cannot contain a comma", "write one topic a line")
        return [topic for topic in topics if topic]


def _processing(section: Fields) -> Mapping | None:
    with section.fields("processing") as processing:
        kind, code = processing.text("type", default="nodered_js"), processing.get("code")
        if code is None:
            return None
        body = Mapping(code.mark, {"code": code}, {"code": processing.mark_of("code")})
        return Mapping(code.mark, {kind: body}, {kind: processing.mark_of("type")})


def _destination(section: Fields) -> Mapping | None:
    with section.fields("destination") as destination:
        if not destination.present:
            return None
        protocol, code = destination.text("protocol"), destination.get("code")
        if not protocol and code is None:
            return None
        if not protocol and not section.place.templated:
            destination.place.at("protocol").error(destination.mark, "is missing", "expected the kind of output")
        mark = destination.mark_of("code")
        return Mapping(mark, {protocol: code or Mapping(mark)}, {protocol: destination.mark_of("protocol")})


def _extra(section: Fields) -> dict[str, Node]:
    with section.fields("extra") as extra:
        code = extra.get("code")
        if code is None or (isinstance(code, Scalar) and (code.flawed or code.value is None)):
            return {}
        with Fields(code, extra.place.at("code")) as resources:
            names = ("cache_resources", "rate_limit_resources", "buffer")
            return {name: node for name in names if (node := resources.get(name)) is not None}


def _pipeline(processor: Mapping) -> Mapping:
    processors = Sequence(processor.mark, [processor])
    return Mapping(processor.mark, {"processors": processors}, {"processors": processor.mark})


def _put(flow: Mapping, name: str, node: Node, mark: Mark) -> None:
    flow.items[name], flow.keys[name] = node, mark


def made(mark: Mark, value: object) -> Node:
    """A node that is not in the file; its place is that of what it belongs to. Nodes in the value stay what they are."""
    if isinstance(value, Scalar | Mapping | Sequence):
        return value
    if isinstance(value, dict):
        items = {str(key): made(mark, child) for key, child in value.items()}
        return Mapping(mark, items, dict.fromkeys(items, mark))
    if isinstance(value, list):
        return Sequence(mark, [made(mark, child) for child in value])
    text = str(value)
    return Scalar(mark, text, text)
