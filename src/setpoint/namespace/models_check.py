"""What is wrong with models: references that lead nowhere or in a circle, leaves without a shape, contracts that clash.

`examine` finds all faults at once, each with its place (see `setpoint.namespace.models.Path`), what is wrong and what to do. It looks at
the references between models as a graph and walks it once, depth first: a reference back to a model that is still being walked closes a
circle; when a model is left, how deep its references go and how many paths it has are known from those it refers to. So the cost is
that of the text, whatever the models come to when their references are written out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from setpoint.namespace.models import (
    BUILT_IN,
    TIME_SERIES,
    DataContract,
    ModelRef,
    Models,
    Path,
    ShapeRef,
    Structure,
)

MOST_REFERENCES: Final = 10
"""References that may follow each other, as documented."""
MOST_PATHS: Final = 10_000
"""Paths that one version of a model may have, all references written out."""
_MOST_COMPARED: Final = 200
_MOST_NAMED: Final = 10
_MOST_HINTS: Final = 200


class ModelFault(NamedTuple):
    """One thing that is wrong, its place, and what to do about it."""

    at: Path
    message: str
    hint: str = ""


class Examined(NamedTuple):
    """All faults, and the versions of models that can be used: without a fault, and all that they refer to."""

    faults: tuple[ModelFault, ...]
    sound: frozenset[ModelRef]


class _Reference(NamedTuple):
    """From a version of a model to another: through which path, and where that stands."""

    path: str
    target: ModelRef
    at: Path


@dataclass(slots=True)
class _Visit:
    """What is known of a version of a model: of itself when it is entered, of all below it when it is left."""

    ref: ModelRef
    at: Path
    sound: bool
    references: list[_Reference] = field(default_factory=list)
    paths: int = 0
    depth: int = 0
    """References that follow each other from here on."""
    deepest: _Reference | None = None
    """The first of these."""


def examine(models: Models) -> Examined:
    """Everything that is wrong with the models, and what can be used all the same."""
    near = _Nearest()
    walk = _Walk(models, near)
    for name, model in models.models.items():
        for version in model.versions:
            walk.visit(ModelRef(name, version))
    faults = [*_shape_faults(models), *walk.faults, *_contract_faults(models, near)]
    return Examined(tuple(faults), frozenset(ref for ref, visit in walk.left.items() if visit.sound))


@dataclass
class _Walk:
    """One walk over the models. `left` are those that are done, `under_way` those between the first and the present, in order."""

    models: Models
    near: _Nearest
    faults: list[ModelFault] = field(default_factory=list)
    left: dict[ModelRef, _Visit] = field(default_factory=dict)
    under_way: dict[ModelRef, str] = field(default_factory=dict)
    """Each with the path through which the next one was reached."""

    def visit(self, start: ModelRef) -> None:
        """Walk from here on, without recursion: a chain may be as long as a file."""
        stack = [self._enter(start)] if start not in self.left else []
        while stack:
            visit, rest = stack[-1]
            reference = next(rest, None)
            if reference is None:
                stack.pop()
                self._leave(visit)
                continue
            self.under_way[visit.ref] = reference.path
            if reference.target in self.under_way:
                visit.sound = False
                self._circle(reference)
            elif reference.target not in self.left:
                stack.append(self._enter(reference.target))

    def _enter(self, ref: ModelRef) -> tuple[_Visit, Iterator[_Reference]]:
        model = self.models.models[ref.name]
        visit = _Visit(ref, (*model.at, "version", ref.version, "structure"), model.sound)
        self._look(model.versions[ref.version], visit, "", visit.at)
        self.under_way[ref] = ""
        return visit, iter(visit.references)

    def _look(self, structure: Structure, visit: _Visit, prefix: str, at: Path) -> None:
        """What stands in the structure itself."""
        for name, node in structure.items():
            here = (*at, name)
            if isinstance(node, ModelRef):
                if fault := _missing(self.models, node, self.near):
                    self._fault(visit, (*here, "_refModel", fault[0]), *fault[1:])
                else:
                    visit.references.append(_Reference(prefix + name, node, here))
            elif isinstance(node, Mapping):
                self._look(node, visit, f"{prefix}{name}.", here)
            else:
                visit.paths += 1
                if isinstance(node, ShapeRef):
                    self._look_at_shape(node.shape, visit, here)

    def _look_at_shape(self, name: str, visit: _Visit, at: Path) -> None:
        shape = self.models.shapes.get(name)
        if shape is None:
            message = f"there is no payload shape {name[:60]!r}"
            self._fault(visit, (*at, "_payloadshape"), message, self.near(name, self.models.shapes))
        elif not shape.sound:
            visit.sound = False  # what is wrong with it was said where it stands

    def _circle(self, back: _Reference) -> None:
        refs = list(self.under_way)
        ring = refs[refs.index(back.target) :]
        way = " → ".join(f"{ref} ({self.under_way[ref]})" for ref in ring)
        message = f"refers in a circle: {way} → {back.target}"
        self.faults.append(ModelFault((*back.at, "_refModel"), message, "take one of these references out"))

    def _leave(self, visit: _Visit) -> None:
        self.under_way.pop(visit.ref)
        self.left[visit.ref] = visit
        for reference in visit.references:
            below = self.left.get(reference.target)
            if below is None:
                continue  # it closes a circle, which was said
            visit.sound &= below.sound
            visit.paths += below.paths
            if below.depth >= visit.depth:
                visit.depth, visit.deepest = below.depth + 1, reference
        if visit.depth > MOST_REFERENCES and visit.deepest is not None:
            message = f"{visit.depth} references follow each other, at most {MOST_REFERENCES} are allowed: "
            at = (*visit.deepest.at, "_refModel")
            self._fault(visit, at, message + self._way(visit), "refer to the lower models directly")
        elif visit.paths > MOST_PATHS:
            message = f"has {visit.paths} paths with all references written out; at most {MOST_PATHS} are allowed"
            self._fault(visit, visit.at, message, "split the model")

    def _way(self, visit: _Visit) -> str:
        """The references that follow each other, as far as they are one too many."""
        names = [str(visit.ref)]
        while visit.deepest is not None and len(names) <= MOST_REFERENCES + 1:
            names[-1] += f" ({visit.deepest.path})"
            visit = self.left[visit.deepest.target]
            names.append(str(visit.ref))
        return " → ".join(names) + (" → …" if visit.deepest is not None else "")

    def _fault(self, visit: _Visit, at: Path, message: str, hint: str) -> None:
        visit.sound = False
        self.faults.append(ModelFault(at, message, hint))


def _missing(models: Models, ref: ModelRef, near: _Nearest) -> tuple[str, str, str] | None:
    """Why a reference leads nowhere: the key that is wrong, the message, the remedy."""
    model = models.models.get(ref.name)
    if model is None:
        return "name", f"there is no data model {ref.name[:60]!r}", near(ref.name, models.models)
    if ref.version not in model.versions:
        known = ", ".join(islice(model.versions, _MOST_NAMED)) or "none"
        return "version", f"the data model {ref.name!r} has no version {ref.version[:20]!r}", f"it has: {known}"
    return None


def _shape_faults(models: Models) -> Iterator[ModelFault]:
    """Shapes of which no message could ever be published: those with the fields of a time series that are none."""
    for shape in models.own_shapes.values():
        if shape.fields.keys() != TIME_SERIES:
            continue
        for name, allowed in (("timestamp_ms", ("number", "integer")), ("value", ())):
            kind = shape.fields[name]
            if not isinstance(kind, str) or (allowed and kind not in allowed):
                what = "must be a number, the milliseconds since 1970" if allowed else "must be a single value"
                message = f"a payload of timestamp_ms and value alone is a time series: its {name} {what}"
                yield ModelFault((*shape.at, "fields", name), message, "give one of the two fields another name")


def _contract_faults(models: Models, near: _Nearest) -> Iterator[ModelFault]:
    taken: dict[str, DataContract] = {}
    for contract in models.contracts:
        if contract.model is not None and (missing := _missing(models, contract.model, near)):
            yield ModelFault((*contract.at, "model", missing[0]), *missing[1:])
        if contract.model is not None and contract.addresses[0] in BUILT_IN:
            message = f"{contract.name!r} is built in and has no model"
            yield ModelFault((*contract.at, "model"), message, "remove it, or give the contract another name")
        for address in contract.addresses:
            other = taken.setdefault(address, contract)
            if other is not contract:
                same = "is used twice" if other.name == contract.name else f"and {other.name!r} are one in topics"
                yield ModelFault((*contract.at, "name"), f"{contract.name!r} {same}: {address}", "rename one of them")
                break


class _Nearest:
    """The known name most like a wrong one, or some of those there are; silent when it was asked too often, because comparing is slow."""

    def __init__(self) -> None:
        self._left = _MOST_HINTS

    def __call__(self, word: str, known: Iterable[str]) -> str:
        if self._left <= 0:
            return ""
        self._left -= 1
        names = list(islice(known, _MOST_COMPARED))
        close = difflib.get_close_matches(word[:60], names, n=1, cutoff=0.6)
        if close:
            return f"did you mean {close[0]!r}?"
        return f"there are: {', '.join(names[:_MOST_NAMED]) or 'none'}{' …' if len(names) > _MOST_NAMED else ''}"
