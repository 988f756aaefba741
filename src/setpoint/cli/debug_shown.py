"""How ``setpoint debug`` shows a run: where it stands, what changed, the ways out, the machine around it, and traces.

The marks say the same as the colours, which do not reach everybody: ▶ before a state, ● in a state before an arc, ■ at an end that is well,
✖ at one that is not, ◌ waiting; + a field that is new, - one that is gone, ~ one that changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from setpoint.cli.output import clean
from setpoint.cli.told import plain, reasons

if TYPE_CHECKING:
    from setpoint.data.context import Event
    from setpoint.data.debug import Change, Debugger, Entry, Moment, Watched, WayOut
    from setpoint.data.definition import NetworkDef, StateDef
    from setpoint.data.plan import Plan
    from setpoint.data.result import StepError

LONG: Final = 60
"""A value is cut to so many characters; ``p`` and ``record`` show it whole."""
MANY: Final = 12
"""So many changes are shown at a stop; ``diff`` shows all."""
HERE, GOOD, BAD, NOTE, PAST, CHANGED = "bold cyan", "green", "bold red", "yellow", "dim", "yellow"


def value_text(value: Any, longest: int = LONG) -> str:
    """A value in one line, as JSON where it can be."""
    text = clean(json.dumps(plain(value), ensure_ascii=False))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def span(seconds: float) -> str:
    """A duration: ``850 ns``, ``12.3 µs``, ``4.5 ms``, ``2.1 s``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def standing(debugger: Debugger, before: Moment | None = None) -> Iterator[Text]:
    """Where the run stands, what happened on the way there, and what changed in the record since it stood at `before`."""
    moment = debugger.moment
    yield from (happening(event) for event in debugger.happened)
    yield headline(moment)
    if moment.result is not None:
        for said, error in reasons(moment.result.error):
            yield Text(f"      {said}: {clean(error)}", style=BAD)
    shown = _changed(debugger, before) if before is not None else []
    yield from change_lines(shown[:MANY], "      ")
    if len(shown) > MANY:
        yield Text(f"      and {len(shown) - MANY} more: diff", style=PAST)
    yield from (watch_line(watch) for watch in debugger.watches if watch.changed)


def _changed(debugger: Debugger, before: Moment) -> list[Change]:
    """What changed since then; where another part of the record has its turn, in the last state of that one."""
    of_one_record = before.path == debugger.moment.path[: len(before.path)] and any(
        one is before for one in debugger.moments
    )
    return debugger.diff(before.number if of_one_record else None)


def headline(moment: Moment, *, here: bool = True) -> Text:
    """A moment in a line."""
    mark, style = _mark(moment)
    where = clean(moment.state)
    if moment.arc:
        where += f", before its arc {clean(moment.arc)}"
    elif moment.inside and moment.result is None:
        where += ", inside"
    others = len(moment.tokens) - 1
    line = Text(f"{moment.number:>3} ")
    line.append(f"{mark} {where}", style=style if here else PAST)
    for note in filter(None, (_reason(moment), f"{others} more on their way" if others > 0 else "", _ended(moment))):
        line.append(f"  {clean(note)}", style=PAST)
    return line


def _mark(moment: Moment) -> tuple[str, str]:
    result = moment.result
    if result is None:
        return ("●" if moment.arc or moment.inside else "▶"), HERE
    if result.waits:
        return "◌", NOTE
    return ("■", GOOD) if result.success else ("✖", BAD)


def _reason(moment: Moment) -> str:
    return "" if moment.reason in ("step", "passed", "end") else moment.reason


def _ended(moment: Moment) -> str:
    result = moment.result
    if result is None:
        return ""
    if result.waits:
        return "; ".join(map(str, result.waits))
    return f"the end, after {span(result.duration)}"


def happening(event: Event) -> Text:
    """An error, a retry or a wait that happened on the way."""
    from setpoint.data.context import Kind

    if event.kind is Kind.WAIT:
        return Text(f"    ◌ {clean(event.state)}: it waits", style=NOTE)
    said = clean(event.error) if event.error else clean(event.state)
    if event.kind is Kind.RETRY:
        return Text(f"    ! {said}: tried again after {span(event.seconds)}", style=NOTE)
    return Text(f"    ! {said}", style=BAD)


def change_lines(changes: Iterable[Change], indent: str = "") -> Iterator[Text]:
    """What changed, field by field."""
    from setpoint.data.functions.fields import MISSING

    for path, before, now in changes:
        name = clean(path or "the record")
        if before is MISSING:
            yield Text(f"{indent}+ {name} = {value_text(now)}", style=GOOD)
        elif now is MISSING:
            yield Text(f"{indent}- {name}", style=BAD)
        else:
            yield Text(f"{indent}~ {name}: {value_text(before, 30)} → {value_text(now)}", style=CHANGED)


