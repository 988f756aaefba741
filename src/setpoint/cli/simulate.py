"""``setpoint simulate``: a config on virtual time, with faults, and a verdict. Nothing real is opened, reached or written."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.output import clean, console, duration, is_terminal, print_json
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from rich.text import Text

    from setpoint.testing.simulation import Fault, MakeScene, Outcome, Violation

SHORT_TIMELINE = 40
PROGRESS_EVERY_S = 0.2
ALIASES = {"hang": ("observe-hangs", "act-hangs"), "force": ("operator-force",)}


StandInOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stand-in", help="TYPE=MODULE:CLASS, a worker class without real I/O in place of a type of your own."
    ),
]


def _list_faults(wanted: bool) -> None:
    if not wanted:
        return
    from setpoint.agent.rehearsal import TROUBLES
    from setpoint.testing.simulation import GROUPS, KINDS

    for name, text in TROUBLES.items():
        print(f"world      {name:<18} {text}")
    for group in GROUPS:
        for name, kind in KINDS.items():
            if kind.group == group:
                print(f"{group:<10} {name}")
    raise typer.Exit


def simulate(
    target: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="A config.yaml, or MODULE:FUNCTION that sets up a scene of your own."),
    ],
    hours: Annotated[float, typer.Option("--hours", min=0.0, help="How long faults go on, in virtual time.")] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", help="What happens is drawn from it; the same seed, the same run.")
    ] = 0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Run so many seeds, one after the other.")] = 1,
    until_violation: Annotated[
        bool, typer.Option("--until-violation", help="Run seeds until a law is broken.")
    ] = False,
    faults: Annotated[
        str,
        typer.Option(
            "--faults", help="Kinds or groups of faults, separated by commas; all; or none. --list-faults names them."
        ),
    ] = "all",
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help="One fault, as a report writes it; instead of drawn ones. May be repeated."),
    ] = None,
    every: Annotated[
        float, typer.Option("--every", min=1.0, help="Mean seconds between two faults on one bridge or flow.")
    ] = 300.0,
    stand_in: StandInOption = None,
    timeline: Annotated[bool, typer.Option("--timeline", help="Print every move, however many there are.")] = False,
    list_faults: Annotated[
        bool,
        typer.Option("--list-faults", help="Name the kinds of faults, and end.", callback=_list_faults, is_eager=True),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run a config on virtual time with injected faults, and check that every promise is kept.

    Devices, flows and broker are models; the machines and the runtime are the real ones. Exit code 1 when a law is broken."""
    make_scene = _scene_maker(target, stand_in or ())
    options: dict[str, Any] = {"every": every}
    if fault:
        options["faults"] = _given(fault)
    else:
        options["kinds"] = _kinds(faults)
    outcome = _search(make_scene, hours * 3600, seed, None if until_violation else seeds, options)
    violation = _smaller(make_scene, outcome, hours * 3600, options)
    if json:
        print_json(_as_data(outcome, violation, target))
    else:
        _report(outcome, violation, target, whole=timeline)
        if (ran := outcome.seed - seed + 1) > 1 and violation is None:
            console().print(f"{ran} seeds ran, {seed} to {outcome.seed}; above is the last of them.")
    raise typer.Exit(FAILED if violation is not None else 0)


# what is simulated


def _scene_maker(target: str, stand_ins: Sequence[str]) -> MakeScene:
    if ":" in target and not Path(target).exists():
        make_scene: MakeScene = _imported(target, "where the function makes a Scene")
        return make_scene
    from setpoint.agent.rehearsal import rehearsal_of

    return rehearsal_of(tree_in(Path(target)), stand_ins=stand_ins_of(stand_ins))


def stand_ins_of(texts: Sequence[str]) -> dict[str, Any]:
    """The worker classes that ``--stand-in TYPE=MODULE:CLASS`` names, by type. Raises `Trouble`."""
    found = {}
    for text in texts:
        worker_type, sign, place = text.partition("=")
        if not sign or ":" not in place:
            raise Trouble(
                f"--stand-in {text!r} is not TYPE=MODULE:CLASS", "as in press=my_package.models:Press", code=USAGE
            )
        found[worker_type] = _imported(place, "where the class is a worker")
    return found


