"""A run in a few lines: how often each worker moved, and how long it was well, unwell and on its way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from setpoint.machine import Phase
from setpoint.testing.simulation import Move

WELL = (Phase.HEALTHY, Phase.STOPPED)


class Lived(NamedTuple):
    """One worker's run. `well` is the share of its life in a healthy or stopped state, `longest` the longest time without, in seconds."""

    path: str
    moves: int
    well: float
    longest: float
    worst: str


def summarised(moves: Iterable[Move], *, until: float) -> list[Lived]:
    """The runs of all workers by path; `until` is when the run ended, in seconds of virtual time."""
    by_path: dict[str, list[Move]] = {}
    for move in moves:
        if not move.event.startswith("operator_"):
            by_path.setdefault(move.path, []).append(move)
    return [_lived(path, rows, until) for path, rows in sorted(by_path.items())]


def _lived(path: str, rows: list[Move], until: float) -> Lived:
    well = total = longest = unwell_for = 0.0
    worst = reason = ""
    for move, following in zip(rows, [*rows[1:], None], strict=True):
        if move.target == "removed":
            continue
        stay = (following.at if following is not None else until) - move.at
        total += stay
        if move.phase in WELL:
            well += stay
            unwell_for, reason = 0.0, ""
            continue
        unwell_for += stay
        reason = move.reason if stay > 0 or not reason else reason
        if unwell_for > longest:
            longest, worst = unwell_for, f"{move.target}: {reason}"
    return Lived(path, len(rows), well / total if total > 0 else 1.0, longest, worst)
