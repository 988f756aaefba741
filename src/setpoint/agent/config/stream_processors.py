"""The ``streamProcessor`` section and its templates: checked for their shape, not acted on yet."""

from __future__ import annotations

from itertools import islice

from setpoint.agent.config.bridges import desired, name_of
from setpoint.agent.config.modelling import reference
from setpoint.agent.config.settings import NOT_YET
from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Node


def read_stream_processors(root: Fields, templates: Fields) -> None:
    """``streamProcessor`` and ``templates.streamProcessor``."""
    bodies = templates.entries("streamProcessor")
    for _, node, place in bodies:
        _stream_config(node, place)
    if bodies:
        templates.place.at("streamProcessor").warning(templates.mark_of("streamProcessor"), NOT_YET)
    names = dict.fromkeys(name for name, _, _ in bodies)
    for node, place in root.sequence("streamProcessor"):
        with Fields(node, place) as item:
            _stream_processor(item, names)
    if root.has("streamProcessor"):
        root.place.at("streamProcessor").warning(root.mark_of("streamProcessor"), NOT_YET)


def _stream_processor(item: Fields, templates: dict[str, None]) -> None:
    name_of(item)
    desired(item)
    item.boolean("debug_level")
    with item.fields("streamProcessorServiceConfig", required="config or templateRef") as service:
        template, config = service.text("templateRef"), service.get("config")
        if template and template not in templates:
            known = ", ".join(islice(templates, 20)) or "none"
            hint = f"templates.streamProcessor has: {known}"
            service.place.at("templateRef").error(
                service.mark_of("templateRef"), f"there is no template {template!r}", hint
            )
        if config is not None:
            _stream_config(config, service.place.at("config"))
        service.entries("variables")
        service.entries("location")
        service.boolean("debug_level")


def _stream_config(node: Node, place: Place) -> None:
    with Fields(node, Place(place.report, place.key, place.item, templated=True)) as config:
        reference(config, "model")
        config.entries("sources")
        config.entries("mapping")
