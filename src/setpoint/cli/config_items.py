"""What ``setpoint bridge`` and ``setpoint flow`` have in common: a list of items, and one item in an editor."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from setpoint.cli.config_edit import Aim, How, as_trouble, carry_out, finish, opened, say
from setpoint.cli.output import clean, console, print_json
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.agent.config import Bridge, Flow
    from setpoint.agent.editing import Kind

MAX_BYTES = 10_000_000


class State(StrEnum):
    """What an item may be wanted to be."""

    active = "active"
    stopped = "stopped"


class Row(NamedTuple):
    """One item as it is listed. `device` is "" for a flow, `errors` are those of the file that concern it."""

    name: str
    state: str
    device: str
    reads: str
    writes: str
    location: str
    template: str
    errors: list[str]


def list_items(kind: Kind, file: Path | None, *, json: bool) -> None:
    """Print the items of a config, those with an error among them. Raises `Trouble`, and ends with exit code 1 where one has an error."""
    from setpoint.agent.editing import names
    from setpoint.agent.editing_check import checked

    edit = opened(file)
    with as_trouble():
        known = names(edit.text, kind)
    found = checked(edit.text, edit.file, os.environ)
    items: Mapping[str, Bridge | Flow] = {
        item.name: item for item in (found.configuration.bridges if kind == "bridge" else found.configuration.flows)
    }
    rows = [_row(name, items.get(name), [str(error) for error in found.errors if error.item == name]) for name in known]
    if json:
        print_json([row._asdict() for row in rows])
    else:
        _print(kind, rows)
        say(found.errors)
    raise typer.Exit(FAILED if found.errors else 0)


def _row(name: str, item: Bridge | Flow | None, errors: list[str]) -> Row:
    if item is None:
        return Row(name, "", "", "", "", "", "", errors or ["not read because of an error elsewhere in the file"])
    flow = getattr(item, "flow", None)
    if flow is not None:
        return Row(name, item.desired_state, "", _kind(flow, "input"), _kind(flow, "output"), "", "", errors)
    bridge: Any = item
    return Row(
        name,
        item.desired_state,
        f"{bridge.target}:{bridge.port}",
        _kind(bridge.read, "input"),
        _kind(bridge.write, "output"),
        bridge.location_path,
        bridge.template or "",
        errors,
    )


def _kind(flow: Mapping[str, Any] | None, end: str) -> str:
    """The kind of component at one end of a flow."""
    section = (flow or {}).get(end)
    return next((str(key) for key in section if key != "label"), "") if isinstance(section, Mapping) else ""


def _print(kind: Kind, rows: list[Row]) -> None:
    from rich.table import Table

    if not rows:
        print(f"no {kind}s")
        return
    columns = ["name", "state", *(["device"] if kind == "bridge" else []), "reads", "writes"]
    columns += ["template", "location"] if kind == "bridge" else []
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = {**row._asdict(), "state": "error" if row.errors else row.state}
        table.add_row(*(clean(cells[column]) or "-" for column in columns))
    console().print(table)


def yaml_file(name: str) -> dict[str, Any]:
    """The mapping in a YAML file; - is stdin. Raises `Trouble`."""
    from setpoint.configfile import Mapping as MappingNode
    from setpoint.configfile import compose, plain

    try:
        content = sys.stdin.buffer.read(MAX_BYTES + 1) if name == "-" else Path(name).read_bytes()
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Trouble(f"{name} is not UTF-8 text: byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise Trouble(f"{name} cannot be read: {error.strerror}", "name a YAML file", code=USAGE) from None
    root, faults = compose(text)
    if faults:
        raise Trouble(f"{name}:{faults[0].mark.line}: {faults[0].message}", faults[0].hint)
    if not isinstance(root, MappingNode):
        raise Trouble(f"{name} is no mapping", "begin it with the name of a component, or with 'input:'")
    values: dict[str, Any] = plain(root)
    return values


def remove_item(how: How, kind: Kind, name: str) -> None:
    """Take the item out of the file. Raises `Trouble`."""
    from setpoint.agent.editing import without_item

    aim = Aim(f"agent/{kind}s/{name}", "gone")
    carry_out(how, lambda text: without_item(text, kind, name), done=f"{kind} {name} removed", aim=aim)


def edit_text(how: How, kind: Kind, name: str, aim: Aim) -> None:
    """Let the user edit the item's own lines in an editor, and put them back.

    Raises `Trouble`; what was typed is kept then, and said where."""
    from setpoint.agent.editing import place_of
    from setpoint.configfile.editing import text_of, with_text

    command = _editor()
    edit = opened(how.file)
    with as_trouble():
        place = place_of(edit.text, kind, name)
        before = text_of(edit.text, place)
    draft = _draft(before, kind, name)
    try:
        _run(command, draft)
        typed = draft.read_text(encoding="utf-8")
        with as_trouble():
            new = edit.text if typed == before else with_text(edit.text, place, typed)
        finish(how, edit, new, done=f"{kind} {name} changed", aim=aim)
    except Trouble as trouble:
        if not draft.exists() or draft.read_bytes() == before.encode():
            draft.unlink(missing_ok=True)
            raise
        raise Trouble(
            trouble.error, f"{trouble.remedy}; what you typed is in {draft}".lstrip("; "), code=trouble.code
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise Trouble(f"what the editor wrote cannot be read: {error}", f"it would be in {draft}") from None
    draft.unlink(missing_ok=True)


def _editor() -> list[str]:
    import shlex

    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("vi" if sys.stdin.isatty() else ""))
    if not command:
        raise Trouble("there is nothing to change", "give options, such as --target, or set $EDITOR", code=USAGE)
    return command


def _draft(text: str, kind: Kind, name: str) -> Path:
    """A file of one's own with the text: it may contain passwords."""
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix=f"setpoint-{kind}-{name}-", suffix=".yaml")
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    return Path(path)


def _run(command: list[str], draft: Path) -> None:
    import subprocess

    try:
        code = subprocess.run([*command, str(draft)], check=False).returncode
    except OSError as error:
        raise Trouble(f"the editor {command[0]!r} cannot be run: {error.strerror}", "set $EDITOR") from None
    if code != 0:
        raise Trouble(f"the editor ended with exit code {code}; nothing was written", "save, and leave it in order")