def watch_line(watch: Watched) -> Text:
    """What is watched, and its value."""
    from setpoint.data.functions.fields import MISSING

    now = "not there" if watch.value is MISSING else value_text(watch.value)
    line = Text(f"      {clean(watch.text)}: ")
    if watch.changed:
        before = "not there" if watch.before is MISSING else value_text(watch.before, 30)
        line.append(f"{before} → ", style=PAST)
    return line.append(now, style=CHANGED if watch.changed else "")


def ways_table(ways: Iterable[WayOut], *, early: bool) -> Table:
    """The ways out, in the order in which they are tried. `early`: the state's functions are not done, so an answer may have to wait."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column("mark", no_wrap=True)
    table.add_column("arc")
    table.add_column("why", overflow="fold")
    for way in ways:
        mark, style = _answer(way, early=early)
        pushes = f" through {clean(way.pushes)}" if way.pushes else ""
        why = Text(clean(way.condition))
        if way.because:
            why.append(f"{'  ' if way.condition else ''}{clean(way.because)}", style=style if mark == "!" else PAST)
        table.add_row(Text(mark, style=style), Text(f"{clean(way.name)}{pushes}", style=style), why)
    return table


def _answer(way: WayOut, *, early: bool) -> tuple[str, str]:
    if way.taken:
        return "➜", HERE
    if way.open is None and way.kind == "way":
        return ("?", NOTE) if early else ("!", BAD)
    return ("✓", GOOD) if way.open else ("·", PAST) if way.open is None else ("✗", PAST)


def drawing(plan: Plan, moment: Moment, broken: set[tuple[str, str]], *, everything: bool) -> Iterator[Text]:
    """The states with their arcs: where the run stands, where it has been, where it will stop."""
    token = moment.token
    main = plan.definition.main_network
    at = (token.network, token.state) if token else (main, moment.state)
    been = set(moment.path)
    for network in plan.definition.networks:
        if everything or network.name == at[0]:
            yield Text(clean(network.name), style="bold")
            for state in network.states:
                yield from _drawn(network, state, at, been, (network.name, state.name) in broken, main=main)


def _drawn(
    network: NetworkDef, state: StateDef, at: tuple[str, str], been: set[str], broken: bool, *, main: str
) -> Iterator[Text]:
    here = (network.name, state.name) == at
    label = state.name if network.name == main else f"{network.name}:{state.name}"
    mark, style = ("▶", HERE) if here else ("✓", GOOD) if label in been else (" ", "")
    line = Text().append("◉" if broken else " ", style=BAD).append(f" {mark} {clean(state.name)}", style=style)
    if state.final:
        line.append("  (end)", style=PAST)
    if state.doc:
        line.append(f"  {clean(state.doc.partition(chr(10))[0])}", style=PAST)
    yield line
    for arc in sorted(state.arcs, key=lambda arc: -arc.priority):
        when = arc.event or ("" if arc.kind == "way" else arc.kind)
        after = f"after {arc.after:g} s" if arc.after is not None else ""
        through = f"through {arc.push.network}" if arc.push else ""
        condition = f"if {clean(_condition(arc.condition))}" if arc.condition is not None else ""
        notes = "  ".join(filter(None, (arc.name, when, after, through, condition)))
        yield Text(f"      → {clean(arc.target)}").append(f"  {clean(notes)}" if notes else "", style=PAST)


def _condition(ref: object) -> str:
    from setpoint.data.rows import name_of

    return name_of(ref)


def trace_lines(entry: Entry, main: str) -> Iterator[Text]:
    """An entry of a trace: when, what, where (outside the network `main` with the network's name), how long, and what changed."""
    from setpoint.data.context import Kind
    from setpoint.data.debug import changes

    network = "" if entry.network in ("", main) else f"{entry.network}:"
    place = f"{network}{entry.arc or entry.state}" if entry.state else ""
    style = {Kind.ERROR: BAD, Kind.RETRY: NOTE, Kind.WAIT: NOTE, Kind.END: "bold"}.get(entry.kind, "")
    line = Text(f"{span(entry.at):>8}  ", style=PAST)
    line.append(f"{entry.kind.value:<10}  {clean(place)}", style=style)
    if entry.resources:
        line.append(f"  {clean(', '.join(entry.resources))}", style=PAST)
    if entry.seconds:
        line.append(f"  {span(entry.seconds)}", style=PAST)
    yield line
    if entry.error is not None:
        yield Text(f"{'':>22}{_said(entry.error)}", style=style or BAD)
    if entry.before is not None:
        yield from change_lines(changes(entry.before, entry.after), " " * 22)


def _said(error: StepError) -> str:
    return clean(f"{error.type}: {error.message}")
