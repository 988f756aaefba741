"""Scripted observations: what a worker sees over time, and what its actions change, written down.

    scripted(Press, PressSeen(pressure=0))      # a Press whose eyes and hands are the script's
        .on("start", pressure=200, takes=2)     # its action starts nothing real; two seconds later the pressure is there
        .at(60, pressure=90)                    # a minute in, it falls
        .fails(120, "no route", for_=30)        # and for half a minute nobody can see it
        .hangs(300, for_=10)                    # or even gets an answer

What comes out makes workers, and goes wherever a worker class goes. The worker's machine, derivation and children are its own: the script
replaces `collect_observed_state` and those actions it names. Seconds count from the start of the run; an action that the script does
not name is the worker's own.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Self

import msgspec
from pydantic import BaseModel

from setpoint.testing.sources import FOREVER, AnyWorker, Elapsed, Source, Span, class_of, hang, make


class ObservationFailed(Exception):
    """What a scripted or faulty observation raises."""


class Change(NamedTuple):
    """What becomes of what is seen: another observation, or the same with other fields."""

    observed: Any
    fields: dict[str, Any]

    def of(self, seen: Any) -> Any:
        return with_fields(seen if self.observed is None else self.observed, self.fields)


class Reaction(NamedTuple):
    """What an action does: after `takes` seconds, a change."""

    change: Change
    takes: float


class Scripted:
    """Makes workers that observe what the script says. Its methods return itself, so that a script reads as one sentence."""

    def __init__(self, worker: Source, observed: Any) -> None:
        self.worker = worker
        self._first = observed
        self._seen = observed
        self._changes: list[tuple[float, Change]] = []
        self._played = 0
        self._reactions: dict[str, Reaction] = {}
        self._failures: list[tuple[Span, str]] = []
        self._hangs: list[Span] = []
        self._elapsed = Elapsed()
        self.calls: list[tuple[str, float]] = []
        """The actions of the script that were called in this run, with when."""

    @property
    def __name__(self) -> str:
        return class_of(self.worker).__name__

    # the script

    def at(self, seconds: float, observed: Any = None, **fields: Any) -> Self:
        """From then on it observes this: another observation, or the one before with other fields."""
        self._changes.append((seconds, self._change(observed, fields)))
        self._changes.sort(key=lambda entry: entry[0])
        return self

    def on(self, action: str, observed: Any = None, *, takes: float = 0.0, **fields: Any) -> Self:
        """The action takes so many seconds and then changes what is observed. Raises `ValueError` where no state acts by that name."""
        known = {state.act for state in class_of(self.worker).machine.states if state.act}
        if action not in known:
            raise ValueError(f"no state acts by {action!r}; there are {', '.join(sorted(known)) or 'no actions'}")
        self._reactions[action] = Reaction(self._change(observed, fields), takes)
        return self

    def fails(self, seconds: float, why: str, *, for_: float = FOREVER) -> Self:
        """From then on, for so long, looking fails with this text."""
        self._failures.append((Span(seconds, seconds + for_), why))
        return self

    def hangs(self, seconds: float, *, for_: float = FOREVER) -> Self:
        """From then on, for so long, looking gives no answer. It heeds its cancellation (see `faulty` for one that does not)."""
        self._hangs.append(Span(seconds, seconds + for_))
        return self

    def becomes(self, observed: Any = None, **fields: Any) -> None:
        """Now, in the middle of a run: from the next look on it observes this."""
        self._seen = self._change(observed, fields).of(self._look())

    def _change(self, observed: Any, fields: dict[str, Any]) -> Change:
        change = Change(observed, fields)
        change.of(self._first)  # a field that is not there is a mistake in the script: here, not in the middle of a run
        return change

    # the run

    def __call__(self) -> AnyWorker:
        """A worker that plays this script."""
        worker = make(self.worker)
        if self._elapsed.begin():
            self._seen, self._played, self.calls = self._first, 0, []
        methods = vars(worker)
        methods["collect_observed_state"] = self._collect
        methods.update({name: self._acting(name, reaction) for name, reaction in self._reactions.items()})
        return worker

    async def _collect(self, desired: Any) -> Any:
        for span in self._hangs:
            if self._elapsed.now in span:
                await hang(span.end - self._elapsed.now)
        for span, why in self._failures:
            if self._elapsed.now in span:
                raise ObservationFailed(why)
        return self._look()

    def _look(self) -> Any:
        """What is seen now, with the changes in it that have fallen due."""
        while self._played < len(self._changes) and self._changes[self._played][0] <= self._elapsed.now:
            self._seen = self._changes[self._played][1].of(self._seen)
            self._played += 1
        return self._seen

    def _acting(self, name: str, reaction: Reaction) -> Callable[[Any], Awaitable[None]]:
        async def act(desired: Any) -> None:
            self.calls.append((name, self._elapsed.now))
            await asyncio.sleep(reaction.takes)
            self._seen = reaction.change.of(self._look())

        return act


def scripted(worker: Source, observed: Any) -> Scripted:
    """Make a worker observe `observed` first, and then what the script goes on to say."""
    return Scripted(worker, observed)


def with_fields(value: Any, fields: dict[str, Any]) -> Any:
    """The value with other fields: a msgspec struct, a pydantic model or a dataclass. Raises `TypeError` for a field it does not have."""
    if not fields:
        return value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **fields)
    if isinstance(value, BaseModel):
        unknown = fields.keys() - type(value).model_fields.keys()
        if unknown:
            raise TypeError(f"{type(value).__name__} has no field {sorted(unknown)[0]!r}")
        return value.model_copy(update=fields)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **fields)
    raise TypeError(f"a {type(value).__name__} has no fields to change; give the whole observation")
