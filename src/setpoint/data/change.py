"""Changes to a machine: what is different between two versions of it, and edits that make a new one.

A definition never changes. `Edit` makes another one of it, step by step, by adding, removing and replacing states and arcs; only the whole
is checked, when it becomes a plan, so that the steps may be in any order. `differences` says what a version has that another has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from msgspec.structs import replace

from setpoint.data.definition import ArcDef, Definition, NetworkDef, StateDef
from setpoint.data.faults import arc_name, meant


class Difference(NamedTuple):
    """One thing that another version has, has no more, or has otherwise."""

    how: Literal["added", "removed", "changed"]
    what: str

    def __str__(self) -> str:
        return f"{self.what} {self.how}"


def differences(old: Definition, new: Definition) -> list[Difference]:
    """What is different in the new version, in the order of the networks and states."""
    return [*_own(old, new), *_compared(_parts(old), _parts(new))]


def _own(old: Definition, new: Definition) -> Iterator[Difference]:
    from setpoint.data.config.export import bare

    for name in Definition.__struct_fields__:
        if name not in ("networks", "place", "doc", "metadata") and bare(getattr(old, name)) != bare(
            getattr(new, name)
        ):
            yield Difference("changed", name)


def _parts(definition: Definition) -> dict[str, object]:
    """Every state and arc under its name, without what is a part of its own."""
    from setpoint.data.config.export import bare

    found: dict[str, object] = {}
    for network in definition.networks:
        prefix = "" if network.name == definition.main_network else f"{network.name}:"
        for state in network.states:
            found[f"state {prefix}{state.name}"] = bare(replace(state, arcs=()))
            for arc in state.arcs:
                name = f"arc {prefix}{arc_name(state, arc)}"
                while name in found:
                    name += " (another)"
                found[name] = bare(arc)
    return found


def _compared(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[Difference]:
    yield from (Difference("removed", what) for what in old if what not in new)
    for what, part in new.items():
        if what not in old:
            yield Difference("added", what)
        elif old[what] != part:
            yield Difference("changed", what)


class Edit:
    """A new version of a definition, in the making. Names are of the main network, or ``network:state``. Methods raise `KeyError`.

    `definition` is what there is so far.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition

    def version(self, version: str) -> Edit:
        """What the new version is called."""
        self.definition = replace(self.definition, version=version)
        return self

    def add_state(self, state: StateDef, *, network: str = "") -> Edit:
        """One more state."""
        name = network or self.definition.main_network
        here = self.definition.network(name)
        if any(one.name == state.name for one in here.states):
            raise KeyError(f"network {name!r} has a state {state.name!r} already: replace it")
        return self._network(name, lambda states: (*states, state))

    def remove_state(self, name: str) -> Edit:
        """The state goes, and the arcs that lead to it."""
        network, state = self._find(name)
        others = (one for one in self.definition.network(network).states if one is not state)
        kept = tuple(replace(one, arcs=tuple(arc for arc in one.arcs if arc.target != state.name)) for one in others)
        return self._network(network, lambda states: kept)

    def replace_state(self, name: str, state: StateDef) -> Edit:
        """Another state in its place; its name may be another one, then the arcs that led to the old one lead to it."""
        network, old = self._find(name)

        def turned(arc: ArcDef) -> ArcDef:
            return replace(arc, target=state.name) if arc.target == old.name else arc

        def others(one: StateDef) -> StateDef:
            return state if one is old else replace(one, arcs=tuple(map(turned, one.arcs)))

        return self._network(network, lambda states: tuple(map(others, states)))

    def add_arc(self, source: str, arc: ArcDef) -> Edit:
        """One more arc out of a state."""
        return self._state(source, lambda state: replace(state, arcs=(*state.arcs, arc)))

    def remove_arc(self, source: str, target: str, *, name: str = "") -> Edit:
        """The arc between two states goes; where there are several, `name` says which."""
        _, state = self._find(source)
        gone = self._arc(state, target, name)
        return self._state(source, lambda one: replace(one, arcs=tuple(arc for arc in one.arcs if arc is not gone)))

    def replace_arc(self, source: str, target: str, arc: ArcDef, *, name: str = "") -> Edit:
        """Another arc in its place."""
        _, state = self._find(source)
        old = self._arc(state, target, name)
        return self._state(
            source, lambda state: replace(state, arcs=tuple(arc if one is old else one for one in state.arcs))
        )

    def _find(self, name: str) -> tuple[str, StateDef]:
        network, colon, state = name.rpartition(":")
        network = network if colon else self.definition.main_network
        states = {one.name: one for one in self.definition.network(network).states}
        if state not in states:
            raise KeyError(f"network {network!r} has no state {state!r}: {meant(state, states)}")
        return network, states[state]

    @staticmethod
    def _arc(state: StateDef, target: str, name: str) -> ArcDef:
        found = [arc for arc in state.arcs if arc.target == target and (not name or name in (arc.name, arc.event))]
        if len(found) == 1:
            return found[0]
        have = ", ".join(arc_name(state, arc) for arc in state.arcs) or "none"
        raise KeyError(f"{len(found) or 'no'} arcs lead from {state.name!r} to {target!r}; there are: {have}")

    def _state(self, name: str, change: Callable[[StateDef], StateDef]) -> Edit:
        network, state = self._find(name)
        return self._network(network, lambda states: tuple(change(one) if one is state else one for one in states))

    def _network(self, name: str, change: Callable[[tuple[StateDef, ...]], tuple[StateDef, ...]]) -> Edit:
        def changed(one: NetworkDef) -> NetworkDef:
            return replace(one, states=change(one.states)) if one.name == name else one

        self.definition = replace(self.definition, networks=tuple(map(changed, self.definition.networks)))
        return self
