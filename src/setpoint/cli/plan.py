"""``setpoint plan``: what a changed config would cause, before it does. Nothing is applied, opened or written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.output import MARKS, STYLES, clean, console, duration, is_terminal, print_json
from setpoint.cli.simulate import StandInOption, stand_ins_of, tree_in
from setpoint.cli.trouble import FAILED, Trouble
from setpoint.places import DATA, LAST_GOOD, STORE

if TYPE_CHECKING:
    from setpoint.agent.rehearsal import Planned, Planning
    from setpoint.store import SqliteStore, Step

HALF_STEPS = ("create", "remove")
"""Moves that another follows at once, which says the same."""


def plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The config.yaml as it would be.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="The agent's data directory; .setpoint beside the config by default.")
    ] = None,
    stand_in: StandInOption = None,
    json: JsonOption = False,
) -> None:
    """Print the moves that a changed config would cause from where everything stands now, and what would block them.

    Exit code 1 when something would not get to where it is wanted."""
    from setpoint.agent.rehearsal import plan_of
    from setpoint.testing.simulation import NotSimulated

    after = tree_in(config)
    where = data or config.parent / DATA
    store, before, stand = _now(where)
    try:
        planning = plan_of(before, after, store, stand_ins=stand_ins_of(stand_in or ()))
    except NotSimulated as error:
        raise Trouble(str(error), "name one with --stand-in TYPE=MODULE:CLASS") from None
    finally:
        if store is not None:
            store.close()
    if json:
        print_json(_as_data(planning, stand))
    else:
        _print(planning, f"Plan for {config}, {stand}.")
    raise typer.Exit(FAILED if planning.blocked else 0)


def _now(where: Path) -> tuple[SqliteStore | None, Any, str]:
    """The store of the agent, the tree it runs, and in words where that was found. Raises `Trouble` for a store that cannot be read."""
    import time

    from setpoint.store import NewerSchema, NotAStore, SqliteStore

    if not (where / STORE).is_file() or not (where / LAST_GOOD).is_file():
        return None, [], f"from nothing: no agent has run with its data in {where}"
    try:
        store = SqliteStore(where / STORE, read_only=True)
    except (NotAStore, NewerSchema, OSError) as error:
        raise Trouble(
            f"{where / STORE} cannot be read: {error}", "name the agent's data directory with --data"
        ) from None
    alive = store.alive_at
    seen = f", {duration(time.time() - alive)} ago" if alive is not None else ""
    return store, tree_in(where / LAST_GOOD), f"from where the agent in {where} last stood{seen}"


def _print(planning: Planning, title: str) -> None:
    from rich.text import Text

    out = console()
    out.print(Text(clean(title), style="bold"))
    if not planning.moves and not planning.settings:
        out.print("Nothing would change.")
    else:
        _print_moves(planning)
    for name in planning.settings:
        out.print(Text(f"{clean(name)} takes its new settings without a move."))
    for row in planning.blocked:
        out.print(Text.assemble(("Blocked: ", "bold red"), clean(f"{row.path} would be {row.state}: {row.why}")))
    out.print(Text(f"Assumed: {clean('; '.join(planning.assumed))}.", style="dim"))


def _print_moves(planning: Planning) -> None:
    from rich.table import Table
    from rich.text import Text

    moves = [move for move in planning.moves if move.event not in HALF_STEPS]
    if not moves:
        return
    narrow = is_terminal()  # where a worker comes from stands in its row before, and all are of one agent
    known = any(move.before is not None for move in moves)
    table = Table(box=None, pad_edge=False, header_style="bold", expand=narrow)
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("worker", overflow="fold", ratio=3)
    table.add_column("move", overflow="fold", ratio=3)
    if known:
        table.add_column("took before", no_wrap=True)
    table.add_column("why", overflow="fold", style="dim", ratio=4)
    for move in moves:
        source = "→ " if narrow else f"{move.source} → "
        target = f"{MARKS.get(move.phase, '')} {move.target}".strip()
        table.add_row(
            f"{move.after:.1f} s",
            clean(move.path.partition("/")[2] if narrow else move.path),
            Text.assemble(source, (target, STYLES.get(move.phase, "dim"))),
            *([_before(move.before)] if known else []),
            clean(move.reason),
        )
    console().print(table)


def _before(step: Step | None) -> str:
    """How long the step took: in the middle of so many times."""
    return "" if step is None else f"{step.median:.1f} s ({step.count} ×)"


def _as_data(planning: Planning, stand: str) -> dict[str, Any]:
    return {
        "from": stand,
        "changes": bool(planning.moves or planning.settings),
        "moves": [_move(move) for move in planning.moves],
        "settings": list(planning.settings),
        "blocked": [row._asdict() for row in planning.blocked],
        "assumed": list(planning.assumed),
    }


def _move(move: Planned) -> dict[str, Any]:
    from msgspec import to_builtins

    return {**move._asdict(), "before": to_builtins(move.before)}
