"""The prompt of ``setpoint debug``: reads commands, from a terminal or a pipe, and does them.

Nothing that is typed ends the session but ``quit`` and the end of the input: a wrong expression, a place there is not, a run that cannot go
on are said, and the next command is read. An empty line does the last command again. Ctrl-C breaks off what a command is doing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.text import Text

from setpoint.cli.debug_shown import (
    BAD,
    PAST,
    change_lines,
    drawing,
    headline,
    standing,
    value_text,
    watch_line,
    ways_table,
)
from setpoint.cli.output import clean, console, print_json
from setpoint.cli.told import plain

if TYPE_CHECKING:
    from setpoint.data.debug import Debugger, Moment

PROMPT: Final = "debug> "


class Wrong(Exception):
    """A command that cannot be done as it was typed; the message says why."""


class Command(NamedTuple):
    """What can be typed. `short` is its short form."""

    name: str
    short: str
    takes: str
    does: str


COMMANDS: Final = tuple(
    Command(*line)
    for line in (
        ("next", "n", "[N]", "to the next state, over networks that are pushed on the way"),
        ("step", "s", "[N]", "to the next state, into networks"),
        ("arc", "a", "", "to the next arc or state: calls the state's functions, or the arc's"),
        ("out", "o", "", "out of this network"),
        ("continue", "c", "", "to the next breakpoint, or the end"),
        ("end", "e", "", "to the end, whatever breakpoints there are"),
        ("back", "b", "[N]", "back, over networks; nothing is undone outside the record"),
        ("forth", "f", "[N]", "forth again, after back; nothing is called"),
        ("goto", "g", "N", "to the moment N: moments lists them"),
        ("restart", "", "", "from the first record again"),
        ("break", "br", "[PLACE] [if EXPR]", "stop there: a state, an arc a->b; without arguments: list"),
        ("clear", "cl", "N", "remove breakpoint N"),
        ("watch", "wa", "[EXPR]", "show it whenever it changes; without arguments: list"),
        ("unwatch", "", "EXPR", "watch it no longer"),
        ("print", "p", "EXPR", "the value of an expression over the record, or of a dotted path"),
        ("record", "r", "", "the whole record"),
        ("diff", "d", "[N]", "what changed since the last state, or since moment N"),
        ("set", "", "FIELD = VALUE", "change the record: VALUE is JSON, or an expression"),
        ("arcs", "", "", "the ways out of here, which are open, and why"),
        ("where", "w", "", "the state, the networks it is in, the path to it"),
        ("tokens", "t", "", "all records of this run that are on their way"),
        ("moments", "m", "", "the moments one can go back to"),
        ("list", "l", "[all]", "the machine, with the present state marked"),
        ("send", "", "EVENT [JSON]", "send an event to the record that waits"),
        ("help", "h", "", "this list"),
        ("quit", "q", "", "leave"),
    )
)


class Session:
    """One debugger at one prompt. `failed` says whether a command could not be done."""

    def __init__(self, debugger: Debugger) -> None:
        self.debugger = debugger
        self.out = console()
        self.failed = False
        self._last = ""
        names = {name: command.name for command in COMMANDS for name in (command.name, command.short) if name}
        self._known: dict[str, Callable[[str], object]] = {
            name: getattr(self, f"do_{wanted}") for name, wanted in names.items() if wanted != "quit"
        }

    def run(self) -> None:
        """Reads and does commands until there are no more."""
        self.show()
        lines = _typed(self._names()) if sys.stdin.isatty() else _piped()
        for line in lines:
            text = line.strip() or self._last
            if text in ("q", "quit", "exit"):
                return
            self._last = text
            if text:
                self.do(text)

    def do(self, text: str) -> None:
        """One command. What is wrong with it is said."""
        name, _, rest = text.partition(" ")
        try:
            self._meant(name)(rest.strip())
        except KeyboardInterrupt:
            self._wrong(f"interrupted: the run stands at moment {self.debugger.moment.number}")
        except KeyError as error:
            self._wrong(str(error.args[0]) if error.args else repr(error))
        except Exception as error:  # whatever was typed, and whatever a checkpoint or a resource raises
            known = isinstance(error, Wrong | ValueError)
            self._wrong(str(error) if known else f"{type(error).__name__}: {error}")

    def _meant(self, name: str) -> Callable[[str], object]:
        """The command of that name, or the only one whose name begins so."""
        if name in self._known:
            return self._known[name]
        begin = [command.name for command in COMMANDS if command.name.startswith(name) and command.name in self._known]
        if len(begin) != 1:
            many = f"{name!r} may be {' or '.join(begin)}" if begin else f"there is no command {name!r}"
            raise Wrong(f"{many}: help lists all")
        return self._known[begin[0]]

    def _wrong(self, text: str) -> None:
        self.failed = True
        self.out.print(Text(f"✗ {clean(text)}", style=BAD))

    def show(self, before: Moment | None = None) -> None:
        """Where the run stands, and what changed since it stood at `before`."""
        self._print(standing(self.debugger, before))

    def _print(self, lines: Iterator[Text]) -> None:
        for line in lines:
            self.out.print(line)

    def _names(self) -> list[str]:
        plan = self.debugger.plan
        return [*sorted(self._known), *(row.label for row in plan.rows)]

    # moves

    def do_next(self, rest: str) -> None:
        self._repeat(self.debugger.step_over, rest)

    def do_step(self, rest: str) -> None:
        self._repeat(self.debugger.step, rest)

    def do_arc(self, rest: str) -> None:
        self._repeat(self.debugger.step_arc, rest)

    def do_out(self, rest: str) -> None:
        self._repeat(self.debugger.step_out, rest)

    def do_continue(self, rest: str) -> None:
        self._repeat(self.debugger.continue_, rest)

    def do_end(self, rest: str) -> None:
        before = self.debugger.moment
        self.debugger.run()
        self.show(before)

    def do_back(self, rest: str) -> None:
        self.debugger.back(_count(rest), over=True)
        self.show()

    def do_forth(self, rest: str) -> None:
        self.debugger.forth(_count(rest), over=True)
        self.show()

    def do_goto(self, rest: str) -> None:
        if not rest.isdecimal():
            raise Wrong("goto takes the number of a moment: moments lists them")
        self.debugger.go(int(rest))
        self.show()

    def do_restart(self, rest: str) -> None:
        self.debugger.restart()
        self.show()

    def do_send(self, rest: str) -> None:
        event, _, data = rest.partition(" ")
        if not event:
            raise Wrong('send takes the name of an event, and what comes with it as JSON: send approved {"by": "Ada"}')
        self.debugger.send(event, self._value(data) if data.strip() else None)
        self.show()

    def _repeat(self, move: Callable[[], Any], rest: str) -> None:
        """So many moves; fewer where a breakpoint or the end is met."""
        before = self.debugger.moment
        for _ in range(_count(rest)):
            moment = move()
            if moment.result is not None or moment.reason != "step":
                break
        self.show(before)

    # breakpoints and watches

    def do_break(self, rest: str) -> None:
        if rest:
            made = add_breakpoint(self.debugger, rest)
            self.out.print(f"breakpoint {made.number} at {clean(made)}")
            return
        if not self.debugger.breakpoints:
            self.out.print(Text("no breakpoints: break STATE, break A->B, break STATE if EXPR", style=PAST))
        for one in self.debugger.breakpoints:
            line = Text(f"{one.number:>3} {clean(one)}").append(f"  {one.hits} hits", style=PAST)
            self.out.print(line.append(f"  {clean(one.fault)}" if one.fault else "", style=PAST))

    def do_clear(self, rest: str) -> None:
        taken = self.debugger.breakpoints.take(_count(rest))
        self.out.print(f"breakpoint {taken.number} at {clean(taken)} is removed")

    def do_watch(self, rest: str) -> None:
        if rest:
            self.debugger.watch(rest)
        self._print(map(watch_line, self.debugger.watches))

    def do_unwatch(self, rest: str) -> None:
        self.debugger.unwatch(rest)

    # looking

    def do_print(self, rest: str) -> None:
        from setpoint.data.debug.reading import reading

        if not rest:
            raise Wrong("print takes an expression or a path: p total * 2, p lines.0.sku")
        print_json(plain(reading(rest)(self.debugger.record)))

    def do_record(self, rest: str) -> None:
        print_json(plain(self.debugger.record))

    def do_diff(self, rest: str) -> None:
        if rest and not rest.isdecimal():
            raise Wrong("diff takes the number of a moment: moments lists them")
        changes = self.debugger.diff(int(rest) if rest else None)
        self._print(change_lines(changes))
        if not changes:
            self.out.print(Text("nothing has changed", style=PAST))

    def do_set(self, rest: str) -> None:
        path, equals, text = rest.partition("=")
        if not equals or not path.strip():
            raise Wrong('set takes a field and a value: set total = 40, set customer.name = "Ada"')
        self.debugger.set(path.strip(), self._value(text))
        self._print(watch_line(watch) for watch in self.debugger.watches if watch.changed)
        self.out.print(Text(f"{clean(path.strip())} = {value_text(self._value(path))}"))

    def _value(self, text: str) -> Any:
        import msgspec

        from setpoint.data.debug.reading import reading

        try:
            return msgspec.json.decode(text.strip())
        except msgspec.DecodeError:
            return reading(text.strip())(self.debugger.record)

    def do_arcs(self, rest: str) -> None:
        moment = self.debugger.moment
        ways = self.debugger.ways()
        token = moment.token
        early = token is not None and not (moment.arc or moment.inside) and bool(self.debugger.plan.row_of(token).steps)
        if early:
            self.out.print(Text("for the record as it is before the functions of the state:", style=PAST))
        self.out.print(ways_table(ways, early=early) if ways else Text("no arc leads out of here", style=PAST))

    def do_where(self, rest: str) -> None:
        moment = self.debugger.moment
        self.out.print(headline(moment))
        for pushed in moment.pushed:
            self.out.print(Text(f"      pushed by {clean(pushed)}"))
        if moment.path:
            self.out.print(Text(f"      {clean(' → '.join(moment.path))}", style=PAST))

    def do_tokens(self, rest: str) -> None:
        plan = self.debugger.plan
        for number, token in enumerate(self.debugger.moment.tokens):
            line = Text("▶ " if number == 0 else "  ").append(clean(plan.row_of(token).label))
            self.out.print(line.append(f"  {value_text(token.record)}", style=PAST))
        for end in self.debugger.moment.progress.ends:
            self.out.print(Text(f"■ {clean(end.final_state)}  {value_text(end.data)}", style=PAST))

    def do_moments(self, rest: str) -> None:
        here = self.debugger.moment
        for moment in self.debugger.moments:
            self.out.print(headline(moment, here=moment is here))

    def do_list(self, rest: str) -> None:
        broken = {place for one in self.debugger.breakpoints for place in one.states or ()}
        self._print(drawing(self.debugger.plan, self.debugger.moment, broken, everything=rest == "all"))

    def do_help(self, rest: str) -> None:
        for name, short, takes, does in COMMANDS:
            self.out.print(Text(f"{name:<9}{short:<3}").append(f"{takes:<18} ").append(does, style=PAST))
        self.out.print(Text("an empty line does the last command again", style=PAST))


def add_breakpoint(debugger: Debugger, text: str) -> Any:
    """The breakpoint of a text ``PLACE``, ``PLACE if EXPR`` or ``if EXPR``. Raises as `Debugger.add_breakpoint`."""
    place, found, when = f" {text}".partition(" if ")
    return debugger.add_breakpoint(place.strip(), when=when.strip() if found else "")


def _count(text: str) -> int:
    if not text:
        return 1
    if not text.isdecimal() or not 0 < int(text) < 1_000_000:
        raise Wrong(f"{text!r} is not a number of them: 1, 2, 3")
    return int(text)


def _typed(names: list[str]) -> Iterator[str]:
    """Lines typed at a terminal, with history and completion where there is readline. Ctrl-C throws a line away, Ctrl-D is the end."""
    try:
        import readline
    except ImportError:
        pass
    else:
        readline.set_completer(lambda text, at: [*[name for name in names if name.startswith(text)], None][at])
        readline.set_completer_delims(" ")
        readline.parse_and_bind("tab: complete")
    while True:
        try:
            yield input(PROMPT)
        except KeyboardInterrupt:
            print("\nquit or Ctrl-D leaves")
        except EOFError:
            print()
            return


def _piped() -> Iterator[str]:
    """Lines of a pipe, shown as they are read."""
    for line in sys.stdin:
        print(f"{PROMPT}{clean(line.rstrip())}", flush=True)
        yield line
