"""``setpoint replay``: what today's machines would have decided on what was recorded.

Exit code 0 when every recorded decision would be the same, 1 when one differs, 2 when the question cannot be answered.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.connect import JsonOption, running_agent
from setpoint.cli.output import clean, console, print_json
from setpoint.cli.trouble import FAILED, USAGE, Trouble
from setpoint.places import DATA, FLIGHT

if TYPE_CHECKING:
    from rich.text import Text

    from setpoint.control.replay import Answer, Difference
    from setpoint.store.recording import Decided, Entry, Gap

MAX_TEXT = 160
NAMES = {"data": "unreadable", "machine": "of an unknown machine", "state": "of an unknown state"}


def replay(
    recording: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECORDING]",
            help="A recording: a directory or one file of it. That of the running agent by default.",
            show_default=False,
        ),
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine",
            metavar="FILE|module:Class",
            help="Decide by this machine or worker class instead of today's. May be given several times.",
            show_default=False,
        ),
    ] = None,
    worker: Annotated[
        str, typer.Option("--worker", metavar="PATH", help="Only this worker, by its path or the end of it.")
    ] = "",
    show: Annotated[
        str, typer.Option("--show", metavar="PATH", help="Show what was decided for a worker, and on what, instead.")
    ] = "",
    reasons: Annotated[bool, typer.Option("--reasons", help="A reason that reads differently differs, too.")] = False,
    json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many at most; all are counted.")] = 50,
) -> None:
    """Decide again what was recorded, and show each decision that would differ."""
    from setpoint.store.recording import NoRecording, read

    place = _within(recording) if recording else _of_running_agent()
    try:
        tape = Tape(read(place), show or worker)
        if show:
            _show(tape, limit, json)
        else:
            _replay(tape, machine or [], reasons=reasons, json=json, limit=limit)
    except NoRecording as error:
        raise Trouble(str(error), "name the directory or a file of a recording", code=USAGE) from None


def _within(place: Path) -> Path:
    """A recording is named by itself, or by the agent's data directory or config beside which it lies."""
    folders = (place, place / DATA) if place.is_dir() else (place.parent / DATA,)
    recorded = (folder / FLIGHT for folder in folders)
    if place.is_dir() or place.suffix in (".yaml", ".yml"):
        return next((each for each in recorded if each.is_dir()), place)
    return place


def _of_running_agent() -> Path:
    noted = running_agent(os.environ)
    if noted is None:
        raise Trouble("no agent of yours is running", "name the recording: setpoint replay RECORDING", code=USAGE)
    return noted.directory / FLIGHT


class Tape:
    """The decisions of a recording that are asked for; counts what goes by."""

    def __init__(self, items: Iterable[Entry | Gap], worker: str = "") -> None:
        self._items = items
        self._worker = worker.strip("/")
        self.machines: set[str] = set()  # only these, where there are any
        self.decisions = 0
        self.workers: set[str] = set()
        self.gaps: list[Gap] = []
        self.first: float | None = None
        self.last: float | None = None

    def __iter__(self) -> Iterator[Entry]:
        from setpoint.store.recording import Gap

        for item in self._items:
            if isinstance(item, Gap):
                self.gaps.append(item)
            elif self._is_asked_for(item):
                self.decisions += 1
                self.workers.add(item.path)
                self.first = item.clocks.at if self.first is None else self.first
                self.last = item.clocks.at
                yield item
        if not self.decisions:
            raise Trouble(f"the recording has no decision of {self._sought()}{self._because()}", code=USAGE)

    def _is_asked_for(self, entry: Entry) -> bool:
        if self.machines and entry.machine.name not in self.machines:
            return False
        return not self._worker or f"/{entry.path}".endswith(f"/{self._worker}")

    def _sought(self) -> str:
        whom = f"worker {self._worker!r}" if self._worker else "any worker"
        return f"{whom} with machine {' or '.join(sorted(self.machines))}" if self.machines else whom

    def _because(self) -> str:
        return f"; {self.gaps[0].why}" if self.gaps else ""


def _replay(tape: Tape, machines: list[str], *, reasons: bool, json: bool, limit: int) -> None:
    from setpoint.cli.subjects import named, present
    from setpoint.control.replay import replay as replay_entries

    today = present()
    others = {name: subject for what in machines for name, subject in named(what, today).items()}
    tape.machines = set(others)
    counts: Counter[str] = Counter()
    shown = _Shown(limit, json)
    for difference in replay_entries(tape, {**today, **others}, before=today if others else None, reasons=reasons):
        counts[difference.kind] += 1
        shown.add(difference)
    if json:
        print_json({**_summary(tape, counts), "differences": shown.rows})
    else:
        shown.tell_rest()
        console().print(clean(_in_words(tape, counts)))
        for gap in tape.gaps:
            console().print(clean(f"  gap: {_gap(gap)}"))
    if counts:
        raise typer.Exit(FAILED)


class _Shown:
    """The differences as they are printed: each once, with how often it came again; so many at most."""

    def __init__(self, limit: int, json: bool) -> None:
        self._limit = limit
        self._json = json
        self._out = console()
        self._again: Counter[tuple[Any, ...]] = Counter()
        self._more = 0
        self.rows: list[Any] = []

    def add(self, difference: Difference) -> None:
        if self._json:
            if len(self.rows) < self._limit:
                self.rows.append(_row(difference))
            return
        key = _likeness(difference)
        if key in self._again or len(self._again) < self._limit:
            self._again[key] += 1
            if self._again[key] == 1:
                for line in _lines(difference):
                    self._out.print(line)
        else:
            self._more += 1

    def tell_rest(self) -> None:
        """How often those that were shown came again, and how many were not shown."""
        for (path, state, *_), count in self._again.items():
            if count > 1:
                self._out.print(clean(f"{path} in {state}: {count - 1:,} more like this"))
        if self._more:
            self._out.print(f"{self._more:,} more {'is' if self._more == 1 else 'are'} not shown; see --limit")