def _imported(place: str, expected: str) -> Any:
    import importlib

    module, _, name = place.partition(":")
    sys.path.insert(0, "")  # as `python -m` does
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Trouble(f"{place} cannot be loaded: {error}", f"name MODULE:NAME, {expected}") from None
    finally:
        sys.path.remove("")


def tree_in(file: Path) -> Any:
    """The tree of workers that a config asks for. Raises `Trouble` when it has errors: what is not in force cannot be rehearsed."""
    import os

    from setpoint.agent.checking import Checker
    from setpoint.agent.environment import BadEnvironment, programs_of, windows_of
    from setpoint.agent.tree import tree_of
    from setpoint.flows import FlowEngine
    from setpoint.namespace import EmbeddedBroker

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise Trouble(f"{file} cannot be read: {why}", "name a config.yaml") from None
    unopened = EmbeddedBroker(os.devnull)
    engine = FlowEngine(unopened, base=file.resolve().parent)
    found = Checker(source=str(file), env=os.environ, engine=engine, programs=programs_of(os.environ)).check(text)
    if found.errors:
        raise Trouble(str(found.errors[0]), f"see them all with: setpoint check {shlex.quote(str(file))}")
    try:
        return tree_of(found, windows_of(os.environ))
    except BadEnvironment as error:
        raise Trouble(str(error)) from None


