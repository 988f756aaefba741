"""Profiles: how long records spend in each state and on each arc.

A `Profile` is a listener. All time of a run, from its start to its end, is laid to one place: to a state, from its entering until its
functions are done, with its retries and their waits; to an arc, from then until its transforms are done, with the conditions that were
asked before it; else to the machine itself, which carries, copies and keeps. So the parts add up to the whole. For an arc that pushes, the
time in the network that it leads through is counted as well, as `inside`.

It is the time that passes: a record that waits in a loop among others is in its state meanwhile. Being listened to makes a machine slower,
by some microseconds an event; what the profile itself needs is taken off, what other listeners need is not. Quantiles are of buckets a
sixteenth of an octave wide, right within 2.2 %; memory does not grow with the number of records.

For drawings there are two forms: collapsed stacks, a line ``machine;state;arc 1234`` for each place, in nanoseconds, as flamegraph.pl
(https://github.com/brendangregg/FlameGraph) and most viewers read them; and the file format of https://www.speedscope.app.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from setpoint.data.context import Event, Kind, Token

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

FINE: Final = 16
"""Buckets of an octave."""
ITSELF: Final = "(the machine)"
RUNS: Final = 10_000
"""So many runs that have begun and not ended are remembered: one that was broken off never ends."""
BETWEEN: Final = frozenset({Kind.START, Kind.ENTER, Kind.CHECKPOINT, Kind.END})
"""What happens outside of states and arcs: the time before it is the machine's own."""

Place = tuple[str, str, str]
"""A network, a state, an arc (empty for the state itself); all empty for the machine itself."""


class Spent(msgspec.Struct, frozen=True):
    """The time of one place, in seconds. `total` is its own, `inside` that of the networks an arc leads through; `share` is its own part
    of the time of all. The rest is of single visits, whose number is `count`."""

    place: str
    kind: str
    count: int
    total: float
    inside: float
    mean: float
    p50: float
    p95: float
    max: float
    share: float


class _Times:
    """Durations of visits."""

    __slots__ = ("buckets", "count", "longest", "visits")

    def __init__(self) -> None:
        self.count, self.visits, self.longest = 0, 0.0, 0.0
        self.buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        self.visits += seconds
        self.longest = max(self.longest, seconds)
        self.buckets[round(math.log2(max(seconds, 1e-9)) * FINE)] += 1

    def quantile(self, part: float) -> float:
        wanted, so_far = part * self.count, 0
        for bucket in sorted(self.buckets):
            so_far += self.buckets[bucket]
            if so_far >= wanted:
                return float(min(2.0 ** (bucket / FINE), self.longest))
        return 0.0


class _Run:
    """A run on its way: when it began, when something last happened, and what of a visit is not yet counted."""

    __slots__ = ("began", "entered", "last", "spent")

    def __init__(self, at: float) -> None:
        self.began = self.last = at
        self.spent, self.entered = 0.0, False


