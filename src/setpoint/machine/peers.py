"""Guards about others: what a child or peer is, asked in a form that can be looked into.

    peer("connection").is_in("up", "degraded")      it is in one of these states
    peer("connection").healthy                      it is in a healthy phase, and nothing keeps the runtime from moving it
    peer("connection").stopped                      it is at rest, or there is none of that name

A snapshot that such a guard reads has ``children`` or ``peers``, mappings of names to facts with ``state``, ``healthy`` and ``stopped``;
children come first. Unlike a Python function that reads the same, it can stand in a file, `check` knows what excludes what, and
`explore` knows what it answers in each joint state of several machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from setpoint.machine.guards import NONE, Guard, Test, Verdict, of_moment
from setpoint.machine.seconds import field_of

Question = Literal["is_in", "healthy", "stopped"]


class _Missing(NamedTuple):
    """What is known of one that is not there."""

    state: str = "missing"
    healthy: bool = False
    stopped: bool = True
    reason: str = ""


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True, repr=False)
class PeerGuard(Guard):
    """A leaf about another instance, by the name under which it is known here."""

    peer: str
    question: Question
    states: tuple[str, ...] = ()

    @property
    def doc(self) -> str:
        return f"{self.peer} is {' or '.join(self.states) if self.states else self.question}"

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        name, states, question = self.peer, frozenset(self.states), self.question
        if question == "is_in":
            test: Test = lambda snapshot: fact_of(snapshot, name).state in states  # noqa: E731
        elif question == "healthy":
            test = lambda snapshot: fact_of(snapshot, name).healthy  # noqa: E731
        else:
            test = lambda snapshot: fact_of(snapshot, name).stopped  # noqa: E731
        return of_moment(test, str(self), once) if timed else test

    def verdict(self, snapshot: Any) -> Verdict:
        fact = fact_of(snapshot, self.peer)
        reason = field_of(fact, "reason")
        ok = bool(self.compile(timed=False)(snapshot))
        return Verdict(ok, f"{self.peer} is {fact.state}" + (f": {reason}" if reason else ""))

    def __str__(self) -> str:
        asked = f"is_in({', '.join(map(repr, self.states))})" if self.question == "is_in" else self.question
        return f"peer({self.peer!r}).{asked}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Peer:
    """Another instance, of which guards are made."""

    name: str

    def is_in(self, *states: str) -> PeerGuard:
        """True while it is in one of these states."""
        if not states:
            raise ValueError(f"peer({self.name!r}).is_in() needs the name of at least one state")
        return PeerGuard(self.name, "is_in", states)

    @property
    def healthy(self) -> PeerGuard:
        """True while it is in a healthy phase and nothing keeps the runtime from moving it."""
        return PeerGuard(self.name, "healthy")

    @property
    def stopped(self) -> PeerGuard:
        """True while it is in a stopped phase, or there is none of that name."""
        return PeerGuard(self.name, "stopped")


def peer(name: str) -> Peer:
    """The child or peer of this name, to ask about: ``peer("connection").is_in("up")``."""
    return Peer(name)


def fact_of(snapshot: Any, name: str) -> Any:
    """What the snapshot knows of a child or peer. Raises `LookupError` where the snapshot knows of no others at all."""
    groups = [group for key in ("children", "peers") if (group := field_of(snapshot, key)) is not None]
    for group in groups:
        if name in group:
            return group[name]
    if not groups:
        raise LookupError(f"peer({name!r}) reads children or peers, and {type(snapshot).__name__} has neither")
    try:
        return groups[0][name]  # facts of a runtime may still know of one that is gone
    except KeyError:
        return MISSING