def _kinds(text: str) -> list[str] | None:
    """The kinds that a list of kinds and groups names; None for all there are."""
    from difflib import get_close_matches

    from setpoint.agent.rehearsal import TROUBLES
    from setpoint.testing.simulation import KINDS

    if text == "all":
        return None
    groups: dict[str, tuple[str, ...]] = {"world": tuple(TROUBLES), **ALIASES}
    for name, kind in KINDS.items():
        groups[kind.group] = (*groups.get(kind.group, ()), name)
    found: dict[str, None] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name not in groups and name not in KINDS and name not in TROUBLES and name != "none":
            near = get_close_matches(name, [*KINDS, *TROUBLES, *groups], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "name them with: setpoint simulate --list-faults"
            raise Trouble(f"there is no kind of fault {name!r}", hint, code=USAGE)
        found |= dict.fromkeys(groups.get(name, () if name == "none" else (name,)))
    return list(found)


def _given(texts: Sequence[str]) -> list[Fault]:
    from setpoint.testing.simulation import Fault

    try:
        return [Fault.parse(text) for text in texts]
    except ValueError as error:
        raise Trouble(str(error), code=USAGE) from None


# running it


def _search(make_scene: MakeScene, seconds: float, first: int, seeds: int | None, options: dict[str, Any]) -> Outcome:
    """The first run that breaks a law, else the last one."""
    from setpoint.testing.simulation import NotSimulated, explore

    progress = _progress(seconds)
    numbers = count(first) if seeds is None else range(first, first + seeds)
    outcome = None
    try:
        for outcome in explore(make_scene, seconds=seconds, seeds=numbers, progress=progress, **options):
            progress(0.0)
            if outcome.violation is not None:
                break
    except NotSimulated as error:
        raise Trouble(str(error), "see docs/simulation.md: workers of your own") from None
    except KeyError as error:
        raise Trouble(f"there is no kind of fault or target {error}", "see: setpoint simulate --list-faults") from None
    except KeyboardInterrupt:
        if outcome is None:
            raise Trouble("interrupted before the first run had ended") from None
    finally:
        progress(-1.0)
    assert outcome is not None
    return outcome


def _progress(seconds: float) -> Callable[[float], None]:
    """Tell how far it has come, on a terminal, at most a few times a second. A negative time ends it."""
    if not sys.stderr.isatty():
        return lambda at: None
    told_at, runs = 0.0, 0

    def progress(at: float) -> None:
        nonlocal told_at, runs
        runs += at == 0.0
        now = time.monotonic()
        if at < 0:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        elif now - told_at > PROGRESS_EVERY_S:
            told_at = now
            print(
                f"\r\033[Krun {runs + 1}: {at / 3600:.1f} of {seconds / 3600:g} h", end="", file=sys.stderr, flush=True
            )

    return progress


def _smaller(make_scene: MakeScene, outcome: Outcome, seconds: float, options: dict[str, Any]) -> Violation | None:
    from setpoint.testing.simulation import shrink

    if outcome.violation is None:
        return None
    if options.get("faults"):  # they were given: what is asked for is this very run
        return outcome.violation
    return shrink(make_scene, outcome.violation, seconds=seconds, **options)


# telling it


def _report(outcome: Outcome, violation: Violation | None, target: str, *, whole: bool) -> None:
    from rich.text import Text

    out = console()
    run = outcome.simulation
    between = list(_timeline(outcome, run.comes_up_in, run.told_to_stop_at))
    if whole or len(between) <= SHORT_TIMELINE:
        for line in _timeline(outcome, 0.0, float("inf")) if whole else between:
            out.print(line)
    else:
        _summary(outcome)
        out.print(
            Text(f"{len(outcome.moves) + len(outcome.told)} moves and faults; see them with --timeline", style="dim")
        )
    if violation is None:
        length, faults = duration(outcome.seconds), len(outcome.faults)
        out.print(
            Text.assemble(
                ("No law broken", "bold green"),
                f" in {length} with {faults} fault{'s' * (faults != 1)}, {outcome.ticks:,} observations and {len(outcome.moves):,} moves "
                f"(seed {outcome.seed}).",
            )
        )
        return
    out.print(Text.assemble((f"Broken: {violation.law}", "bold red"), f", seed {violation.seed}"))
    for row in clean_lines(str(violation)):
        out.print(Text(row))
    out.print(Text.assemble("Repeat it with: ", (clean(_command(violation, target)), "bold")))


def clean_lines(text: str) -> list[str]:
    return [clean(line) for line in text.splitlines()]


def _command(violation: Violation, target: str) -> str:
    faults = [f"--fault {shlex.quote(str(fault))}" for fault in violation.faults]
    return " ".join(
        ["setpoint simulate", shlex.quote(target), f"--seed {violation.seed} --hours 0", *(faults or ["--faults none"])]
    )


def _timeline(outcome: Outcome, begin: float, end: float) -> Iterator[Text]:
    """Moves and what befell the run between two moments, in the order in which they happened."""
    from rich.text import Text

    from setpoint.cli.output import STYLES

    told = [(at, 0, index, text) for index, (at, text) in enumerate(outcome.told)]
    moved = [(move.at, 1, index, "") for index, move in enumerate(outcome.moves)]
    for at, is_move, index, text in sorted([*told, *moved]):
        if not begin <= at < end:
            continue
        if not is_move:
            yield Text.assemble((f"{clock_text(at)}  ", "dim"), (f"! {clean(text)}", "magenta"))
            continue
        move = outcome.moves[index]
        yield Text.assemble(
            (f"{clock_text(at)}  ", "dim"),
            f"{clean(move.path)}  {move.source} → ",
            (move.target, STYLES.get(move.phase, "dim")),
            (f"  {clean(move.reason)}", "dim"),
        )


def clock_text(seconds: float) -> str:
    """Virtual time: ``02:05:07.25``."""
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{seconds % 60:05.2f}"


def _summary(outcome: Outcome) -> None:
    from rich.table import Table

    from setpoint.agent.rehearsal import summarised

    table = Table(box=None, pad_edge=False, header_style="bold", expand=is_terminal())
    table.add_column("worker", overflow="fold", min_width=24, ratio=3)
    for name in ("moves", "well", "longest not"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("then", overflow="ellipsis", no_wrap=True, style="dim", ratio=4)
    for lived in summarised(outcome.moves, until=outcome.seconds):
        table.add_row(
            clean(lived.path), str(lived.moves), f"{lived.well:.1%}", f"{lived.longest:.0f} s", clean(lived.worst)
        )
    console().print(table)


def _as_data(outcome: Outcome, violation: Violation | None, target: str) -> dict[str, Any]:
    from setpoint.agent.rehearsal import summarised

    broken = None
    if violation is not None:
        broken = {
            "law": violation.law,
            "worker": violation.path,
            "at": violation.at,
            "text": violation.text,
            "faults": [str(fault) for fault in violation.faults],
            "moves": [move._asdict() for move in violation.moves],
            "command": _command(violation, target),
        }
    return {
        "seed": outcome.seed,
        "seconds": outcome.seconds,
        "observations": outcome.ticks,
        "violation": broken,
        "faults": [str(fault) for fault in outcome.faults],
        "told": [{"at": at, "what": text} for at, text in outcome.told],
        "workers": [lived._asdict() for lived in summarised(outcome.moves, until=outcome.seconds)],
        "moves": [move._asdict() for move in outcome.moves],
    }
