"""The ways out of where a record stands: the answer of each condition, and why.

The conditions are those of the plan, asked about a copy of the record. They are meant to have no effects; nothing else is called.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from setpoint.data.answers import is_open
from setpoint.data.context import Context
from setpoint.data.debug.reading import reading
from setpoint.data.definition import ArcDef, Code, FunctionRef
from setpoint.data.functions.fields import shown
from setpoint.data.modes import deep_copy
from setpoint.data.rows import Row, Way
from setpoint.machine import Expression, ExpressionError, Guard, Verdict
from setpoint.machine.guards import Expr, Moment, judge

if TYPE_CHECKING:
    from setpoint.data.plan import Plan


class WayOut(msgspec.Struct, frozen=True):
    """One arc: whether it is open for the record (None where that could not be said), and why. `kind` is that of the arc: ``way`` for
    those tried on the way forward, and ``event`` and ``after`` for those that let a waiting record go on; the others are not asked.

    `taken` says that it is the first that is open, which the record takes; with `breadth_first` all that are open are.
    """

    name: str
    target: str
    kind: str = "way"
    condition: str = ""
    open: bool | None = None
    because: str = ""
    taken: bool = False
    pushes: str = ""


def ways_out(
    plan: Plan, row: Row, record: Any, context: Context, *, fans: bool
) -> Generator[Any, Any, tuple[WayOut, ...]]:
    """All arcs out of a state, in the order in which they are tried. Yields what is to be awaited."""
    found, decided = [], False
    defined = _defined(plan, row)
    for way in row.arcs:
        out = _described(way, defined[way.number])
        if way in row.ways:
            out = yield from _asked(way, out, record, context, defined[way.number].condition)
            out = msgspec.structs.replace(out, taken=bool(out.open) and (fans or not decided))
            decided = decided or out.open is not False  # what raises ends the choice
        found.append(out)
    return tuple(found)


def _defined(plan: Plan, row: Row) -> list[ArcDef]:
    state = next(state for state in plan.definition.network(row.network).states if state.name == row.name)
    return sorted(state.arcs, key=lambda arc: -arc.priority)


def _described(way: Way, arc: ArcDef) -> WayOut:
    kind = "event" if way.event else "after" if way.after is not None else arc.kind
    because = {
        "event": f"when {way.event} is sent", "after": f"after {way.after:g} s" if way.after is not None else "",
        "error": "when the state or an arc fails", "timeout": "when it runs out of time", "dropped": "when it is dropped",
    }  # fmt: skip
    return WayOut(
        way.name, arc.target, kind, way.test.name if way.test else "", None, because.get(kind, ""),
        pushes=arc.push.network if arc.push else "",
    )  # fmt: skip


def _asked(
    way: Way, out: WayOut, record: Any, context: Context, ref: FunctionRef | None
) -> Generator[Any, Any, WayOut]:
    test = way.test
    if test is None:
        return msgspec.structs.replace(out, open=True, because="always")
    context.arc = way.name
    mine = deep_copy(record)
    try:
        answer = test.call(mine, context) if test.asks else test.call(mine)
        if test.awaited:
            answer = yield answer
        is_yes = is_open(answer)
    except Exception as error:
        return msgspec.structs.replace(out, because=f"{type(error).__name__}: {error}")
    return msgspec.structs.replace(out, open=is_yes, because=_why(answer, record, ref))


def _why(answer: Any, record: Any, ref: FunctionRef | None) -> str:
    if isinstance(answer, Verdict) and answer.because:
        return answer.because
    if isinstance(ref, Code) and ref.language == "expression":
        return _facts(ref.text, record)
    if isinstance(ref, Guard):
        return ", ".join(filter(None, (_fact_of(part, record) for part in ref.walk())))
    if not isinstance(answer, bool):
        return f"it gave {shown(answer)}"
    return (getattr(ref, "__doc__", None) or "").strip().partition("\n")[0] if callable(ref) else ""


def _fact_of(part: Guard, record: Any) -> str:
    """What a leaf of a guard's tree found."""
    if part.parts():
        return ""
    if isinstance(part, Expr):
        return _facts(part.expression.text, record)
    judged = judge(part, Moment(record, {}))
    return f"{judged.text}: {judged.because or ('yes' if judged.ok else 'no')}"


def _facts(text: str, record: Any) -> str:
    """What an expression read."""
    return ", ".join(_read(text, record))


def _read(text: str, record: Any) -> Iterator[str]:
    for name in sorted(Expression(text).names):
        try:
            yield f"{name} = {shown(reading(name)(record))}"
        except ExpressionError:
            yield f"{name} is not there"