def _likeness(difference: Difference) -> tuple[Any, ...]:
    entry, now = difference.entry, difference.now
    then = entry.decision
    came = (now.state, now.event, tuple(now.effects)) if now else (difference.why,)
    return entry.path, entry.position.state, difference.kind, then.state, then.event, tuple(then.effects), *came


def _lines(difference: Difference) -> Iterator[Text]:
    from rich.text import Text

    entry, now = difference.entry, difference.now
    yield Text.assemble(
        (f"{_when(entry.clocks.at)}  ", "dim"), (clean(entry.path), "bold"), f" in {clean(entry.position.state)}"
    )
    yield Text(f"  then  {_said(entry.decision, entry)}")
    yield Text(f"  now   {_said(now, entry)}" if now else f"  now   {clean(difference.why)}", style="yellow")
    for answer in difference.answers:
        yield Text("        ").append_text(_answer(answer))


def _answer(answer: Answer) -> Text:
    from rich.text import Text

    marks = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
    because = f" — {_short(answer.because)}" if answer.because else ""
    return Text.assemble(
        marks[answer.then], " then, ", marks[answer.now], f" now  {_short(answer.guard)}", (because, "dim")
    )


def _said(decision: Decided, entry: Entry) -> str:
    """A decision in a line."""
    if decision.error:
        return _short(f"cannot decide: {decision.error}")
    if decision.event:
        return _short(f"{decision.event} → {decision.state}: {decision.reason}")
    acts = f", does {' and '.join(decision.effects)}" if decision.effects else ""
    wait = "" if decision.wake_at is None else f", looks again in {decision.wake_at - entry.clocks.now:g} s"
    return _short(f"stays{acts}{wait}: {decision.reason}")


def _short(text: str) -> str:
    text = clean(text)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _when(at: float | None) -> str:
    """A moment in local time, to the millisecond."""
    moment = _rfc3339(at)
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError):
        return moment


def _rfc3339(at: float | None) -> str:
    try:
        return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # no time that there is
        return str(at)


def _in_words(tape: Tape, counts: Counter[str]) -> str:
    differ = sum(count for kind, count in counts.items() if kind not in NAMES)
    parts = [f"{differ:,} differ" if differ != 1 else "1 differs"]
    parts += [f"{counts[kind]:,} {name}" for kind, name in NAMES.items() if counts[kind]]
    if tape.gaps:
        parts.append(f"{len(tape.gaps)} gap{'s' if len(tape.gaps) > 1 else ''}")
    workers = f"{len(tape.workers)} worker{'s' if len(tape.workers) != 1 else ''}"
    return f"{tape.decisions:,} decisions of {workers}, {_when(tape.first)} – {_when(tape.last)}: {', '.join(parts)}"


def _summary(tape: Tape, counts: Counter[str]) -> dict[str, Any]:
    from setpoint.control.replay import KINDS

    return {
        "decisions": tape.decisions,
        "workers": len(tape.workers),
        "from": _rfc3339(tape.first),
        "to": _rfc3339(tape.last),
        "differing": {kind: counts[kind] for kind in KINDS},
        "gaps": [{"lost": gap.lost, "why": gap.why, "at": _rfc3339(gap.at)} for gap in tape.gaps],
    }


def _row(difference: Difference) -> dict[str, Any]:
    import msgspec

    entry = difference.entry
    return {
        "at": _rfc3339(entry.clocks.at),
        "path": entry.path,
        "type": entry.type,
        "machine": msgspec.to_builtins(entry.machine),
        "state": entry.position.state,
        "kind": difference.kind,
        "why": difference.why,
        "then": msgspec.to_builtins(entry.decision),
        "now": msgspec.to_builtins(difference.now),
        "guards": [answer._asdict() for answer in difference.answers],
    }


def _gap(gap: Gap) -> str:
    lost = f"{gap.lost:,} decisions are missing: " if gap.lost else ""
    return f"{f'before {_when(gap.at)}: ' if gap.at else ''}{lost}{gap.why}"


# --show


def _show(tape: Tape, limit: int, json: bool) -> None:
    """The latest decisions of a worker, each with what had changed."""
    from rich.text import Text

    latest: deque[tuple[Entry, list[str]]] = deque(maxlen=limit)
    before: dict[str, Any] = {}
    for entry in tape:
        if len(tape.workers) > 1:
            raise Trouble(
                f"several workers are meant: {', '.join(sorted(tape.workers))}", "give more of the path", code=USAGE
            )
        latest.append((entry, list(_changes(before, entry.snapshot))))
        before = entry.snapshot
    if json:
        import msgspec

        print_json([msgspec.to_builtins(entry) for entry, _ in latest])
        return
    out = console()
    for entry, changes in latest:
        said = _said(entry.decision, entry)
        out.print(
            Text.assemble((f"{_when(entry.clocks.at)}  ", "dim"), (clean(entry.position.state), "bold"), f"  {said}")
        )
        for change in changes:
            out.print(Text(f"    {_short(change)}", style="dim"))
    for gap in tape.gaps:
        out.print(clean(f"  gap: {_gap(gap)}"))


def _changes(before: dict[str, Any], after: dict[str, Any], place: str = "") -> Iterator[str]:
    """What differs between two snapshots, a line a field."""
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if isinstance(new, dict):
            yield from _changes(old if isinstance(old, dict) else {}, new, f"{place}{name}.")
        elif old != new:
            yield f"{place}{name}: {new}" if old is None else f"{place}{name}: {old} → {new}"
