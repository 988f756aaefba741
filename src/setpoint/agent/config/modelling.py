"""``payloadShapes``, ``dataModels`` and ``dataContracts``: what messages under a contract must look like.

Read in two steps. First each entry for itself, into the plain data of `setpoint.namespace.models`; an entry with an error is kept, marked
as not sound, so that what refers to it is not called missing as well. Then all together: what refers to what is looked at by `examine`,
and each fault is put at its line.

``dataContractsV2`` says both at once: each version of an entry is a version of a model, and the contract ``_<name>_<version>`` of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from setpoint.agent.config.bridges import NAME, name_of
from setpoint.agent.config.settings import NOT_YET
from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Node, Scalar, at_path
from setpoint.namespace.contracts import Contracts
from setpoint.namespace.models import (
    BUILT_IN,
    TYPES,
    VERSION,
    DataContract,
    DataModel,
    ModelRef,
    Models,
    Path,
    PayloadShape,
    Relational,
    ShapeFields,
    ShapeRef,
    Structure,
    underscored,
)
from setpoint.namespace.models_check import ModelFault, examine

_SPECIAL: Final = ("_payloadshape", "_refModel", "_relational")
_CONTENT: Final = "_payloadshape, _refModel, _relational or fields below it"
_FIELD_NAME: Final = re.compile("[A-Za-z0-9-][A-Za-z0-9_-]*")
_LEGAL: Final = "expected letters, digits, '-' and '_'"


def read_modelling(root: Fields) -> Contracts:
    """What these sections come to; contracts with an error refuse every message."""
    shapes = {shape.name: shape for shape in _shapes(root)}
    models: dict[str, DataModel] = {}
    for key in ("dataModels", "dataContractsV2"):
        for model in _data_models(root, key, models):
            models.setdefault(model.name, model)
    merged = (model for model in models.values() if model.at[0] == "dataContractsV2")
    contracts = [_contract_of(model, version) for model in merged for version in model.versions]
    found = Models(shapes, models, (*contracts, *_contracts(root)))
    examined = examine(found)
    for fault in examined.faults:
        _report(fault, root)
    return Contracts(found, examined=examined)


def _report(fault: ModelFault, root: Fields) -> None:
    place = root.place
    for step in fault.at:
        place = place.at(step)
    mark = at_path(root.node, fault.at) if root.node else root.mark
    place.error(mark, fault.message, fault.hint)


def _key(at: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else step for step in at)


def _shapes(root: Fields) -> Iterator[PayloadShape]:
    with root.fields("payloadShapes") as listed:
        for name, node, place in listed.all():
            errors = place.report.errors
            if not NAME.fullmatch(name):
                place.error(listed.mark_of(name), f"{name[:60]!r} is not a valid name", _LEGAL)
            with Fields(node, place, what="a payload shape: description and fields") as shape:
                description, fields = shape.text("description"), _shape_fields(shape)
            sound = place.report.errors == errors and not node.flawed
            yield PayloadShape(name, fields, description, sound=sound, at=("payloadShapes", name))


def _shape_fields(shape: Fields) -> ShapeFields:
    """The fields of a shape, or of a relational leaf."""
    with shape.fields("fields", required="the fields of the payload, each with a _type") as fields:
        if fields.node is not None and not fields.node.items:
            fields.place.error(fields.mark, "is empty", "expected the fields of the payload, each with a _type")
        return _fields_below(fields)


def _fields_below(fields: Fields) -> dict[str, str | ShapeFields]:
    found: dict[str, str | ShapeFields] = {}
    for name, node, place in fields.all():
        with Fields(node, place, what="_type or fields below it") as field:
            if field.has("_type"):
                found[name] = field.choice("_type", TYPES)
            else:
                _not_empty(field, node, "_type or fields below it")
                found[name] = _fields_below(field)
    return found


def _not_empty(field: Fields, node: Node, expected: str) -> None:
    """Report a node with nothing in it; one that is no mapping was reported."""
    nothing = isinstance(node, Scalar) and node.value is None and not node.flawed
    if nothing or (field.node is not None and not field.node.items):
        field.place.error(node.mark, "is empty", f"expected {expected}")


def _data_models(root: Fields, key: str, before: Mapping[str, DataModel]) -> Iterator[DataModel]:
    """The models of a section; names that are there already are reported."""
    for index, (node, place) in enumerate(root.sequence(key)):
        errors = place.report.errors
        with Fields(node, place, what="a model: name and version") as item:
            model = _data_model(item, (key, index))
            if model.name in before:
                hint = f"rename one of them; the first is {_key(before[model.name].at)}"
                item.place.at("name").error(item.mark_of("name"), f"the name {model.name[:60]!r} is used twice", hint)
        if model.name:
            yield replace(model, sound=place.report.errors == errors and not node.flawed)


def _data_model(item: Fields, at: Path) -> DataModel:
    name, description = name_of(item), item.text("description")
    versions: dict[str, Structure] = {}
    with item.fields("version", required="the versions of the model: v1 and so on") as listed:
        for version, node, place in listed.all():
            if not VERSION.fullmatch(version):
                place.error(listed.mark_of(version), f"{version[:20]!r} is not a version", "expected v1, v2 …")
            with Fields(node, place, what="a version: structure") as body:
                structure = body.fields("structure", required="the fields of the model")
                if structure.node is not None:
                    _not_empty(structure, structure.node, "the fields of the model")
                versions[version] = _structure(structure)
    return DataModel(name, versions, description, at=at)


def _structure(folder: Fields) -> Structure:
    """The nodes of a folder by name; those with an error are left out."""
    found: dict[str, ShapeRef | Relational | ModelRef | Structure] = {}
    for name, node, place in folder.all():
        if name.startswith("_"):
            like = place.nearest(name, _SPECIAL)
            hint = f"did you mean {like!r}?" if like else "names that begin with '_' are reserved"
            place.error(folder.mark_of(name), "unknown key", hint)
        elif not _FIELD_NAME.fullmatch(name):
            place.error(folder.mark_of(name), f"{name[:60]!r} is not a valid name", _LEGAL)
        elif (content := _node(node, place)) is not None:
            found[name] = content
    return found


def _node(node: Node, place: Place) -> ShapeRef | Relational | ModelRef | Structure | None:
    """What stands below a name, or None when it is not right."""
    with Fields(node, place, what=_CONTENT) as field:
        special = [key for key in _SPECIAL if field.has(key)]
        if not special:
            _not_empty(field, node, _CONTENT)
            return _structure(field)
        if len(special) > 1:
            place.error(node.mark, f"has {' and '.join(special)} at once", "keep one of them")
        shape, ref = field.text("_payloadshape"), _reference(field, "_refModel") if "_refModel" in special else None
        if "_relational" in special:
            with field.fields("_relational") as relational:
                relational.text("description")
                return Relational(_shape_fields(relational))
        return ShapeRef(shape) if shape else ref


def _contracts(root: Fields) -> Iterator[DataContract]:
    for index, (node, place) in enumerate(root.sequence("dataContracts")):
        errors = place.report.errors
        with Fields(node, place, what="a contract: name and model") as item:
            contract = _contract(item, ("dataContracts", index))
        sound = place.report.errors == errors and not node.flawed
        if sound and contract.model is None and contract.addresses[0] not in BUILT_IN:
            message = f"{contract.name!r} has no model: nothing is checked under it"
            place.warning(item.mark_of("name"), message, "add 'model:' with name and version")
        if contract.name:
            yield replace(contract, sound=sound)


def _contract(item: Fields, at: Path) -> DataContract:
    name = item.text("name", required="a name")
    if name and not NAME.fullmatch(name.removeprefix("_")):
        hint = f"{_LEGAL}, such as _pump_v1"
        item.place.at("name").error(item.mark_of("name"), f"{name[:60]!r} is not a valid name", hint)
    ref = _reference(item, "model") if item.get("model") is not None else None
    if item.sequence("default_bridges"):
        item.place.at("default_bridges").warning(item.mark_of("default_bridges"), NOT_YET)
    return DataContract(name, ref, at=at)


def _contract_of(model: DataModel, version: str) -> DataContract:
    """The contract that an entry of ``dataContractsV2`` comes with."""
    name = underscored(f"{model.name}_{version}")
    return DataContract(name, ModelRef(model.name, version), sound=model.sound, at=model.at)


def _reference(item: Fields, key: str) -> ModelRef | None:
    errors = item.place.report.errors
    name, version = reference(item, key)
    return ModelRef(name, version) if item.place.report.errors == errors else None


def reference(item: Fields, key: str) -> tuple[str, str]:
    """A data model by name and version."""
    with item.fields(key, required="name and version") as model:
        name = model.text("name", required="the name of a data model")
        version = model.text("version", required="a version such as v1")
        if version and not VERSION.fullmatch(version) and not model.place.templated:
            model.place.at("version").error(
                model.mark_of("version"), f"{version[:20]!r} is not a version", "expected v1 …"
            )
    return name, version
