"""``setpoint config``: look at a config file and change it, value by value, and go back to what it said before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.config_edit import (
    DryRunOption,
    FileOption,
    How,
    JsonOption,
    TimeoutOption,
    UrlOption,
    WaitOption,
    as_data,
    as_trouble,
    carry_out,
    finish,
    opened,
    print_lines,
    say,
)
from setpoint.cli.output import clean, console, moment, print_json
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.agent.editing_backups import Backup
    from setpoint.agent.editing_file import Edit

app = typer.Typer(help="Look at a config file, change it, and go back to what it said before.", no_args_is_help=True)

PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Keys with dots between, and names of list entries: protocolConverter.press-1.desiredState.",
    ),
]
WhichArgument = Annotated[
    str,
    typer.Argument(metavar="N|NAME", help="Which backup: 1 is the newest, or its name as 'config backups' lists it."),
]


@app.command("get")
def get(
    path: Annotated[str, typer.Argument(metavar="PATH", help="As for 'config set'; without it, the whole file.")] = "",
    file: FileOption = None,
    json: JsonOption = False,
) -> None:
    """Print what stands at a path, as it is written; of secrets only that they are there."""
    from setpoint.agent.editing_shown import shown
    from setpoint.configfile.editing import text_of

    edit = opened(file)
    with as_trouble():
        text = shown(edit.text)
        if json:
            print_json(_value(text, path))
        elif not path:
            print_lines(text.splitlines())
        else:
            print_lines(_written(text, path, text_of))


def _written(text: str, path: str, text_of: Any) -> list[str]:
    """The lines at a path; what stands behind an alias is written out."""
    from setpoint.configfile.editing import NotEditable, block, parse_path, spans, way_to

    steps = parse_path(path)
    way = way_to(spans(text), steps)
    if way.rest or way.node.kind == "alias":
        value = _value(text, path)
        return block(value) if isinstance(value, dict | list) and value else ["" if value is None else str(value)]
    if way.node.kind == "scalar":
        return way.node.text.splitlines()
    try:
        written: str = text_of(text, steps)
        return written.splitlines()
    except NotEditable:
        return block(_value(text, path))


def _value(text: str, path: str) -> Any:
    """The value at a path, through aliases and merges. Raises `NotEditable` where there is none."""
    from setpoint.configfile import compose, plain
    from setpoint.configfile.editing import NotEditable, parse_path

    root, _ = compose(text)
    value = plain(root) if root is not None else None
    for step in parse_path(path) if path else ():
        if isinstance(value, list):
            named = [each for each in value if isinstance(each, dict) and str(each.get("name")) == step]
            number = int(step) if step.isascii() and step.isdigit() else len(value)
            value = (named or value[number : number + 1] or [None])[0]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise NotEditable(f"there is no {path}", "see what there is above it with 'setpoint config get'")
    return value


@app.command("set")
def set_(
    path: PathArgument,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help='YAML: 5 is a number, "5" in quotes a text, {a: 1} a mapping.')
    ],
    text: Annotated[
        bool, typer.Option("--text", help="Take VALUE as a text as it is, whatever it looks like.")
    ] = False,
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Put a value at a path. What leads there is made where it is missing."""
    from setpoint.configfile.editing import parse_path, with_value

    meant = value if text else _meant(value)
    with as_trouble():
        steps = parse_path(path)
    how = How(file, dry_run, json, wait, timeout, url)
    carry_out(how, lambda text: with_value(text, steps, meant), done=f"{path} is set")


def _meant(value: str) -> Any:
    """The YAML that somebody typed; several lines that are one text are not folded into one. Raises `Trouble`."""
    from setpoint.configfile import Scalar, compose, plain

    root, faults = compose(value)
    if faults:
        raise Trouble(
            f"the value is no YAML: {faults[0].message}",
            "put it in quotes, or take it as a text with --text",
            code=USAGE,
        )
    if root is None:
        return None if value.strip() in ("~", "null") else ""
    lines = isinstance(root, Scalar) and "\n" in value.strip() and value.lstrip()[0] not in "\"'|>&!"
    return value if lines else plain(root)


