"""Sections that users' files have and that this version checks for their shape but does not act on yet: payload shapes, data models,
data contracts, stream processors. The historian is among them, but templates may use its values."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final

from setpoint.agent.config.bridges import NAME, desired, name_of
from setpoint.agent.config.settings import NOT_YET
from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Mapping, Node

_VERSION: Final = re.compile("v[1-9][0-9]*")
_TYPES: Final = ("number", "string", "boolean", "integer")
_SSL: Final = ("disable", "require", "verify-full")


def read_modelling(root: Fields) -> None:
    """All of these sections but the historian; a warning for each that is there."""
    for name, node, place in root.entries("payloadShapes"):
        _check_name(name, node, place)
        with Fields(node, place) as shape:
            shape.text("description")
            _shape_fields(shape)
    for key in ("dataModels", "dataContractsV2"):
        for node, place in root.sequence(key):
            with Fields(node, place) as item:
                _data_model(item)
    for node, place in root.sequence("dataContracts"):
        with Fields(node, place) as item:
            item.text("name", required="a name")
            _reference(item, "model")
            item.sequence("default_bridges")
    for key in ("payloadShapes", "dataModels", "dataContracts", "dataContractsV2"):
        if root.has(key):
            root.place.at(key).warning(root.mark_of(key), NOT_YET)


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


def read_historian(root: Fields) -> dict[str, Any] | None:
    """The historian as variables of templates (``.historian.timescale.host``), with the documented defaults."""
    if not root.has("historian"):
        root.get("historian")
        return None
    with (
        root.fields("historian") as historian,
        historian.fields("timescale", required="host and password") as timescale,
    ):
        values: dict[str, Any] = {
            "host": timescale.text("host", required="a host name or address"),
            "port": timescale.integer("port", default=5432, low=1, high=65535),
            "database": timescale.text("database", default="umh"),
            "username": timescale.text("username", default="umh_owner"),
            "password": timescale.text("password", required="the password"),
            "sslmode": timescale.choice("sslmode", _SSL, default="require"),
        }
        certificates = {key: timescale.text(key) for key in ("sslrootcert", "sslcert", "sslkey")}
        for key in (key for key, value in certificates.items() if value and values["sslmode"] != "verify-full"):
            hint = "set sslmode to verify-full, or remove it"
            timescale.place.at(key).error(timescale.mark_of(key), "certificates only work with verify-full", hint)
    root.place.at("historian").warning(root.mark_of("historian"), f"{NOT_YET}, apart from the variables of templates")
    return {"timescale": values | certificates}


def _check_name(name: str, node: Node, place: Place) -> None:
    if not NAME.fullmatch(name):
        place.error(node.mark, f"{name[:60]!r} is not a valid name", "expected letters, digits, '-' and '_'")


def _shape_fields(shape: Fields) -> None:
    with shape.fields("fields", required="the fields of the shape") as fields:
        for _, node, place in fields.all():
            _shape_field(node, place)


def _shape_field(node: Node, place: Place) -> None:
    with Fields(node, place, what="_type or fields below it") as field:
        if field.has("_type"):
            field.choice("_type", _TYPES)
        else:
            for _, child, below in field.all():
                _shape_field(child, below)


def _data_model(item: Fields) -> None:
    name_of(item)
    item.text("description")
    for version, node, place in item.entries("version"):
        if not _VERSION.fullmatch(version):
            place.error(node.mark, f"{version[:20]!r} is not a version", "expected v1, v2 …")
        with Fields(node, place) as body:
            for _, child, below in body.fields("structure", required="the fields of the model").all():
                _structure(child, below)


def _structure(node: Node, place: Place) -> None:
    with Fields(node, place, what="_payloadshape, _refModel, _relational or fields below it") as field:
        special = [key for key in ("_payloadshape", "_refModel", "_relational") if field.has(key)]
        if not special:
            for _, child, below in field.all():
                _structure(child, below)
            if isinstance(node, Mapping) and not node.items:
                place.error(node.mark, "is empty", "expected _payloadshape, _refModel, _relational or fields below it")
            return
        if len(special) > 1:
            place.error(node.mark, f"has {' and '.join(special)} at once", "keep one of them")
        field.text("_payloadshape")
        if field.has("_refModel"):
            _reference(field, "_refModel")
        if field.has("_relational"):
            field.fields("_relational").all()


def _reference(item: Fields, key: str) -> None:
    with item.fields(key, required="name and version") as model:
        model.text("name", required="the name of a data model")
        version = model.text("version", required="a version such as v1")
        if version and not _VERSION.fullmatch(version) and not model.place.templated:
            model.place.at("version").error(
                model.mark_of("version"), f"{version[:20]!r} is not a version", "expected v1 …"
            )


def _stream_processor(item: Fields, templates: dict[str, None]) -> None:
    name_of(item)
    desired(item)
    item.boolean("debug_level")
    with item.fields("streamProcessorServiceConfig", required="config or templateRef") as service:
        reference, config = service.text("templateRef"), service.get("config")
        if reference and reference not in templates:
            known = ", ".join(islice(templates, 20)) or "none"
            hint = f"templates.streamProcessor has: {known}"
            service.place.at("templateRef").error(
                service.mark_of("templateRef"), f"there is no template {reference!r}", hint
            )
        if config is not None:
            _stream_config(config, service.place.at("config"))
        service.entries("variables")
        service.entries("location")
        service.boolean("debug_level")


def _stream_config(node: Node, place: Place) -> None:
    with Fields(node, Place(place.report, place.key, place.item, templated=True)) as config:
        _reference(config, "model")
        config.entries("sources")
        config.entries("mapping")
