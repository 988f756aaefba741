"""The stream processors: ``streamProcessor``, each a config of its own or of a template (`setpoint.agent.config.templated`).

::

    model: {name: pump, version: v1}
    sources: {press: "{{ .location_path }}._raw.pressure"}
    mapping: {pressure: press * 6.895}

Rendered, this becomes one flow from ``uns`` to ``uns``, whose processor does the deriving. What the mapping says is checked here, field by
field, so that each fault has its line: expressions, names of sources, and whether the model has such a field and takes a time series there.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from typing import Final

from setpoint.agent.config.bridge_config import made
from setpoint.agent.config.bridges import desired, name_of
from setpoint.agent.config.model import Part, StreamProcessor
from setpoint.agent.config.modelling import reference
from setpoint.agent.config.settings import running
from setpoint.agent.config.templated import Kind, Surroundings, identity, read_service
from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Mapping, Mark, Node, at_path, plain
from setpoint.flows.processors.stream_mapping import Derived, alias_fault, read_mapping
from setpoint.flows.processors.stream_processor import PREFIX, pattern_of, source_topic
from setpoint.namespace import TopicError
from setpoint.namespace.contracts import Contracts
from setpoint.namespace.location import location_path
from setpoint.namespace.models import TIME_SERIES, ModelRef

_MODELLING: Final = ("dataModels", "dataContracts", "payloadShapes")


def processed_by(node: str, name: str) -> str:
    """Who made a message, and the consumer group of the processor."""
    return identity("stream-processor", node, name)


def _as_written(node: Node, place: Place, around: Surroundings) -> Node:
    with Fields(node, place._replace(templated=True), what="model, sources and mapping") as config:
        reference(config, "model")
        config.fields("sources", required="topics by alias").all()
        config.fields("mapping", required="expressions by field").all()
    return node


STREAM_PROCESSORS: Final = Kind("streamProcessor", _as_written)


class StreamProcessors:
    """Reads the items of the section, one after the other. What `nodes` gets is for `Configuration.locate`."""

    def __init__(self, around: Surroundings, contracts: Contracts, nodes: dict[tuple[Part, str], Node]) -> None:
        self._around, self._contracts, self._nodes = around, contracts, nodes
        self._readers: dict[str, list[tuple[str, list[str]]]] = {}
        """By topic who reads it, and what that publishes."""

    def read(self, item: Fields) -> StreamProcessor | None:
        """One stream processor, or None when it has an error."""
        around, errors = self._around, self._around.report.errors
        name, wanted, debug, how = name_of(item), desired(item), item.boolean("debug_level"), running(item)
        if how.engine == "benthos":
            hint = "remove 'engine'"
            item.place.at("engine").error(item.mark_of("engine"), "Benthos does not run stream processors", hint)
        with item.fields("streamProcessorServiceConfig", required="config or templateRef, and variables") as service:
            debug = service.boolean("debug_level") or debug
            group = processed_by(around.node_name, name)
            found = read_service(service, STREAM_PROCESSORS, around, name=name, bridged_by=group)
        path = location_path(found.location)
        flow = found.node and self._flow(found.node, found.place, location_path=path, group=group)
        if around.report.errors != errors or not flow or not around.location_known:
            return None
        self._nodes["stream", name] = flow
        return StreamProcessor(
            name=name,
            flow=plain(flow),
            bridged_by=group,
            location=found.location,
            location_path=path,
            desired_state=wanted,
            debug_level=debug,
            template=found.template or None,
            idle_window=around.idle_window,
            running=how.model_copy(update={"engine": "embedded"}),
            line=item.mark[0],
        )

    def _flow(self, node: Node, place: Place, *, location_path: str, group: str) -> Node:
        """The flow of a rendered config; what is wrong with it goes to the report of `place`."""
        with Fields(node, place) as config:
            model = ModelRef(*reference(config, "model"))
            sources = config.fields("sources", required="topics by alias")
            mapping = config.fields("mapping", required="expressions by field")
            topics = _topics(sources)
            derived = _derived(mapping, sources)
            _check_model(config, mapping, derived, model, self._contracts)
            own = {key: config.get(key) for key in ("model", "sources", "mapping")}
            base, contract = PREFIX + location_path, self._contracts.models.address_of(model)
            published = [".".join((base, contract, *one.path)) for one in derived]
            if loop := self._loop(place.item or "", topics, published):
                message = f"what it publishes comes back to it for ever: {' → '.join(loop)}"
                config.place.at("sources").error(config.mark_of("sources"), message, "read another topic")
            rest = {"output_topic": base, "contract": contract}
            marks = {key: config.mark_of(key) for key in (*own, *rest)}
            processor = Mapping(config.mark, {key: made(config.mark, it) for key, it in {**rest, **own}.items()}, marks)
            flow = {
                "input": {"uns": {"umh_topics": [pattern_of(topic) for topic in topics], "consumer_group": group}},
                "pipeline": {"processors": [{"stream_processor": processor}]},
                "output": {"uns": {"bridged_by": group}},
            }
            return made(config.mark, flow)

    def _loop(self, name: str, reads: list[str], publishes: list[str]) -> list[str]:
        """Takes in a processor; the way from what it publishes over others back to it, by their names, if there is one."""
        for topic in reads:
            self._readers.setdefault(topic, []).append((name, publishes))
        ways = {topic: [name] for topic in publishes}
        queue = list(ways.items())
        for topic, way in queue:  # which grows meanwhile
            for reader, further in self._readers.get(topic, ()):
                if reader == name:
                    return [*way, name]
                fresh = {after: [*way, reader] for after in further if after not in ways}
                ways |= fresh
                queue += fresh.items()
        return []


def _topics(sources: Fields) -> list[str]:
    """The full topics of the sources, each once; what is wrong with one is reported."""
    topics: dict[str, None] = {}
    for alias, _, place in sources.all():
        if fault := alias_fault(alias):
            place.error(sources.mark_of(alias), fault)
        if topic := sources.text(alias, required="a topic"):
            try:
                topics[source_topic(topic)] = None
            except TopicError as error:
                place.error(sources.mark_of(alias), str(error))
    _not_empty(sources, "the topics to read, by alias")
    return list(topics)


def _derived(mapping: Fields, sources: Fields) -> list[Derived]:
    """The fields of the mapping that are right. Those that are not are reported, and so are sources that no field uses."""
    _not_empty(mapping, "the fields of the model, each with an expression")
    if mapping.node is None or sources.node is None:
        return []
    derived, faults = read_mapping(sources.node.items, plain(mapping.node))
    for fault in faults:
        mark, place = _at(mapping, fault.path)
        place.error(mark, fault.message, fault.hint)
    used = {alias for one in derived for alias in one.uses}
    for alias, _, place in () if faults else sources.all():
        if alias not in used:
            place.warning(sources.mark_of(alias), "no field of the mapping uses this source", "remove it")
    return derived


def _not_empty(fields: Fields, expected: str) -> None:
    if fields.node is not None and not fields.node.items:
        fields.place.error(fields.mark, "is empty", f"expected {expected}")


def _check_model(
    config: Fields, mapping: Fields, derived: list[Derived], model: ModelRef, contracts: Contracts
) -> None:
    """Report fields that the model does not have, or where it does not take a time series, and a model that nobody checks."""
    models, report = contracts.models, config.place.report
    if not model.version or any(problem.key.startswith(_MODELLING) for problem in report.errors_found()):
        return
    place, mark = config.place.at("model"), config.mark_of("model")
    address = models.address_of(model)
    if models.structure(model) is None:
        known = [f"{name}:{version}" for name, found in models.models.items() for version in found.versions]
        near = get_close_matches(str(model), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "add it to dataModels"
        place.warning(mark, f"there is no data model {model}: what is published under {address} is not checked", hint)
        return
    if models.contract_of(model) is None:
        hint = "add one to dataContracts"
        place.warning(
            mark, f"no data contract is about {model}: what is published under {address} is not checked", hint
        )
    leaves = models.leaves(model)
    for one in derived:
        path = ".".join(one.path)
        mark, place = _at(mapping, one.path)
        if path not in leaves:
            near = get_close_matches(path, leaves, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(islice(leaves, 10))}"
            place.error(mark, f"the model {model} has no field {path!r}", hint)
        elif set(leaves[path].fields) != TIME_SERIES:
            shape = leaves[path].name
            hint = "a stream processor publishes time series: timestamp_ms and value"
            place.error(mark, f"the model {model} takes {shape!r} at {path!r}", hint)


def _at(mapping: Fields, path: tuple[str, ...]) -> tuple[Mark, Place]:
    """Where a field stands."""
    place = mapping.place
    for step in path:
        place = place.at(step)
    return at_path(mapping.node, path) if mapping.node else mapping.mark, place
