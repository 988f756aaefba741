"""Sections that this version checks for their shape but does not act on yet: payload shapes, data models, data contracts."""

from __future__ import annotations

import re
from typing import Final

from setpoint.agent.config.bridges import NAME, name_of
from setpoint.agent.config.settings import NOT_YET
from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Mapping, Node

_VERSION: Final = re.compile("v[1-9][0-9]*")
_TYPES: Final = ("number", "string", "boolean", "integer")


def read_modelling(root: Fields) -> None:
    """All of these sections; a warning for each that is there."""
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
            reference(item, "model")
            item.sequence("default_bridges")
    for key in ("payloadShapes", "dataModels", "dataContracts", "dataContractsV2"):
        if root.has(key):
            root.place.at(key).warning(root.mark_of(key), NOT_YET)


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
            reference(field, "_refModel")
        if field.has("_relational"):
            field.fields("_relational").all()


def reference(item: Fields, key: str) -> None:
    """A data model by name and version."""
    with item.fields(key, required="name and version") as model:
        model.text("name", required="the name of a data model")
        version = model.text("version", required="a version such as v1")
        if version and not _VERSION.fullmatch(version) and not model.place.templated:
            model.place.at("version").error(
                model.mark_of("version"), f"{version[:20]!r} is not a version", "expected v1 …"
            )
