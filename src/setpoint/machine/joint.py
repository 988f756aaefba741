"""Joint states: several instances of machines that see one another, as one number, and how each of them can move from there.

A joint state is an integer: each instance has a field of bits, which holds the number of its state and whether it is wanted. What one
instance can do depends on its own field and on those of the instances that its guards ask about, and on nothing else; so its moves are
worked out once for each combination of these, and looked up from then on. A move is the bits that it changes.

A guard about others is answered from the joint state, and so is an expression that reads ``children`` or ``peers``. A guard marked
``wanted=True`` follows the wish. All else may be true or false: observations, Python guards, and whether a wait is over, except that a
longer one is never over before a shorter one. An arc can be taken where some such facts open it and shut all that are tried before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from typing import Any, Final, Generic, NamedTuple, TypeVar

from setpoint.machine.guards import ALWAYS, Expr, Guard, Named
from setpoint.machine.logic import Formula, Terms, every, negated, search
from setpoint.machine.model import Machine, Phase
from setpoint.machine.peers import PeerGuard

REMOVED: Final = "removed"
"""What the runtime says of one that asked for its removal."""
T = TypeVar("T")


@dataclass(frozen=True)
class Instance:
    """One machine among others.

    `sees` gives the instances that its guards know under other names: ``{"connection": "connection of press 1"}``. `wanted` is a guard
    about others that decides whether it is wanted, for a child that its parent runs in some of its states only; without one, it may be
    wanted or not at any time.
    """

    machine: Machine
    sees: Mapping[str, str] = field(default_factory=dict)
    wanted: Guard | None = None


class Step(NamedTuple):
    """One way on from a state of one instance: the number of the target, and whether it is possible as a formula (None: always)."""

    event: str
    target: int
    formula: Formula | None


class Table(dict[int, T], Generic[T]):
    """Answers by the bits that they depend on, each worked out when it is first asked for."""

    __slots__ = ("compute", "mask")

    def __init__(self, mask: int, compute: Callable[[int], T]) -> None:
        self.mask = mask
        self.compute = compute

    def __missing__(self, bits: int) -> T:
        answer = self[bits] = self.compute(bits)
        return answer


class Part:
    """One instance within a joint state: where its field is, what it sees, and its moves."""

    def __init__(self, name: str, instance: Instance, shift: int) -> None:
        self.name = name
        self.machine = instance.machine
        self.states = tuple(self.machine.by_name)
        self.removable = any(state.signal == "removal" for state in self.machine.states)
        self.shift = shift
        self.width = (2 * (len(self.states) + self.removable) - 1).bit_length()
        self.mask = ((1 << self.width) - 1) << shift
        self.guards = [arc.when for arc in self.machine.arcs]
        self.derived = instance.wanted
        self.told = {node.name for node in _leaves(self.guards) if isinstance(node, Named) and node.wanted}
        follows = bool(self.told) or any("wanted" in _names(node) for node in _leaves(self.guards))
        self.wish = (1 << shift) if follows and instance.wanted is None else 0
        self.peers: dict[str, Part] = {}
        self.unsettled = False
        self.terms: dict[str, Terms] = {}
        self.steps = [self._steps(name) for name in self.states]
        self.derived_terms = Terms()
        self.derived_formula = None if self.derived is None else self.derived_terms.formula(self.derived)

    def meet(self, parts: Mapping[str, Part], sees: Mapping[str, str]) -> None:
        """Find the instances that its guards ask about. Raises `ValueError` for one that is not there."""
        guards = [*self.guards, *([] if self.derived is None else [self.derived])]
        for alias, certain in _asked_about(guards):
            name = sees.get(alias, alias)
            if name in parts:
                self.peers[alias] = parts[name]
            elif certain or alias in sees:
                near = get_close_matches(name, parts, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(parts)}"
                raise ValueError(f"instance {self.name!r} asks about {name!r}, which is no instance{hint}")
        mask = self.mask
        for part in self.peers.values():
            mask |= part.mask
        self.moves: Table[tuple[int, ...]] = Table(mask, self._moves)
        self.onward: Table[tuple[int, ...]] = Table(mask, self._onward)
        self.moves_to: Table[tuple[int, ...]] = Table(mask, self._moves_to)

    def _steps(self, state: str) -> list[Step]:
        terms = self.terms[state] = Terms()
        steps: list[Step] = []
        shut: list[Formula] = []
        for arc in self.machine.outgoing(state):
            opens = every([terms.formula(arc.when), terms.waited(arc.after)])
            steps.append(Step(arc.event, self.states.index(arc.target.name), every([opens, *shut])))
            shut.append(negated(opens))
        signal = self.machine.by_name[state].signal
        if signal == "restart":
            steps.append(Step("restart", self.states.index(self.machine.initial), None))
        elif signal == "removal":
            steps.append(Step("removal", len(self.states), None))
        return steps

    def start(self) -> int:
        """Its bits in its initial state, not wanted."""
        return self.states.index(self.machine.initial) << 1 << self.shift

    def state(self, joint: int) -> str:
        """The name of its state."""
        number = (joint & self.mask) >> self.shift >> 1
        return self.states[number] if number < len(self.states) else REMOVED

    def standing(self, joint: int) -> str:
        """Healthy, stopped, or neither ("")."""
        state = self.machine.by_name.get(self.state(joint))
        if state is None:
            return "stopped"
        return state.phase.value if state.phase in (Phase.HEALTHY, Phase.STOPPED) else ""

    def wishes(self, joint: int) -> set[bool]:
        """Whether it is wanted; both where that rests on something that is not known."""
        if self.derived_formula is None:
            return {bool(joint & self.wish)} if self.wish else {True}
        known = self._known_of_others(joint)
        answers = {True: self.derived_formula, False: negated(self.derived_formula)}
        return {
            wish
            for wish, formula in answers.items()
            if search(formula, self.derived_terms, known).possible is not False
        }

    def at_rest(self, joint: int, wish: bool) -> bool:
        """Whether it may stay where it is for ever: it is as wanted, final, or failed for good."""
        state = self.machine.by_name.get(self.state(joint))
        if (
            state is None
            or state.final
            or (state.phase is Phase.FAILED and not self.steps[self.states.index(state.name)])
        ):
            return True
        follows = bool(self.wish) or self.derived is not None
        return state.phase is (Phase.HEALTHY if wish else Phase.STOPPED) or (
            not follows and state.phase is Phase.STOPPED
        )

    def events(self, joint: int) -> Iterator[tuple[str, int]]:
        """Each way on that is possible: its event, and the bits that it changes."""
        number = (joint & self.mask) >> self.shift >> 1
        if number == len(self.states):
            return
        terms, others = self.terms[self.states[number]], self._known_of_others(joint)
        for wish in self.wishes(joint):
            known = {
                **others,
                "state": self.states[number],
                "wanted": wish,
                **{f"guard {name}": wish for name in self.told},
            }
            for step in self.steps[number]:
                possible = True if step.formula is None else search(step.formula, terms, known).possible
                self.unsettled = self.unsettled or possible is None
                if possible is not False:
                    yield step.event, (number ^ step.target) << 1 << self.shift

    def _moves(self, joint: int) -> tuple[int, ...]:
        return tuple(dict.fromkeys(bits for _, bits in self.events(joint)))

    def could_move(self, joint: int, fixed: Iterable[Part]) -> bool:
        """Whether it could move if the instances that it sees, but for those that are fixed, were in some other states."""
        others = [part for part in dict.fromkeys(self.peers.values()) if part is not self and part not in fixed]
        for numbers in product(*(range(len(part.states)) for part in others)):
            bits = joint & self.moves.mask
            for part, number in zip(others, numbers, strict=True):
                bits = bits & ~part.mask | number << 1 << part.shift
            if self.moves[bits]:
                return True
        return False

    def _onward(self, joint: int) -> tuple[int, ...]:
        """Its moves, and that it is wanted from now on, or no longer."""
        return (*self.moves[joint], self.wish) if self.wish else self.moves[joint]

    def _moves_to(self, joint: int) -> tuple[int, ...]:
        """The bits that its possible last moves changed."""
        own, count = joint & self.mask, len(self.states) + self.removable
        here = own >> self.shift >> 1
        changes = [(here ^ number) << 1 << self.shift for number in range(count)]
        return tuple(bits for bits in changes if bits and bits in self.moves[joint ^ bits])

    def _known_of_others(self, joint: int) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for alias, part in self.peers.items():
            known.update(part.known_as(alias, joint))
        return known

    def known_as(self, alias: str, joint: int) -> dict[str, Any]:
        """What others know of it, by the names that formulas have for that."""
        state, standing = self.state(joint), self.standing(joint)
        facts = {
            "state": state,
            "phase": self.machine.by_name[state].phase if state in self.machine.by_name else None,
            "healthy": standing == "healthy",
            "stopped": standing == "stopped",
        }
        known: dict[str, Any] = {
            f"{group}.{alias}.{key}": facts[key] for group in ("children", "peers") for key in facts
        }
        return known | {f"peer {alias}.state": facts["state"], f"peer {alias}.standing": standing}

    def opaque(self) -> Iterator[str]:
        """The guards, and parts of expressions, that were not looked into."""
        for node in _leaves([*self.guards, *([] if self.derived is None else [self.derived])]):
            if isinstance(node, Named) and node != ALWAYS and not node.wanted:
                yield node.name
            elif isinstance(node, Expr):
                terms = Terms()
                terms.formula(node)
                yield from sorted(terms.opaque)


def assemble(system: Mapping[str, Machine | Instance]) -> dict[str, Part]:
    """The instances as parts of one joint state. Raises `ValueError` where there is none, and where one asks about another that is not
    there."""
    if not system:
        raise ValueError("there is no instance to explore")
    instances = {name: Instance(given) if isinstance(given, Machine) else given for name, given in system.items()}
    parts: dict[str, Part] = {}
    shift = 0
    for name, instance in instances.items():
        parts[name] = Part(name, instance, shift)
        shift += parts[name].width
    for name, instance in instances.items():
        parts[name].meet(parts, instance.sees)
    return parts


def condition(what: str, guard: Guard, parts: Mapping[str, Part]) -> Table[bool]:
    """A guard about instances as a table over joint states. Raises `ValueError` for one that asks about anything else."""
    if guard.timed:
        raise ValueError(f"{what}: a joint state has no time: held(...) cannot be asked of it")
    leaves = [node for node in _leaves([guard]) if node != ALWAYS]
    for node in leaves:
        if not isinstance(node, PeerGuard):
            raise ValueError(f"{what}: only peer(...) can be asked of a joint state, not {node}")
        if node.peer not in parts:
            raise ValueError(f"{what}: there is no instance {node.peer!r}; there are {', '.join(parts)}")
        states = parts[node.peer].states + ((REMOVED,) if parts[node.peer].removable else ())
        unknown = [state for state in node.states if state not in states]
        if unknown:
            raise ValueError(f"{what}: {node.peer} has no state {unknown[0]!r}; its states are {', '.join(states)}")
    asked = [parts[name] for name in dict.fromkeys(node.peer for node in leaves if isinstance(node, PeerGuard))]
    formula = Terms().formula(guard)

    def holds(joint: int) -> bool:
        return formula({key: value for part in asked for key, value in part.known_as(part.name, joint).items()}) is True

    mask = 0
    for part in asked:
        mask |= part.mask
    return Table(mask, holds)


def _leaves(guards: Iterable[Guard]) -> Iterator[Guard]:
    for guard in guards:
        yield from (node for node in guard.walk() if not node.parts())


def _names(node: Guard) -> frozenset[str]:
    return node.expression.names if isinstance(node, Expr) else frozenset()


def _asked_about(guards: Iterable[Guard]) -> Iterator[tuple[str, bool]]:
    """The names of others that guards read, each with whether it must be an instance: an expression may mean anything."""
    for node in _leaves(guards):
        if isinstance(node, PeerGuard):
            yield node.peer, True
        for name in _names(node):
            group, _, rest = name.partition(".")
            if group in ("children", "peers") and rest:
                yield rest.partition(".")[0], False
