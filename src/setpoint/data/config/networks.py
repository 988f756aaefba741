"""States and networks: from a list or a mapping to definitions, and the names between them checked.

    states: [{name: received, is_start: true}, …]        a list
    states: {received: {on_complete: done}, done: {final: true}}      a mapping; the first state is the start unless `initial_state` says so

A network's `resources` are those of each of its states as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from setpoint.configfile import Fields, Mapping, Mark, Node, Place, Sequence, found
from setpoint.data import definition as d
from setpoint.data.config import words
from setpoint.data.config.arcs import Loose, arcs_of, loose_arcs
from setpoint.data.config.references import References, place_of


def state_of(fields: Fields, references: References, name: str) -> d.StateDef:
    """One state, of its body; the name is known already. A fault leaves a part out; the caller looks at the report."""
    with fields.fields("functions") as sugar:
        gates = references.many(fields, "pre_validators", "test")
        transforms = _transforms(fields, sugar, references)
        validators = _validators(fields, sugar, references)
    state = d.StateDef(
        name=name,
        start=fields.boolean(fields.either("start", "is_start", "initial")),
        final=fields.boolean(fields.either("final", "is_end", "end")),
        pre_validators=gates,
        transforms=transforms,
        validators=validators,
        arcs=tuple(arcs_of(fields, references)),
        schema=fields.data(fields.either("schema", "data_schema")) or None,
        resources=words.resources(fields),
        data_mode=words.mode(fields),
        retry=words.retry(fields),
        timeout=words.seconds(fields),
        emit_output=fields.boolean("emit_output", default=True),
        run_on_failure=fields.boolean("run_on_failure"),
        doc=words.doc(fields),
        metadata=fields.data("metadata"),
        place=place_of(fields.mark, fields.place),
    )
    fields.refuse(words.REFUSED_IN_STATE)
    return state


def _transforms(fields: Fields, sugar: Fields, references: References) -> tuple[d.FunctionRef, ...]:
    own = references.many(fields, fields.either("transforms", "transform"), "transform")
    return (*own, *references.many(sugar, "transform", "transform"))


def _validators(fields: Fields, sugar: Fields, references: References) -> tuple[d.FunctionRef, ...]:
    own = references.many(fields, fields.either("validators", "validator"), "test")
    return (*own, *references.many(sugar, "validate", "test"))


class NetworkReader:
    """Reads one network, whichever form it is written in."""

    def __init__(self, fields: Fields, references: References, name: str, modes: dict[str, d.DataMode]) -> None:
        self.fields = fields
        self.references = references
        self.name = name
        self.modes = modes
        references.network = name
        self.places: dict[str, Mark] = {}

    def network(self, *, metadata: bool = True) -> d.NetworkDef:
        """The network; the keys that describe it are read too unless the caller has done so."""
        shared = words.resources(self.fields) if metadata else {}
        loose = loose_arcs(self.fields, self.references)
        states = [self._completed(state, loose, shared) for state in self._states()]
        self._check_sources(loose)
        return d.NetworkDef(
            name=self.name,
            states=tuple(self._started(states)),
            doc=words.doc(self.fields) if metadata else "",
            metadata=self.fields.data("metadata") if metadata else {},
            place=place_of(self.fields.mark, self.fields.place),
        )

    def _entries(self) -> Iterator[tuple[str, Node, Place, Mark]]:
        """Name, body and place of each state."""
        node = self.fields.get("states", required="the states, by name")
        if node is None or node.flawed:
            return
        place = self.fields.place.at("states")
        if isinstance(node, Mapping):
            for name, child in node.items.items():
                if words.check_name(name, place.at(name), node.keys[name]):
                    yield name, child, place.at(name), node.keys[name]
        elif isinstance(node, Sequence):
            for number, child in enumerate(node.items):
                yield "", child, place.at(number), child.mark
        else:
            place.error(
                node.mark,
                f"expected states, found {found(node)}",
                "write a list of states, or a mapping of names to states",
            )
        if not node.size or (isinstance(node, Mapping | Sequence) and not node.items):
            place.error(node.mark, "a network without states", "add at least one state that is final")

    def _states(self) -> list[d.StateDef]:
        states: list[d.StateDef] = []
        for given, node, place, mark in self._entries():
            what = "a state: name, transforms, arcs"
            with Fields(node, place, what=what) if given else words.part(node, place, what) as fields:
                fields.mark = mark if given else fields.mark
                if given:
                    words.same_name(fields, given)
                name = given or words.name_of(fields, "state")
                state = state_of(fields, self.references, name)
            if name in self.places:
                hint = f"rename one of them; the first is in line {self.places[name].line}"
                place.error(mark, f"the state {name[:60]!r} is there twice", hint)
            elif name:
                self.places[name] = mark
                states.append(state)
        return states

    def _completed(self, state: d.StateDef, loose: list[Loose], shared: dict[str, str]) -> d.StateDef:
        """The state with the arcs, resources and data mode that were written outside of it."""
        arcs = [one.arc for one in loose if any(name == state.name for name, _ in one.sources)]
        mode = self.modes.get(f"{self.name}:{state.name}") or self.modes.get(state.name)
        return replace(
            state,
            arcs=(*state.arcs, *arcs),
            resources={**shared, **state.resources},
            data_mode=state.data_mode or mode,
        )

    def _check_sources(self, loose: list[Loose]) -> None:
        for one in loose:
            for name, mark in one.sources:
                if name not in self.places:
                    no_state(name, self.places, self.name, one.place.at("from"), mark)

    def _started(self, states: list[d.StateDef]) -> Iterator[d.StateDef]:
        """The states, the one where records enter marked; more than one is an error."""
        initial = self.fields.text("initial_state")
        if initial and initial not in self.places:
            no_state(
                initial,
                self.places,
                self.name,
                self.fields.place.at("initial_state"),
                self.fields.mark_of("initial_state"),
            )
            initial = ""
        starts = [state.name for state in states if state.start]
        if initial and starts and starts != [initial]:
            message = f"initial_state says {initial!r}, but {starts[0]!r} is marked as the start"
            self.fields.place.at("initial_state").error(
                self.fields.mark_of("initial_state"), message, "keep one of them"
            )
        for second in starts[1:]:
            message = f"{second!r} is a second start; the first is {starts[0]!r}"
            self.fields.place.at("states").error(
                self.places[second], message, "let one state decide by its arcs where a record goes"
            )
        for number, state in enumerate(states):
            start = state.name == initial if initial else state.start or (not starts and number == 0)
            yield replace(state, start=start)


def no_state(name: str, known: object, network: str, place: Place, mark: Mark) -> None:
    """Report the name of a state that is not there."""
    names = list(known)  # type: ignore[call-overload]
    near = place.nearest(name, names)
    hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(names[:20]) or 'none'}"
    place.error(mark, f"the network {network!r} has no state {name[:60]!r}", hint)
