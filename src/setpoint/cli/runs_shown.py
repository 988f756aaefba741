"""What ``setpoint runs`` shows: the list of runs, one of them with its steps and its end, and both as JSON.

What stands in the file is shown as far as it can be read: a row that makes no sense is no reason not to show the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from setpoint.cli.output import clean, moment

if TYPE_CHECKING:
    from setpoint.data.result import Result
    from setpoint.data.runs import RunRow, StepRow

STYLES: Final = {"done": "green", "failed": "bold red", "waiting": "cyan", "interrupted": "yellow", "running": "cyan"}
LONGEST: Final = 120
"""Characters of a name or a reason in the list."""


def show_list(rows: Sequence[RunRow], counts: dict[str, int]) -> None:
    """The runs in a table, and how many there are in all."""
    from rich.table import Table
    from rich.text import Text

    from setpoint.cli.output import console

    table = Table(box=None, pad_edge=False)
    for name in ("run", "machine", "status", "at", "began", "took"):
        table.add_column(name, overflow="fold" if name in ("run", "at") else "ellipsis", no_wrap=name == "status")
    for row in rows:
        status = Text(row.status, style=STYLES.get(row.status, "dim"))
        at = row.waits or row.error or row.state or _said(row)
        table.add_row(_short(row.id), _short(row.machine), status, _short(at), _when(row.started), _took(row))
    out = console()
    out.print(table)
    total = sum(counts.values())
    if total > len(rows):
        parts = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        out.print(Text(f"{len(rows)} of {total}: {parts}", style="dim"))


def _short(text: str) -> str:
    """Enough of it for a table."""
    return clean(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def show_row(row: RunRow) -> None:
    """What is known of a run, line by line."""
    about = [(key, value) for key, value in row.about.items() if value]
    facts: list[tuple[str, Any]] = [
        ("run", f"{row.id}, a {row.kind}" if row.kind != "record" else row.id),
        ("machine", f"{row.machine} (version {row.version})"),
        ("status", row.status),
        ("waits", row.waits),
        ("until", _when(row.wake) if row.wake else ""),
        ("error", row.error),
        ("records", _said(row)),
        ("began", _when(row.started)),
        ("took", _took(row)),
        *about,
    ]
    for name, value in facts:
        if value:
            print(f"{name:<8} {clean(value)}")


def show_steps(steps: Sequence[tuple[StepRow, Any]], *, records: bool) -> None:
    """What happened to it, a line each."""
    from setpoint.cli.told import plain

    if steps:
        print()
    for step, record in steps:
        when = _time_of_day(step.at)
        said = {"exit": f"→ {step.target}" if step.target else "", "arc": f"→ {step.target}", "wait": "waits"}.get(
            step.kind, step.kind
        )
        took = f"{step.seconds * 1000:.1f} ms" if step.seconds else ""
        tries = f" (attempt {step.attempt})" if step.attempt > 1 else ""
        print(f"{when}  {clean(step.state):<20} {clean(said):<22} {took:>10}{tries}  {clean(step.error)}".rstrip())
        if records and record is not None:
            print(f"              {clean(plain(record))}")


def show_results(result: Result | None, results: Sequence[tuple[int, Result]], *, records: bool) -> None:
    """What came of a record; of those of a batch, all or only what failed."""
    from setpoint.cli.output import print_json
    from setpoint.cli.told import plain, reasons

    if result is not None:
        print()
        for said, error in reasons(result.error):
            print(f"{said}: {clean(error)}")
        print_json(plain(result.data))
    for number, one in results:
        if records or one.error is not None:
            print(f"{number:>8}  {clean(one.final_state)}" + (f"  {clean(one.error)}" if one.error else ""))


def print_whole(
    row: RunRow, steps: Sequence[tuple[StepRow, Any]], result: Result | None, results: Sequence[tuple[int, Result]]
) -> None:
    """All of a run, as JSON."""
    from setpoint.cli.output import print_json
    from setpoint.cli.told import plain, result_in_json

    print_json({
        **row_in_json(row),
        "steps": [
            {
                "at": moment(step.at), "kind": step.kind, "state": step.state, "arc": step.arc or None, "target": step.target or None,
                "attempt": step.attempt, "seconds": step.seconds, "error": step.error or None, "record": plain(record),
            }
            for step, record in steps
        ],
        "result": result_in_json(result) if result else None,
        "results": [{"number": number, **result_in_json(one)} for number, one in results],
    })  # fmt: skip


def row_in_json(row: RunRow) -> dict[str, Any]:
    """What is known of a run, for JSON."""
    return {
        "run": row.id, "kind": row.kind, "machine": row.machine, "version": row.version, "status": row.status, "state": row.state or None,
        "waits": row.waits or None, "until": moment(row.wake) if row.wake else None, "error": row.error or None,
        "started": moment(row.started), "updated": moment(row.updated), "ended": moment(row.ended) if row.ended else None,
        "seconds": row.seconds, "counts": _counts(row) or None, "about": dict(row.about),
    }  # fmt: skip


def _counts(row: RunRow) -> dict[str, Any]:
    """How many records came to what; nothing where that cannot be read."""
    import msgspec

    try:
        return msgspec.json.decode(row.counts or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _said(row: RunRow) -> str:
    """How many records came to what, in the words of ``setpoint run``."""
    words = {"emitted": "written", "excluded": "left out"}
    counts = ((number, *name.partition(" ")[::2]) for name, number in _counts(row).items())
    return ", ".join(
        f"{number} {words.get(what, what)}" + (f": {state}" if state not in ("", what) else "")
        for number, what, state in counts
    )


def _time_of_day(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return f"{at:<12g}"


def _when(at: float) -> str:
    from setpoint.cli.output import clock

    return clock(moment(at))


def _took(row: RunRow) -> str:
    seconds = max(0.0, (row.ended or row.updated) - row.started)
    return (
        f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
    )