@app.command("unset")
def unset(
    path: PathArgument,
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Remove what stands at a path: a key with its value, or an entry of a list."""
    from setpoint.configfile.editing import parse_path, without

    with as_trouble():
        steps = parse_path(path)
    how = How(file, dry_run, json, wait, timeout, url)
    carry_out(how, lambda text: without(text, steps), done=f"{path} is removed")


@app.command("validate")
def validate(file: FileOption = None, json: JsonOption = False) -> None:
    """List everything that is wrong with the file.

    Exit code 1 when there is an error."""
    from setpoint.agent.editing_check import checked

    edit = opened(file)
    found = checked(edit.text, edit.file, os.environ)
    if json:
        print_json([as_data(problem) for problem in found.problems])
    else:
        say(found.problems)
        count = len(found.errors)
        print(clean(f"{edit.file}: {count or 'no'} error{'s' * (count != 1)}"))
    raise typer.Exit(FAILED if found.errors else 0)


@app.command("backup")
def backup(file: FileOption = None, json: JsonOption = False) -> None:
    """Keep what the file says now. Each write by a command does that before it."""
    edit = opened(file)
    with as_trouble():
        kept = edit.keep()
    print_json(_as_data(1, kept)) if json else print(clean(kept.name))


@app.command("backups")
def backups(file: FileOption = None, json: JsonOption = False) -> None:
    """List what the file said before each write, the newest first."""
    from rich.table import Table

    from setpoint.cli.output import ago

    edit = opened(file)
    kept = list(enumerate(_all(edit), start=1))
    if json:
        print_json([_as_data(number, each) for number, each in kept])
        return
    if not kept:
        print(clean(f"there are no backups of {edit.file} yet"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("", "name", "kept", "bytes"):
        table.add_column(column, justify="right" if column in ("", "bytes") else "left", no_wrap=True)
    for number, each in kept:
        table.add_row(str(number), each.name, f"{ago(moment(each.at / 1e9))} ago", f"{each.size:,}")
    console().print(table)


@app.command("restore")
def restore(
    which: WhichArgument = "1",
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Let the file say again what it said before; without N, before the last write. What it says now is kept first."""
    how = How(file, dry_run, json, wait, timeout, url)
    edit = opened(file)
    chosen = _found(edit, which)
    finish(how, edit, _text(chosen), done=f"says again what it said in {chosen.name}")


@app.command("diff")
def diff(which: WhichArgument = "1", file: FileOption = None, json: JsonOption = False) -> None:
    """Show what changed since a backup; without N, by the last write."""
    from setpoint.agent.editing_shown import difference

    edit = opened(file)
    chosen = _found(edit, which)
    lines = difference(_text(chosen), edit.text, names=(chosen.name, str(edit.file)))
    print_json({"backup": chosen.name, "file": str(edit.file), "changes": lines}) if json else print_lines(lines)


def _all(edit: Edit) -> list[Backup]:
    try:
        return edit.backups.all()
    except OSError as error:
        raise Trouble(f"the backups cannot be read: {error.strerror}", f"they are in {edit.backups.folder}") from None


def _found(edit: Edit, which: str) -> Backup:
    kept = _all(edit)
    found = edit.backups.find(which)
    if found is None:
        there = f"there are {len(kept)}; list them with 'setpoint config backups'" if kept else "none was kept yet"
        raise Trouble(f"there is no backup {which!r} of {edit.file}", there)
    return found


def _text(kept: Backup) -> str:
    try:
        return kept.text()
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"the backup {kept.path} cannot be read: {error}", "choose another") from None


def _as_data(number: int, kept: Backup) -> dict[str, Any]:
    return {
        "number": number,
        "name": kept.name,
        "at": moment(kept.at / 1e9),
        "bytes": kept.size,
        "path": str(kept.path),
    }
