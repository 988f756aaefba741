"""Contracts in force: does a payload fit where its topic says it goes?

`Contracts` are those of one set of models. `check` looks up the topic's contract, then the path behind it, then whether the payload has the
shape that stands there, and raises `ContractError` with all that does not fit. What holds for the contract of a topic:

    ``_raw``, ``_historian``      built in: nothing beyond what every payload must be (see `setpoint.namespace.payload`)
    declared, with a model        checked
    declared, without a model     nothing to check
    another version of a          refused: a message that claims ``_pump_v3``, or ``_pump``, while ``_pump_v1`` is declared, would pass for
    declared contract             checked
    declared nowhere              not checked, as in UMH Core, and never silently: counted by name in the `ContractBook`, and logged once

Checked is what is written, the payload's bytes: what a value becomes in JSON is what readers get. A payload that fits is recognised in one
call of msgspec, which has a decoder compiled for each shape. Only what that refuses is looked at by `faults`, which alone says what fits:
it finds the words for what does not, and lets through the few spellings that are right all the same, such as 5.0 for an integer.

`ContractBook` is what flows hold: the contracts in force, replaced while they run.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Final

import msgspec

from setpoint.namespace.models import (
    BUILT_IN,
    DataContract,
    ModelRef,
    Models,
    PayloadShape,
    ShapeFields,
    base_of,
)
from setpoint.namespace.models_check import Examined, examine
from setpoint.namespace.models_schema import subjects
from setpoint.namespace.topic import Topic

log = logging.getLogger("setpoint.namespace")

MOST_UNDECLARED: Final = 1000
"""Contracts that nobody declared which are counted by name; the rest together."""
OTHERS: Final = "(others)"
_MOST_SHOWN: Final = 10
_REMEMBERED: Final = 1000
_TYPES: Final[Mapping[str, Any]] = {"number": int | float, "integer": int, "string": str, "boolean": bool}
_REFUSED: Final = (msgspec.MsgspecError, ValueError, RecursionError)


class ContractError(ValueError):
    """A message does not fit its contract: says which, where, what was expected and what is nearest."""


class Contracts:
    """The contracts of one set of models, ready to check messages. `examined` spares looking for faults again."""

    def __init__(self, models: Models | None = None, *, examined: Examined | None = None) -> None:
        self.models = models or Models()
        self._sound = (examined or examine(self.models)).sound
        shapes: dict[int, _Fit] = {}
        self._tables: dict[str, _Table] = {name: _Table(name, None, self.models, shapes) for name in BUILT_IN}
        self._families: dict[str, list[str]] = {}
        for contract in self.models.contracts:
            table = _Table(contract.address, contract.model, self.models, shapes, broken=self.broken(contract))
            for address in contract.addresses:
                self._tables.setdefault(address, table)
            self._families.setdefault(base_of(contract.address), []).append(contract.address)

    def usable(self, ref: ModelRef) -> bool:
        """Whether this version of a model is there and without a fault, with all that it refers to."""
        return ref in self._sound

    def broken(self, contract: DataContract) -> bool:
        """Whether messages cannot be checked against it, because of errors in it or in its model; then all are refused."""
        return not contract.sound or (contract.model is not None and not self.usable(contract.model))

    def check(self, topic: Topic, payload: bytes) -> bool:
        """Whether there is a contract of that name. Raises `ContractError` for a payload, as it is written, that does not fit it."""
        table = self._tables.get(topic.contract)
        if table is None:
            return self._undeclared(topic.contract)
        if table.free:
            return True
        virtual = topic.virtual_path
        path = f"{'.'.join(virtual)}.{topic.name}" if virtual else topic.name
        fit = table.fits.get(path)
        if fit is None:
            raise ContractError(table.no_path(path))
        try:
            fit.decoder.decode(payload)
        except _REFUSED:
            if wrong := fit.wrong(payload):
                raise ContractError(f"contract {table.address}: {path} ({fit.shape.name}): {wrong}") from None
        return True

    def _undeclared(self, address: str) -> bool:
        family = self._families.get(base_of(address))
        if family is not None:
            raise ContractError(f"there is no contract {address}; declared: {', '.join(sorted(family)[:_MOST_SHOWN])}")
        return False

    def nearest(self, address: str) -> str:
        """The declared contract most like that name, or nothing."""
        return next(iter(difflib.get_close_matches(address[:60], list(islice(self._tables, _REMEMBERED)), n=1)), "")

    def declares(self, address: str) -> bool:
        """Whether a topic may carry that contract and is checked, or need not be."""
        return address in self._tables

    def schemas(self) -> dict[str, dict[str, Any]]:
        """JSON Schemas by subject for a schema registry; contracts whose models have faults are left out."""
        return {
            subject: schema
            for contract in self.models.contracts
            if not self.broken(contract)
            for subject, schema in subjects(self.models, contract).items()
        }


class ContractBook:
    """The contracts in force, for all who publish, and how many messages went by under contracts that nobody declared, by name."""

    def __init__(self, contracts: Contracts | None = None) -> None:
        self.current = contracts or Contracts()
        self.undeclared: dict[str, int] = {}

    def put(self, contracts: Contracts) -> None:
        """Have these in force from the next message on; what they declare is no longer counted."""
        self.current = contracts
        self.undeclared = {name: count for name, count in self.undeclared.items() if not contracts.declares(name)}

    def check(self, topic: Topic, payload: bytes) -> None:
        """Raises `ContractError` for a payload, as it is written, that does not fit the contract of its topic."""
        if not self.current.check(topic, payload):
            self._count(topic.contract)

    def _count(self, name: str) -> None:
        if name not in self.undeclared:
            if len(self.undeclared) >= MOST_UNDECLARED:
                name = OTHERS
            else:
                near = self.current.nearest(name)
                hint = f"; did you mean {near}?" if near else ""
                log.warning("contract %s is declared nowhere: its messages are published unchecked%s", name, hint)
        self.undeclared[name] = self.undeclared.get(name, 0) + 1


class _Fit:
    """One shape with the decoder that recognises what fits it."""

    def __init__(self, shape: PayloadShape) -> None:
        self.shape = shape

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(_type_of(self.shape.fields))

    def wrong(self, payload: bytes) -> str:
        """Why the payload does not fit, or nothing when it does all the same."""
        try:
            data = msgspec.json.decode(payload)
        except _REFUSED as error:
            return f"it is not valid JSON: {error}"
        return "; ".join(islice(faults(self.shape.fields, data), _MOST_SHOWN))


def _type_of(fields: ShapeFields) -> Any:
    """A msgspec type that takes objects with exactly these fields. Its attributes are numbered: names of fields may be any text."""
    found: list[tuple[str, Any, Any]] = []
    for number, (name, kind) in enumerate(fields.items()):
        found.append(
            (f"f{number}", _TYPES[kind] if isinstance(kind, str) else _type_of(kind), msgspec.field(name=name))
        )
    return msgspec.defstruct("Fields", found, forbid_unknown_fields=True, gc=False)


class _Table:
    """The paths of one contract. Made when the first message asks: most contracts of a large file are not in use."""

    def __init__(
        self, address: str, model: ModelRef | None, models: Models, shapes: dict[int, _Fit], *, broken: bool = False
    ) -> None:
        self.address = address
        self.free = model is None and not broken
        self._model, self._models, self._shapes, self._broken = model, models, shapes, broken
        self._said: dict[str, str] = {}

    @cached_property
    def fits(self) -> dict[str, _Fit]:
        """What must stand at each path; nothing where the model cannot be used."""
        if self._model is None or self._broken:
            return {}
        leaves = self._models.leaves(self._model)
        return {path: self._shapes.setdefault(id(shape), _Fit(shape)) for path, shape in leaves.items()}

    def no_path(self, path: str) -> str:
        """Why there is nothing at that path. Remembered: whoever sends it sends it again, and comparing is slow."""
        if path not in self._said:
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            self._said[path] = self._no_path(path)
        return self._said[path]

    def _no_path(self, path: str) -> str:
        if self._broken:
            return f"contract {self.address} cannot be checked: its model has errors; see setpoint models check"
        near = difflib.get_close_matches(path, list(islice(self.fits, _REMEMBERED)), n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        else:
            more = f" and {len(self.fits) - _MOST_SHOWN} more" if len(self.fits) > _MOST_SHOWN else ""
            hint = f"expected one of {', '.join(islice(self.fits, _MOST_SHOWN))}{more}"
        return f"contract {self.address}: the model {self._model} has no path {path!r}; {hint}"


def faults(fields: ShapeFields, payload: object, where: str = "") -> Iterator[str]:
    """Everything about a payload that is not as the fields say; nothing when it fits. Numbers, texts and so on are those of JSON."""
    if not isinstance(payload, dict):
        yield f"{where or 'the payload'}: expected an object, found {_found(payload)}"
        return
    for name, kind in fields.items():
        at = f"{where}.{name}" if where else name
        if name not in payload:
            yield f"{at} is missing"
        elif not isinstance(kind, str):
            yield from faults(kind, payload[name], at)
        elif not _is(kind, payload[name]):
            yield f"{at}: expected {_WORDS[kind]}, found {_found(payload[name])}"
    missing = [name for name in fields if name not in payload][:_MOST_SHOWN]
    for name in payload:
        if name not in fields:
            near = difflib.get_close_matches(str(name)[:60], missing, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            yield f"{where + '.' if where else ''}{str(name)[:60]} is not a field of it{hint}"


_WORDS: Final = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a text",
    "boolean": "true or false",
}


def _is(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int):
        return kind in ("number", "integer")
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and value.is_integer())
    return isinstance(value, str) and kind == "string"


def _found(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