class Profile:
    """Times of a plan's states and arcs. `runs` is how many have ended, `seconds` the time of all."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.runs = 0
        self.seconds = 0.0
        self._own: dict[tuple[Place, ...], float] = {}
        self._times: dict[Place, _Times] = {}
        self._running: dict[str, _Run] = {}

    def __call__(self, event: Event) -> None:
        heard = self._plan.clock()
        if event.kind is Kind.START or event.run not in self._running:
            self._begin(event)
        run = self._running[event.run]
        passed = max(0.0, event.at - run.last)
        place = ("", "", "") if event.kind in BETWEEN else (event.network, event.state, event.arc)
        stack = (*self._above(event.token), place)
        self._own[stack] = self._own.get(stack, 0.0) + passed
        self.seconds += passed
        run.spent += passed
        if event.kind is Kind.ENTER:
            run.spent, run.entered = 0.0, True
        elif self._ends_visit(event, run):
            self._times.setdefault(place, _Times()).add(run.spent)
            run.spent, run.entered = 0.0, False
        elif event.kind is Kind.END:
            del self._running[event.run]
            self.runs += 1
        run.last = event.at + self._plan.clock() - heard

    @property
    def rows(self) -> list[Spent]:
        """All places where time was spent, most first."""
        own: Counter[Place] = Counter()
        inside: Counter[Place] = Counter()
        for stack, seconds in self._own.items():
            own[stack[-1]] += seconds  # type: ignore[assignment]  # a Counter of seconds
            for above in set(stack[:-1]) - {stack[-1]}:
                inside[above] += seconds  # type: ignore[assignment]
        rows = [self._spent(place, own[place], inside[place]) for place in {**own, **inside}]
        return sorted(rows, key=lambda row: -row.total)

    def table(self, width: int = 80) -> str:
        """The rows as text, in so many columns."""
        rows = self.rows
        has_inside = any(row.inside for row in rows)
        heads = ["count", "total", *(["inside"] if has_inside else []), "mean", "p50", "p95", "max", "share"]
        longest = max((len(row.place) for row in rows), default=0)
        room = max(12, min(longest, width - sum(map(_width, heads))))
        lines = [_line("", heads, heads, room)]
        for row in rows:
            inside = [_short(row.inside) if row.inside else ""] if has_inside else []
            visits = [_short(value) if row.count else "" for value in (row.mean, row.p50, row.p95, row.max)]
            cells = [_number(row.count) if row.count else "", _short(row.total), *inside, *visits, f"{row.share:.0%}"]
            lines.append(_line(row.place, cells, heads, room))
        return "\n".join(lines) + "\n"

    def collapsed(self) -> str:
        """The places as collapsed stacks, in nanoseconds."""
        return "".join(f"{';'.join(stack)} {spent}\n" for stack, spent in self._stacks())

    def speedscope(self) -> dict[str, Any]:
        """The places as speedscope's file format has them (https://www.speedscope.app/file-format-schema.json)."""
        frames: dict[str, int] = {}
        samples, weights = [], []
        for stack, spent in self._stacks():
            samples.append([frames.setdefault(name, len(frames)) for name in stack])
            weights.append(spent)
        name = self._plan.definition.name
        profile = {
            "type": "sampled", "name": name, "unit": "nanoseconds", "startValue": 0, "endValue": sum(weights), "samples": samples,
            "weights": weights,
        }  # fmt: skip
        return {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": name,
            "exporter": "setpoint",
            "activeProfileIndex": 0,
            "shared": {"frames": [{"name": name} for name in frames]},
            "profiles": [profile],
        }

    def data(self) -> dict[str, Any]:
        """The profile as plain data."""
        return {"runs": self.runs, "seconds": self.seconds, "places": msgspec.to_builtins(self.rows)}

    # how it counts

    def _begin(self, event: Event) -> None:
        self._running[event.run] = _Run(event.at)
        if len(self._running) > RUNS:
            del self._running[next(iter(self._running))]

    def _ends_visit(self, event: Event, run: _Run) -> bool:
        if event.kind is Kind.ERROR and event.error is not None:
            # not for the arc that pushed, whose own visit was over, nor where no arc is open, when the state's was
            return event.error.cause is None and (bool(event.arc) or run.entered)
        return event.kind in (Kind.EXIT, Kind.ARC)

    def _above(self, token: Token | None) -> tuple[Place, ...]:
        """The arcs that pushed, from the outermost."""
        if token is None:
            return ()
        plan = self._plan
        return tuple(
            (frame.network, frame.state, plan.rows[plan.numbers[frame.network, frame.state]].arcs[frame.arc].name)
            for frame in token.frames
        )

    def _spent(self, place: Place, own: float, inside: float) -> Spent:
        times = self._times.get(place) or _Times()
        kind = "arc" if place[2] else "state" if place[1] else "machine"
        mean = times.visits / times.count if times.count else 0.0
        return Spent(
            self._named(place), kind, times.count, own, inside, mean, times.quantile(0.5), times.quantile(0.95), times.longest,
            own / self.seconds if self.seconds else 0.0,
        )  # fmt: skip

    def _named(self, place: Place) -> str:
        network, state, arc = place
        prefix = "" if network in ("", self._plan.definition.main_network) else f"{network}:"
        return f"{prefix}{arc or state}" or ITSELF

    def _stacks(self) -> Iterator[tuple[list[str], int]]:
        merged: dict[tuple[str, ...], float] = {}
        for stack, seconds in sorted(self._own.items()):
            names = [self._plan.definition.name]
            for network, state, arc in stack:
                names += [self._named((network, state, ""))] if state else []
                names += [self._named((network, state, arc))] if arc else []
            key = tuple(map(_one_word, names))
            merged[key] = merged.get(key, 0.0) + seconds
        yield from ((list(names), round(seconds * 1e9)) for names, seconds in merged.items() if seconds >= 1e-9)


def _one_word(name: str) -> str:
    """A name for a stack, in which semicolons and line breaks mean something."""
    return " ".join(name.replace(";", ",").split())


def _width(head: str) -> int:
    return {"count": 7, "share": 6}.get(head, 8)


def _line(place: str, cells: list[str], heads: list[str], room: int) -> str:
    if len(place) > room:
        place = f"{place[: room // 2]}…{place[-(room - room // 2 - 1) :]}"
    return place.ljust(room) + "".join(cell.rjust(_width(head)) for cell, head in zip(cells, heads, strict=True))


def _number(count: int) -> str:
    return str(count) if count < 100_000 else f"{count / 1000:.0f}k" if count < 10_000_000 else f"{count / 1e6:.0f}M"


def _short(seconds: float) -> str:
    """Three digits and a unit: ``1.23s``, ``12.3ms``, ``4.56µs``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            value = seconds / size
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.3g}{unit}"
    return f"{seconds * 1e9:.0f}ns"
