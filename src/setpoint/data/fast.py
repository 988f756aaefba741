"""The fast path: the interpreter's work for states that only call functions, as one flat loop.

States that follow each other without a choice are laid out as one *stretch*: the calls to make, the names to put on the path. At the end of
a stretch the record is at an end, or conditions choose the next stretch. Nothing is decided here that `walk` decides otherwise: whatever
is not plain, a state with retries, a refusal, a split, an exception, is handed over to a walk at the very point where it happened. The law
that both give the same is a property test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from setpoint.data.answers import UNUSUAL, is_open, judge, no_open_arc
from setpoint.data.context import Context, Progress, Token
from setpoint.data.definition import DataMode, Function, Strategy
from setpoint.data.errors import NotAwaited
from setpoint.data.modes import deep_copy
from setpoint.data.result import FAILED, Result
from setpoint.data.rows import Row, Step, Way
from setpoint.data.site import Site
from setpoint.data.walk import Walk

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

CHANGE: Final = 0
LATER_CHANGE: Final = 1
COPY: Final = 2
CHECK: Final = 3
LATER_CHECK: Final = 4
ASKS: Final = 8
"""Added to the kind of a call that wants the context. The kind of a condition is `LATER_CHANGE` where it is awaited."""


class Where(NamedTuple):
    """The point of the machine that a call belongs to, for when it has to be handed over."""

    row: Row
    done: int  # how many functions of the state, or of the arc, are done before this one
    names: int  # how many names of the stretch are on the path by then
    transitions: int
    step: Step | None = None
    way: Way | None = None


Call = tuple[Function, int, Where]


class Stretch:
    """States in a row. `end` is the name of the final state it ends in; else there are `ways` on; else it stops before `stop`."""

    __slots__ = ("calls", "end", "last", "names", "stop", "transitions", "ways")

    def __init__(self) -> None:
        self.calls: tuple[Call, ...] = ()
        self.names: tuple[str, ...] = ()
        self.transitions = 0
        self.end = ""
        self.last: Row | None = None
        self.stop: Row | None = None
        self.ways: tuple[tuple[Function | None, int, Stretch, Way], ...] = ()


class Layout:
    """Lays rows out in stretches, each once."""

    def __init__(self, rows: tuple[Row, ...], *, longest: int) -> None:
        self._rows, self._longest = rows, longest
        self._known: dict[tuple[int, int], Stretch] = {}
        self._open: list[tuple[Stretch, Row, Way | None, bool]] = []

    def start(self, row: Row) -> Stretch:
        """The stretch of records that come from outside."""
        first = self._stretch(row, None, first=True)
        while self._open:
            stretch, row, way, is_first = self._open.pop()
            self._lay(stretch, row, way, is_first)
        return first

    def _stretch(self, row: Row, way: Way | None, *, first: bool = False) -> Stretch:
        key = (row.number, way.number if way else -1)
        if key not in self._known:
            self._known[key] = Stretch()
            self._open.append((self._known[key], row, way, first))
        return self._known[key]

    def _lay(self, stretch: Stretch, row: Row, way: Way | None, first: bool) -> None:
        calls: list[Call] = []
        names: list[str] = []
        passed: set[int] = set()
        while True:
            if way is not None:
                here = Where(row, 0, len(names), stretch.transitions, None, way)
                calls += [
                    (step.call, _kind(step), here._replace(done=at, step=step)) for at, step in enumerate(way.steps)
                ]
                stretch.transitions += 1
                row, first = self._rows[way.target], False
            if (
                row.number in passed
                or not row.plain
                or (row.final and row.name == FAILED)
                or stretch.transitions > self._longest
            ):
                stretch.stop = row
                break
            passed.add(row.number)
            names.append(row.label)
            calls += self._calls(row, len(names), stretch.transitions, first)
            stretch.last = row
            if row.final:
                stretch.end = row.name
                break
            way = row.ways[0]
            if way.test is not None:
                stretch.ways = tuple(self._on(row, on) for on in _reachable(row.ways))
                break
        stretch.calls, stretch.names = tuple(calls), tuple(names)

    def _on(self, row: Row, way: Way) -> tuple[Function | None, int, Stretch, Way]:
        test = way.test
        return (test.call if test else None, _kind(test) if test else CHANGE, self._stretch(row, way), way)

    def _calls(self, row: Row, names: int, transitions: int, first: bool) -> list[Call]:
        calls: list[Call] = []
        if row.mode is DataMode.COPY and (row.works or first):
            calls.append((deep_copy, COPY, Where(row, 0, names, transitions)))
        for at, step in enumerate(row.steps):
            calls.append((step.call, _kind(step), Where(row, at, names, transitions, step)))
        return calls


def _kind(step: Step) -> int:
    kind = CHECK if step.check else CHANGE
    return kind + (1 if step.awaited else 0) + (ASKS if step.asks else 0)


def _reachable(ways: tuple[Way, ...]) -> list[Way]:
    """The arcs up to the first that is always open."""
    found = []
    for way in ways:
        found.append(way)
        if way.test is None:
            break
    return found


def layout(plan: Plan, row: Row) -> Stretch | None:
    """The stretch that records enter by; None where the plan has something to do at every step."""
    definition = plan.definition
    observed = plan.events is not None or plan.checkpoint is not None or definition.timeout is not None
    if observed or definition.strategy in (Strategy.BREADTH_FIRST, Strategy.RESOURCE_OPTIMIZED) or not row.plain:
        return None
    return Layout(plan.rows, longest=definition.max_transitions).start(row)


Walking = Generator[Any, Any, Result]
_Leave = tuple[Callable[["_Point", Any], Walking], Any]


def carry(  # noqa: C901  # one flat loop: what it is for
    plan: Plan, stretch: Stretch, records: Iterable[Any], done: Callable[[Result], object], *, waits: bool = False
) -> Generator[Any, Any, None]:
    """The whole way of each record, one after the other; `done` is called with the results. A generator like that of a walk.

    A record goes here as far as it goes plainly; then the walk goes on with it.
    """
    clock, keep, limit = plan.clock, plan.keeps, plan.definition.max_transitions
    first = stretch
    path: tuple[str, ...]
    for record in records:
        started, path, count = clock(), (), 0
        stretch, entered, context, where, way = first, record, None, None, None
        leave: _Leave | None = None
        try:
            while True:
                for call, kind, where in stretch.calls:
                    if kind < ASKS:
                        out = call(record)
                    else:
                        kind -= ASKS
                        context = _context(plan, context, where.row, where.way)
                        out = call(record, context)
                    if kind <= LATER_CHANGE:
                        if kind:
                            out = yield out
                        if out is None and keep:
                            continue
                        if type(out) in UNUSUAL:
                            leave = _diverted, out
                            break
                        record = out
                    elif kind == COPY:
                        entered, record = record, out
                    else:
                        if kind == LATER_CHECK:
                            out = yield out
                        if out is not None and out is not True:
                            judge(where.step, out)
                else:
                    path = path + stretch.names if path else stretch.names
                    if stretch.end:
                        break
                    where = None
                    count += stretch.transitions
                    if stretch.stop is not None:
                        leave = _before, stretch.stop
                        break
                    for test, kind, following, way in stretch.ways:  # noqa: B007  # read after the loop
                        if test is None:
                            break
                        if kind < ASKS:
                            out = test(record)
                        else:
                            context = _context(plan, context, stretch.last, way)
                            out = test(record, context)
                        if kind & LATER_CHANGE:
                            out = yield out
                        if out is True or (out is not False and is_open(out)):
                            break
                    else:
                        way = None
                        raise no_open_arc(stretch.last)
                    if count + following.transitions <= limit:
                        stretch = following
                        continue
                    leave = _crossing, way
                break
        except Exception as fault:
            leave = _failed, fault
        if leave is None:
            done(Result(stretch.end, record, path, True, None, clock() - started))
        else:
            point = _Point(plan, waits, stretch, where, way, record, entered, path, count, started, context)
            done((yield from leave[0](point, leave[1])))


def _context(plan: Plan, context: Context | None, row: Row | None, way: Way | None) -> Context:
    """What a function that asks for it is given."""
    made = plan.context() if context is None else context
    if row is not None:
        made.network, made.state, made.arc = row.network, row.name, way.name if way else ""
    return made


class _Point(NamedTuple):
    """Where the loop stood when it gave up. Without `where` it was choosing a way out of the stretch's last state."""

    plan: Plan
    waits: bool
    stretch: Stretch
    where: Where | None
    way: Way | None
    record: Any
    entered: Any
    path: tuple[str, ...]
    transitions: int
    started: float
    context: Context | None

    def site(self) -> Site:
        """The visit that the loop was in."""
        where, row, path, count, way = self.where, self.stretch.last, self.path, self.transitions, self.way
        if where is not None:
            row, way = where.row, where.way
            path, count = (*path, *self.stretch.names[: where.names]), count + where.transitions
        assert row is not None
        copied = row.mode is DataMode.COPY and (row.works or count == 0)
        token = Token(self.entered if copied else self.record, row.network, row.name, path, 1, transitions=count)
        site = Site(row, token)
        site.record, site.way = self.record, way
        return site

    def walk(self, site: Site) -> Walk:
        """A walk that stands there."""
        walk = self.plan.walk(started=self.started, waits=self.waits, context=self.context)
        walk.context.network, walk.context.state = site.row.network, site.row.name
        return walk


def _before(point: _Point, row: Row) -> Walking:
    token = Token(point.record, row.network, row.name, point.path, transitions=point.transitions)
    walk = point.plan.walk(started=point.started, waits=point.waits, context=point.context)
    return walk.go(Progress(walk.run, (token,)))


def _crossing(point: _Point, way: Way) -> Walking:
    site = point.site()
    walk = point.walk(site)
    return walk.go(Progress("", ()), walk.visit(site, walk.cross(site, way, 0)))


def _diverted(point: _Point, out: Any) -> Walking:
    try:
        out = point.plan.meaning(out)
    except NotAwaited as fault:
        return _failed(point, fault)
    site, where = point.site(), point.where
    assert where is not None
    walk = point.walk(site)
    attempt = walk.diverted(site, out, step=where.done + 1, arc=where.way.number if where.way else -1)
    return walk.go(Progress("", ()), walk.visit(site, attempt))


def _failed(point: _Point, fault: Exception) -> Walking:
    site = point.site()
    walk = point.walk(site)
    return walk.go(Progress("", ()), walk.visit(site, _raising(fault)))


def _raising(fault: Exception) -> Walking:
    yield from ()
    raise fault
