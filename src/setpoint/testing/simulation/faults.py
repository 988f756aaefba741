"""Faults: what goes wrong in a run, when it begins and when it heals. Data, so that a run can be repeated and made smaller.

A fault has a text form, ``KIND@BEGIN+SECONDS:TARGET*LEVEL``, for example ``observe-hangs@120+30:agent/bridges/press-1*0.5``: the kind,
seconds of virtual time, what it befalls (a worker by path, or a thing in the world), and a level from 0 to 1 that says how bad it is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_TEXT = re.compile(r"(?P<kind>[a-z-]+)@(?P<begin>[0-9.]+)\+(?P<seconds>[0-9.]+):(?P<target>.*)\*(?P<level>[0-9.]+)\Z")


@dataclass(frozen=True, order=True)
class Fault:
    """One fault, of `seconds` from `begin`, both in seconds of virtual time."""

    begin: float
    kind: str
    target: str
    seconds: float
    level: float = 0.5

    @property
    def end(self) -> float:
        return self.begin + self.seconds

    def __str__(self) -> str:
        return f"{self.kind}@{self.begin:.10g}+{self.seconds:.10g}:{self.target}*{self.level:.10g}"

    @staticmethod
    def parse(text: str) -> Fault:
        """The fault with this text. Raises `ValueError` that shows the form."""
        found = _TEXT.match(text.strip())
        try:
            if found is None:
                raise ValueError
            begin, seconds, level = (float(found[name]) for name in ("begin", "seconds", "level"))
        except ValueError:
            raise ValueError(
                f"{text!r} is not a fault: write KIND@BEGIN+SECONDS:TARGET*LEVEL, as in hang@120+30:agent/press*0.5"
            ) from None
        return Fault(begin, found["kind"], found["target"], seconds, level)


def draw(
    rng: random.Random,
    targets: Mapping[str, Sequence[str]],
    *,
    begin: float,
    end: float,
    every: float,
    rare: Sequence[str],
) -> Iterator[Fault]:
    """Faults between `begin` and `end`, one every so many seconds on average; `targets` has what each kind can befall.

    Those that are `rare`, because they befall everything at once, come as often as if there were one family of workers. Faults last
    from a third of a second to a hundred seconds, short ones being as common as long ones on a logarithmic scale. Numbers are rounded
    so that the text form loses nothing.
    """
    kinds = [kind for kind, names in targets.items() if names]
    families = max(1, max((len(names) for names in targets.values()), default=1))
    weights = [1 / families if kind in rare else 1.0 for kind in kinds]
    at = begin
    while kinds:
        at += rng.expovariate(1.0 / every)
        if at >= end:
            return
        kind = rng.choices(kinds, weights)[0]
        seconds = round(10 ** rng.uniform(-0.5, 2.0), 2)
        yield Fault(round(at, 3), kind, rng.choice(targets[kind]), seconds, round(rng.random(), 3))
