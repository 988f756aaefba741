"""Payload shapes, data models and data contracts: what messages under a contract must look like.

    payload shape    the fields of one payload, each with a type: ``{timestamp_ms: number, value: number}``
    data model       a tree of names, in versions ``v1``, ``v2`` …; each leaf says which payload stands there: a payload shape, fields of
                     its own (`Relational`), or another model at whose place all of that model's names appear (`ModelRef`)
    data contract    a name that topics carry, and the version of a model that holds under it

A path is the names from the root of a model to a leaf, joined with dots: ``motor.speed``. In a topic it is what follows the contract, the
virtual path and the name together::

    umh.v1.acme.cologne._pump_v1.motor.speed

Everything here is plain frozen data, right or wrong; `setpoint.namespace.models_check` says what is wrong with it. `at` says where in a
file a thing was read, as a path of keys, so that whoever has the file can name the line.

A topic finds its contract by the contract's *addresses*: the contract's name with ``_`` in front, and, where that name does not end in a
version, the same with the version of its model (``_v1``) behind it. So ``_pump_v1`` is found by ``_pump_v1`` alone, and ``pump`` with the
model's version v1 by ``_pump`` and by ``_pump_v1``. Format: the sections ``payloadShapes``, ``dataModels`` and ``dataContracts`` of
UMH Core.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Where something stands in a file, key by key."""
ShapeFields: TypeAlias = Mapping[str, "str | ShapeFields"]
"""Fields by name: one of `TYPES`, or fields again."""

TYPES: Final = ("number", "integer", "string", "boolean")
"""What a field can be; an integer is a number without a fraction, as in JSON Schema."""
BUILT_IN: Final = ("_raw", "_historian")
"""Contracts that ask for a time series or a JSON object, and for no more."""
TIME_SERIES: Final = frozenset({"timestamp_ms", "value"})
"""The fields of a time series, and of nothing else."""
VERSION: Final = re.compile("v[1-9][0-9]{0,8}")
_VERSIONED: Final = re.compile("(?P<base>.+)_v[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class PayloadShape:
    """What one payload looks like: exactly these fields, all of them. `sound`: False when what was read of it is not all of it."""

    name: str
    fields: ShapeFields
    description: str = ""
    sound: bool = True
    at: Path = field(default=(), compare=False)


class ShapeRef(NamedTuple):
    """A leaf whose payload has the shape of that name (``_payloadshape``)."""

    shape: str


class Relational(NamedTuple):
    """A leaf whose payload has these fields, and no shape of its own name (``_relational``)."""

    fields: ShapeFields


class ModelRef(NamedTuple):
    """One version of a model; as a part of a structure: all of it, at this place (``_refModel``)."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


Structure: TypeAlias = Mapping[str, "ShapeRef | Relational | ModelRef | Structure"]


@dataclass(frozen=True, slots=True)
class DataModel:
    """A model in all its versions. `sound`: False when what was read of it is not all of it."""

    name: str
    versions: Mapping[str, Structure]
    description: str = ""
    sound: bool = True
    at: Path = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class DataContract:
    """A name that topics carry and the version of a model that holds under it; without a model nothing is checked under it.

    `sound`: False when what was read of it is not all of it, so that it must not be taken for one without a model.
    """

    name: str
    model: ModelRef | None
    sound: bool = True
    at: Path = field(default=(), compare=False)

    @property
    def address(self) -> str:
        """The contract as a topic carries it in full: with ``_`` in front and a version behind it, where it has a model."""
        name = underscored(self.name)
        return name if self.model is None or _VERSIONED.fullmatch(name) else f"{name}_{self.model.version}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All texts that topics may carry for it."""
        return tuple(dict.fromkeys((underscored(self.name), self.address)))


DEFAULT_SHAPES: Final[Mapping[str, PayloadShape]] = {
    f"timeseries-{kind}": PayloadShape(f"timeseries-{kind}", {"timestamp_ms": "number", "value": kind})
    for kind in ("number", "string", "boolean")
}


@dataclass(frozen=True)
class Models:
    """All shapes, models and contracts of one file. A shape of the file goes before the default one of the same name."""

    own_shapes: Mapping[str, PayloadShape] = field(default_factory=dict)
    models: Mapping[str, DataModel] = field(default_factory=dict)
    contracts: tuple[DataContract, ...] = ()

    @cached_property
    def shapes(self) -> Mapping[str, PayloadShape]:
        """The shapes of the file and the default ones."""
        return {**DEFAULT_SHAPES, **self.own_shapes}

    def structure(self, ref: ModelRef) -> Structure | None:
        """The structure of a version of a model, None where there is none."""
        model = self.models.get(ref.name)
        return model.versions.get(ref.version) if model is not None else None

    def contract_of(self, ref: ModelRef) -> DataContract | None:
        """The contract under which this version of a model holds; of several the first."""
        return next((contract for contract in self.contracts if contract.model == ref), None)

    def address_of(self, ref: ModelRef) -> str:
        """The contract that topics with data of this model carry: that of its data contract, else ``_<name>_<version>``."""
        contract = self.contract_of(ref)
        return contract.address if contract is not None else f"_{ref.name}_{ref.version}"

    def leaves(self, ref: ModelRef) -> dict[str, PayloadShape]:
        """All paths of a version of a model with the shape of the payload at each, references followed.

        A relational leaf has a shape that is named after its path, ``_relational-<path>``, which no shape of a file can be called. Only
        for models without a fault; raises `LookupError` for what is not there.
        """
        return self._leaves[ref] if ref in self._leaves else self._expanded(ref)

    @cached_property
    def _leaves(self) -> dict[ModelRef, dict[str, PayloadShape]]:
        return {}

    def _expanded(self, ref: ModelRef) -> dict[str, PayloadShape]:
        structure = self.structure(ref)
        if structure is None:
            raise LookupError(f"there is no model {ref}")
        found: dict[str, PayloadShape] = {}
        self._expand(structure, "", found)
        self._leaves[ref] = found
        return found

    def _expand(self, structure: Structure, prefix: str, found: dict[str, PayloadShape]) -> None:
        for name, node in structure.items():
            path = f"{prefix}{name}"
            if isinstance(node, ShapeRef):
                found[path] = self.shapes[node.shape]
            elif isinstance(node, Relational):
                found[path] = _relational(path, node.fields)
            elif isinstance(node, ModelRef):
                for below, shape in self.leaves(node).items():
                    at = f"{path}.{below}"
                    found[at] = _relational(at, shape.fields) if shape.name.startswith("_") else shape
            else:
                self._expand(node, f"{path}.", found)


def _relational(path: str, fields: ShapeFields) -> PayloadShape:
    return PayloadShape(f"_relational-{path}", fields)


def underscored(name: str) -> str:
    """The name as a contract begins in a topic."""
    return name if name.startswith("_") else f"_{name}"


def base_of(address: str) -> str:
    """A contract without its version: ``_pump`` of ``_pump_v1``, and of ``_pump``."""
    found = _VERSIONED.fullmatch(address)
    return found["base"] if found else address
