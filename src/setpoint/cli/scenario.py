"""``setpoint scenario``: perform a story of real workers, live, and say what of it held.

Exit code 0 only when the story came to its end, all it shows held, and every worker stopped in time; 1 otherwise. With ``--json`` or
``--dump-store`` the standard output is JSON and nothing else; what is told live then goes to the standard error output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.output import clean, console, print_json, seconds_of, state_text
from setpoint.cli.trouble import FAILED, USAGE, Trouble
from setpoint.cli.up import LevelOption, LogLevel

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from setpoint.testing.scenarios import News, Report, Scenario


def scenario(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one; see --list.", show_default=False)] = "",
    list_all: Annotated[bool, typer.Option("--list", help="List all scenarios.")] = False,
    duration: Annotated[
        str,
        typer.Option(
            "--duration",
            metavar="TIME",
            help="Keep its workers running for so long, such as 5s or 2m; 0 until Ctrl-C. By default as long as the story takes.",
            show_default=False,
        ),
    ] = "",
    virtual: Annotated[
        bool, typer.Option("--virtual", help="On virtual time: the same story in milliseconds.")
    ] = False,
    log_level: LevelOption = LogLevel.error,
    trace: Annotated[bool, typer.Option("--trace", help="Show every decision, with its guards.")] = False,
    dump_store: Annotated[
        bool, typer.Option("--dump-store", help="Print what the store holds at the end, as JSON.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Perform a scenario: a story of real workers that shows one thing the runtime does, and checks it."""
    from setpoint.telemetry import configure

    configure(level=log_level.value)
    if list_all:
        _list(json=json)
        return
    found = _find(name)
    seconds = _seconds(duration, virtual=virtual)
    out = console(stderr=json or dump_store)
    live = Live(out, found, quiet=json and not trace)
    report = _perform(found, live, seconds, virtual=virtual, trace=trace)
    if json:
        print_json(_as_json(report, with_store=dump_store))
    else:
        for line in _verdict(report):
            out.print(line)
        if dump_store:
            print_json(report.store)
    raise typer.Exit(0 if report.ok else FAILED)


def _find(name: str) -> Scenario:
    from setpoint.testing.scenarios import find

    if not name:
        raise Trouble("which scenario?", "name one; 'setpoint scenario --list' has them all", code=USAGE)
    try:
        return find(name)
    except LookupError as error:
        raise Trouble(*str(error).split("; ", 1), code=USAGE) from None


def _seconds(text: str, *, virtual: bool) -> float | None:
    """The duration that was asked for. Raises `Trouble`."""
    if not text:
        return None
    seconds = seconds_of(text)
    if virtual and not seconds:
        raise Trouble("on virtual time there is nobody to end it", "leave out --virtual or --duration 0", code=USAGE)
    return seconds


def _perform(found: Scenario, live: Live, seconds: float | None, *, virtual: bool, trace: bool) -> Report:
    import asyncio

    from setpoint.cli.stopping import Stop
    from setpoint.testing.scenarios import on_virtual_time, perform

    live.begin(virtual=virtual)
    if virtual:
        return on_virtual_time(found, tell=live.tell, duration=seconds, trace=trace)
    with asyncio.Runner() as runner:
        stop = Stop(runner.get_loop())
        told = asyncio.Event()

        async def performance() -> Report:
            waiting = asyncio.ensure_future(_then_set(stop, told))
            try:
                return await perform(found, tell=live.tell, duration=seconds, told_to_stop=told, trace=trace)
            finally:
                waiting.cancel()

        return runner.run(performance())


async def _then_set(stop: Any, told: Any) -> None:
    await stop.wait()
    told.set()


class Live:
    """Tells what happens, a line for each transition."""

    def __init__(self, out: Console, found: Scenario, *, quiet: bool) -> None:
        self._out, self._found, self._quiet = out, found, quiet

    def begin(self, *, virtual: bool) -> None:
        if self._quiet:
            return
        from rich.text import Text

        takes = "on virtual time" if virtual else f"about {self._found.seconds:g} s; Ctrl-C stops it"
        self._out.print(Text.assemble((self._found.name, "bold"), f"  {self._found.shows}  ", (f"({takes})", "dim")))

    def tell(self, news: News) -> None:
        if self._quiet:
            return
        from setpoint.testing.scenarios import Remark

        whole = isinstance(news, Remark)
        for line in _news(news):
            self._out.print(line, no_wrap=not whole, overflow="fold" if whole else "ellipsis")


def _news(news: News) -> Iterator[Text]:
    from rich.text import Text

    from setpoint.testing.scenarios import Decided, Move, Remark

    at = (f"{news.at:8.2f} s  ", "dim")
    match news:
        case Remark(text=text):
            yield Text.assemble(at, (f"— {clean(text)}", "bold"))
        case Move(path=path, target=target, phase=phase, event=event, reason=reason):
            why = (clean(reason) if reason != event.replace("_", " ") else event, "dim")
            yield Text.assemble(at, f"{clean(path):<24} ", state_text(f"{target:<15}", phase), "  ", why)
        case Decided(path=path, state=state, lines=lines):
            yield Text.assemble(at, (f"{clean(path):<24} in {state}: {clean(lines[0])}", "dim"))
            for line in lines[1:]:
                yield Text(f"{'':12}{clean(line)}", style="dim")


def _verdict(report: Report) -> Iterator[Text]:
    """What was expected, ticked or crossed, and what came of it all."""
    from rich.text import Text

    yield Text()
    for check in report.checks:
        mark = ("✓", "green") if check.ok else ("✗", "bold red")
        yield Text.assemble(
            "  ", mark, f" {clean(check.text)}", (f"  {clean(check.found)}" if check.found else "", "dim")
        )
    failed = sum(not check.ok for check in report.checks)
    if report.cut:
        yield Text.assemble(
            "  ", ("✗", "bold red"), f" the story came to its end: it was cut short, {clean(report.cut)}"
        )
    took = f"{report.seconds:.1f} s" + (f" of virtual time in {report.took * 1000:.0f} ms" if report.virtual else "")
    what = f"{len(report.checks)} expectations, " + (f"{failed} not met" if failed else "all met")
    style = "green" if report.ok else "bold red"
    yield Text()
    yield Text.assemble((f"{report.scenario}: {what}", style), f"; {len(report.moves)} transitions, {took}")


def _as_json(report: Report, *, with_store: bool) -> dict[str, Any]:
    import msgspec

    data: dict[str, Any] = {"ok": report.ok, **msgspec.to_builtins(report)}
    if not with_store:
        del data["store"]
    return data


def _list(*, json: bool) -> None:
    from rich.table import Table

    from setpoint.testing.scenarios import NAMES, find

    scenarios = [find(name) for name in NAMES]
    if json:
        print_json([{"name": each.name, "shows": each.shows, "seconds": each.seconds} for each in scenarios])
        return
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, justify="right", style="dim")
    for each in scenarios:
        table.add_row(each.name, each.shows, f"about {each.seconds:g} s")
    console().print(table)
