"""What ``setpoint run`` says: progress while it works, the accounting at its end, results as JSON, and what is wrong with a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from setpoint.cli.trouble import FAILED

if TYPE_CHECKING:
    from setpoint.cli.check import Fault
    from setpoint.configfile import Problem
    from setpoint.data.definition import Place
    from setpoint.data.result import Result, StepError
    from setpoint.data.stream import Mark, StreamReport

WAITS: Final = 3
"""The exit code for a record that waits for an event."""
NAMED: Final = 5
"""So many dead letters are named on the terminal where there is no file of them."""


class Meter:
    """Progress on stderr, where that is a terminal; and how far a stream was when Ctrl-C ended it."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._report: StreamReport | None = None
        self._mark: Mark | None = None

    def stream(self, report: StreamReport) -> None:
        self._report = report
        self._say(f"{report.total:,} read, {sum(report.failed.values()):,} failed, {report.throughput:,.0f}/s")

    def batch(self, done: int, total: int | None) -> None:
        self._say(f"{done:,} of {total or done:,}")

    def commit(self, mark: Mark) -> None:
        self._mark = mark

    def interrupted(self) -> StreamReport:
        """What is kept of a stream that did not come back to say it."""
        from setpoint.data.stream import StreamReport

        report = self._report or StreamReport()
        report.interrupted = True
        if self._mark is not None:
            report.counts = self._mark.counts
        return report

    def clear(self) -> None:
        if self._shows:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _say(self, text: str) -> None:
        if self._shows:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def account(
    report: StreamReport, *, to: TextIO, as_json: bool, resumable: bool = False, results: Sequence[Result] | None = None
) -> None:
    """Says what came of a stream or a batch; with `results`, of each record."""
    import json

    if as_json:
        data = _report_in_json(report)
        if results is not None:
            data["results"] = [result_in_json(result) for result in results]
        print(json.dumps(data, indent=2), file=to)
        return
    for line in _lines(report, resumable=resumable):
        print(line, file=to)


def _lines(report: StreamReport, *, resumable: bool) -> Iterator[str]:
    from setpoint.cli.output import clean

    rows = [(report.read, "read")]
    for what, counts in (("written", report.emitted), ("left out", report.excluded), ("failed", report.failed)):
        rows += [(count, f"{what}: {clean(state)}" if state != what else what) for state, count in _largest(counts)]
    if report.malformed:
        rows.append((report.malformed, "malformed"))
    yield from (f"{count:>12,}  {what}" for count, what in rows)
    yield f"in {report.duration:.2f} s, {report.throughput:,.0f} records/s"
    lost = report.malformed + sum(report.failed.values())
    if lost and report.dead_letters:
        yield f"dead letters: {clean(report.dead_letters)}"
    elif lost:
        yield from (f"  {clean(letter)}" for letter in report.first[:NAMED])
        if lost > len(report.first[:NAMED]):
            more = f"  and {lost - len(report.first[:NAMED]):,} more"
            yield f"{more}; --dead-letters PATH keeps all of a stream, and an --output that is a file has them beside it"
    if report.interrupted:
        yield "interrupted: what is counted here is kept" + ("; --resume goes on from there" if resumable else "")


def _largest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The states with their numbers, the largest first: which came first is chance."""
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _report_in_json(report: StreamReport) -> dict[str, Any]:
    return {
        "success": report.success,
        "read": report.read,
        "malformed": report.malformed,
        "emitted": dict(report.emitted),
        "excluded": dict(report.excluded),
        "failed": dict(report.failed),
        "seconds": report.duration,
        "dead_letters": report.dead_letters or None,
        "first": [plain(letter) for letter in report.first],
        "resumed": report.resumed_from is not None,
        "interrupted": report.interrupted,
    }


def reasons(error: StepError | None, said: str = "failed") -> Iterator[tuple[str, StepError]]:
    """The error, what caused it in a pushed network, and what had sent the record on its way there."""
    if error is not None:
        yield said, error
        yield from reasons(error.cause, "because")
        yield from reasons(error.earlier, "after")


def say_result(result: Result, *, as_json: bool) -> int:
    """Says what came of one record; the exit code that says the same."""
    from setpoint.cli.output import clean, print_json

    code = WAITS if result.waits else 0 if result.success else FAILED
    if as_json:
        print_json(result_in_json(result))
        return code
    way = (*result.path, *([] if result.path[-1:] == (result.final_state,) else [result.final_state]))
    print(clean(" → ".join(way)))
    for handled in result.handled:
        print(f"handled: {clean(handled)}")
    for said, error in reasons(result.error):
        print(f"{said}: {clean(error)}")
    for wait in result.waits:
        print(f"{clean(wait)}: setpoint runs send {clean(result.run)} {clean((*wait.events, 'EVENT')[0])}")
    print_json(plain(result.data))
    return code


def result_in_json(result: Result) -> dict[str, Any]:
    from setpoint.cli.output import moment

    return {
        "final_state": result.final_state,
        "success": result.success,
        "path": list(result.path),
        "data": plain(result.data),
        "error": _error_in_json(result.error),
        "handled": [_error_in_json(error) for error in result.handled],
        "parts": [result_in_json(part) for part in result.parts],
        "seconds": result.duration,
        "waits": [
            {"state": one.state, "events": list(one.events), "until": one.until and moment(one.until)}
            for one in result.waits
        ],
        "run": result.run,
    }


def _error_in_json(error: StepError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "type": error.type,
        "message": error.message,
        "state": error.state,
        "arc": error.arc,
        "attempt": error.attempt,
        "cause": _error_in_json(error.cause),
        "earlier": _error_in_json(error.earlier),
    }


def plain(value: Any) -> Any:
    """The value as JSON has it, the text of what JSON cannot say."""
    import msgspec

    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return str(value)


def fault_of(problem: Problem) -> Fault:
    """What is wrong with a file, as ``setpoint check`` says it."""
    from setpoint.cli.check import Fault

    return Fault(
        problem.source, problem.line, problem.column, problem.key, problem.message, problem.hint, problem.severity
    )


def fault_at(place: Place, text: str, file: Path) -> Fault:
    """What a plan refuses, as ``setpoint check`` says it."""
    from setpoint.cli.check import Fault

    hint = "or --trust, where you trust the file and the modules beside it" if "is not allowed" in text else ""
    return Fault(place.file or str(file), place.line, place.column, "", text, hint, "error")


def say_faults(file: Path, faults: Sequence[Fault]) -> None:
    """Prints what is wrong with a file to stderr."""
    from rich.text import Text

    from setpoint.cli.output import clean, console

    out = console(stderr=True)
    for fault in faults:
        out.print(Text.assemble((f"{fault.severity}: ", "red"), clean(fault)))
    count = len(faults)
    out.print(Text(f"{clean(file)}: {count} error{'s' * (count != 1)}; no record was carried", style="dim"))
