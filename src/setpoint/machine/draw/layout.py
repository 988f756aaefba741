"""Layout: where the states, labels and lines of a drawing go.

The layout is layered, from top to bottom. Each state has a rank: its longest way from the initial state, not counting ways back. Between
two ranks lies a row for the labels of edges, which are boxes of their own, so that no label ever covers anything. An edge that spans
several rows has a bend in each, and those of long ways back are kept at the right. Rows are ordered to cross little (barycentres), and
placed so that neighbours come to stand below one another: least squares under the constraint that boxes keep their distance.

Arcs of the same event from three or more states into one are not drawn one by one: a *pill* above the target lists the sources.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from setpoint.machine.draw.edges import asks, parallel, sources_in_words
from setpoint.machine.model import Arc, Machine, Phase, State

CHARACTER: Final = 7.6
"""Width of a character of 13 px, on the safe side."""
SMALL: Final = 6.4
LINE: Final = 16
GAP_X: Final = 22
GAP_Y: Final = 24
ENOUGH_FOR_A_PILL: Final = 3
SWEEPS: Final = 12
PULLS: Final = 120
"""Rounds in which boxes are pulled towards their neighbours: enough for 300 boxes to come to rest."""


@dataclass(eq=False, slots=True)
class Box:
    """A state, the label of an edge, a pill, or a bend of a long edge. `x` is its middle, `y` its top."""

    kind: str  # "state", "label", "pill", "bend"
    row: int
    width: float = 8
    height: float = 0
    lines: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    arcs: tuple[Arc, ...] = ()
    name: str = ""
    outside: bool = False
    x: float = 0
    y: float = 0
    above: list[Box] = field(default_factory=list)
    below: list[Box] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Line:
    """An edge: the boxes it runs through from source to target."""

    boxes: tuple[Box, ...]
    arcs: tuple[Arc, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes with their places, and the lines between them; all within `width` and `height`."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def layout(machine: Machine) -> Layout:
    """Lay the machine out."""
    pills = _pills(machine)
    edges = _edges(machine, {arc for arcs in pills.values() for arc in arcs})
    ranks = _ranks(machine, edges, pills)
    rows = _Rows(machine, ranks)
    for arcs in edges.values():
        rows.edge(arcs)
    for (target, _), arcs in pills.items():
        rows.pill(target, arcs)
    ordered = _ordered(rows.rows())
    _place(ordered)
    width, height = _frame(ordered)
    return Layout(tuple(box for row in ordered for box in row), tuple(rows.lines), width, height)


def _pills(machine: Machine) -> dict[tuple[str, tuple[str, ...]], list[Arc]]:
    """Arcs that are drawn as a pill, by target and sources; several events with the same sources share one."""
    events: dict[tuple[str, str], list[Arc]] = defaultdict(list)
    for arc in machine.arcs:
        events[arc.target.name, arc.event].append(arc)
    pills: dict[tuple[str, tuple[str, ...]], list[Arc]] = defaultdict(list)
    for (target, _), arcs in events.items():
        sources = tuple(dict.fromkeys(arc.source.name for arc in arcs))
        if len(sources) >= ENOUGH_FOR_A_PILL:
            pills[target, sources].extend(arcs)
    return pills


def _edges(machine: Machine, without: set[Arc]) -> dict[tuple[str, str], list[Arc]]:
    edges = {key: [arc for arc in arcs if arc not in without] for key, arcs in parallel(machine).items()}
    return {key: arcs for key, arcs in edges.items() if arcs}


def _ranks(
    machine: Machine, edges: Iterable[tuple[str, str]], pills: Iterable[tuple[str, tuple[str, ...]]]
) -> dict[str, int]:
    """The rank of each state. What only pills lead to comes below their sources; stopping comes last, as in life."""
    onward: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        onward[source].append(target)
    ranks: dict[str, int] = {}
    _rank_from([machine.initial], 0, onward, ranks)
    while left := [state for state in machine.states if state.name not in ranks]:
        aimed = {target for target, sources in pills if any(source in ranks for source in sources)}
        roots = [state for state in left if state.name in aimed] or left[:1]
        unhurried = [state for state in roots if state.phase not in (Phase.STOPPING, Phase.STOPPED)] or roots
        _rank_from([state.name for state in unhurried], max(ranks.values()) + 1, onward, ranks)
    return ranks


def _rank_from(roots: list[str], base: int, onward: dict[str, list[str]], ranks: dict[str, int]) -> None:
    """Rank the states that can be reached from `roots` and have no rank yet, each below all that lead to it but by a way back."""
    order, back = _walk(roots, onward, set(ranks))
    ranks.update(dict.fromkeys(order, base))
    for name in reversed(order):  # from sources to targets
        for target in onward[name]:
            if (name, target) not in back and target in order:
                ranks[target] = max(ranks[target], ranks[name] + 1)


def _walk(
    roots: list[str], onward: dict[str, list[str]], done: set[str]
) -> tuple[dict[str, None], set[tuple[str, str]]]:
    """Depth first: the states in the order in which they are finished, and the edges that lead back to one on the way."""
    finished: dict[str, None] = {}
    back: set[tuple[str, str]] = set()
    for root in reversed(roots):  # the first root is finished last, so that it comes first
        path, stack = {root: None}, [(root, iter(onward[root]))]
        if root in finished:
            continue
        while stack:
            name, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                stack.pop()
                del path[name]
                finished[name] = None
            elif target in path:
                back.add((name, target))
            elif target not in finished and target not in done:
                path[target] = None
                stack.append((target, iter(onward[target])))
    return finished, back


class _Rows:
    """Boxes in rows: states in the even ones, labels and pills in the odd ones, bends in any."""

    def __init__(self, machine: Machine, ranks: dict[str, int]) -> None:
        self.machine = machine
        self.states = {state.name: _state(state, ranks[state.name]) for state in machine.states}
        self.boxes: list[Box] = sorted(self.states.values(), key=lambda box: box.row)
        self.lines: list[Line] = []

    def edge(self, arcs: list[Arc]) -> None:
        """A line from the first to the last box through a label, and bends in the rows between."""
        source, target = self.states[arcs[0].source.name], self.states[arcs[0].target.name]
        upper, lower = (source, target) if source.row <= target.row else (target, source)
        label_row = source.row + 1 if source is upper else source.row - 1
        rows = range(upper.row + 1, lower.row) if upper.row < lower.row else [label_row]
        outside = source is not upper and len(rows) > 1
        inner = [_label(row, arcs, outside) if row == label_row else Box("bend", row, outside=outside) for row in rows]
        self.boxes += inner
        boxes = (upper, *inner, lower)
        for first, second in pairwise(boxes):
            _join(first, second)
        self.lines.append(Line(boxes if source is upper else boxes[::-1], tuple(arcs)))

    def pill(self, target: str, arcs: list[Arc]) -> None:
        """A pill above the target, listing the sources."""
        box = self.states[target]
        words = sources_in_words(self.machine, (arc.source.name for arc in arcs), target)
        events = tuple(dict.fromkeys(arc.event for arc in arcs))
        small = tuple(_wrapped(f"from {words}", 30))
        pill = Box(
            "pill", box.row - 1, _width(events, small) + 22, LINE * len(events) + 14 * len(small) + 10, events, small
        )
        pill.arcs = tuple(arcs)
        self.boxes.append(pill)
        _join(pill, box)
        self.lines.append(Line((pill, box), tuple(arcs)))

    def rows(self) -> list[list[Box]]:
        found: dict[int, list[Box]] = defaultdict(list)
        for box in self.boxes:
            found[box.row].append(box)
        return [found[row] for row in sorted(found)]


def _state(state: State, rank: int) -> Box:
    small = () if state.phase is None else (", ".join(filter(None, (state.phase.value, asks(state)))),)
    lines = (state.name,)
    return Box(
        "state", 2 * rank, max(90, _width(lines, small) + 28), 44 if small else 34, lines, small, name=state.name
    )


def _label(row: int, arcs: list[Arc], outside: bool) -> Box:
    lines = tuple(dict.fromkeys(arc.event for arc in arcs))
    return Box("label", row, _width(lines, ()) + 10, LINE * len(lines) + 6, lines, arcs=tuple(arcs), outside=outside)


def _join(first: Box, second: Box) -> None:
    upper, lower = (first, second) if first.row < second.row else (second, first)
    upper.below.append(lower)
    lower.above.append(upper)


def _width(lines: Iterable[str], small: Iterable[str]) -> float:
    return max(*(len(line) * CHARACTER for line in lines), *(len(line) * SMALL for line in small), 0)


def _wrapped(text: str, length: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= length:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _ordered(rows: list[list[Box]]) -> list[list[Box]]:
    """The rows, each ordered by where its neighbours are; the order with the fewest crossings that was met."""
    best, fewest = rows, _crossings(rows)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        rows = [list(row) for row in rows]
        for row, fixed in zip(rows[1:], rows, strict=False) if down else zip(rows[-2::-1], rows[:0:-1], strict=False):
            places = {id(box): place for place, box in enumerate(fixed)}
            own = {id(box): place for place, box in enumerate(row)}

            def middle(
                box: Box, places: dict[int, int] = places, own: dict[int, int] = own, down: bool = down
            ) -> tuple[bool, float]:
                near = [places[id(other)] for other in (box.above if down else box.below) if id(other) in places]
                return box.outside, sum(near) / len(near) if near else own[id(box)]

            row.sort(key=middle)
        crossings = _crossings(rows)
        if crossings < fewest or sweep == 0:
            best, fewest = rows, crossings
    return best


def _crossings(rows: list[list[Box]]) -> int:
    """How often lines cross between rows: the inversions among their lower ends, taken in the order of the upper ones."""
    total = 0
    for upper, lower in pairwise(rows):
        places = {id(box): place for place, box in enumerate(lower)}
        passed: list[int] = []
        for box in upper:
            ends = [places[id(other)] for other in box.below if id(other) in places]
            total += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return total


def _place(rows: list[list[Box]]) -> None:
    """Give each box its `x` and `y`."""
    y = 12.0
    for row in rows:
        height = max(box.height for box in row)
        for box in row:
            box.y = y + (height - box.height) / 2 if box.kind != "pill" else y + height - box.height
            if box.kind == "bend":
                box.y, box.height = y, height
        y += height + GAP_Y
    inner = [[box for box in row if not _in_lane(box)] for row in rows]
    for row in inner:
        _spread(row, [(0.0, 1.0)] * len(row))
    pulls = max(SWEEPS, min(PULLS, PULLS * 300 // sum(map(len, rows))))  # large drawings make do with fewer
    for sweep in range(pulls):
        for row in inner if sweep % 2 == 0 else reversed(inner):
            _spread(row, [_wish(box) for box in row])
    _lanes(rows)


def _in_lane(box: Box) -> bool:
    return box.outside and box.kind == "bend"


def _wish(box: Box) -> tuple[float, float]:
    """Where a box wishes to be, in the middle of those that it is joined to, and how hard. Bends pull one another hardest, so that
    long lines are straight."""
    near = [
        (other.x, 9 if box.kind == other.kind == "bend" else 1)
        for other in (*box.above, *box.below)
        if not _in_lane(other)
    ]
    pull = sum(strength for _, strength in near)
    return (sum(x * strength for x, strength in near) / pull, pull) if near else (box.x, 0.01)


def _lanes(rows: list[list[Box]]) -> None:
    """Long ways back run straight up, each in a lane of its own to the right of all else, the shorter ones further in."""
    right = max(box.x + box.width / 2 for row in rows for box in row if not _in_lane(box))
    chains: dict[int, list[Box]] = {}
    for box in (box for row in rows for box in row if _in_lane(box)):
        chain = next((chains[id(upper)] for upper in box.above if id(upper) in chains), [])
        chain.append(box)
        chains[id(box)] = chain
    lanes = sorted({id(chain): chain for chain in chains.values()}.values(), key=len)
    for number, lane in enumerate(lanes, 1):
        for box in lane:
            box.x = right + 14 * number


def _spread(row: list[Box], wishes: list[tuple[float, float]]) -> None:
    """Put the boxes as near to where they wish to be as their distances allow: least squares, by pooling adjacent violators."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + GAP_X)
    pools: list[
        tuple[float, float, int]
    ] = []  # what stands pressed together: sum of wishes times pulls, sum of pulls, number
    for (wish, pull), offset in zip(wishes, offsets, strict=False):
        total, count = (wish - offset) * pull, 1
        while pools and pools[-1][0] * pull > total * pools[-1][1]:
            other, strength, number = pools.pop()
            total, pull, count = total + other, pull + strength, count + number
        pools.append((total, pull, count))
    places = [total / pull for total, pull, count in pools for _ in range(count)]
    for box, place, offset in zip(row, places, offsets, strict=False):
        box.x = place + offset


def _frame(rows: list[list[Box]]) -> tuple[float, float]:
    """Move everything to the right of 40 px of margin; the width and height that it takes."""
    boxes = [box for row in rows for box in row]
    left = min(box.x - box.width / 2 for box in boxes)
    for box in boxes:
        box.x += 40 - left
    return max(box.x + box.width / 2 for box in boxes) + 20, max(box.y + box.height for box in boxes) + 12
