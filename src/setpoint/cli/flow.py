"""``setpoint flow``: add, edit, remove and list the stand-alone flows of a config file."""

from __future__ import annotations

from typing import Annotated

import typer

from setpoint.cli.config_edit import (
    Aim,
    DryRunOption,
    FileOption,
    How,
    JsonOption,
    TimeoutOption,
    UrlOption,
    WaitOption,
    carry_out,
)
from setpoint.cli.config_items import State, edit_text, list_items, remove_item, yaml_file

app = typer.Typer(help="Add, edit, remove and list stand-alone flows in a config file.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of the flow.")]


@app.command("add")
def add(
    name: NameArgument,
    flow: Annotated[
        str, typer.Argument(metavar="FLOW", help="A YAML file with input, pipeline and output; - for stdin.")
    ],
    state: Annotated[State, typer.Option("--state", help="Whether it is to run.")] = State.active,
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Add a flow, in the shape that Benthos uses."""
    from setpoint.agent.editing import with_flow

    written = yaml_file(flow)
    carry_out(
        How(file, dry_run, json, wait, timeout, url),
        lambda text: with_flow(text, name, written, state=state.value),
        done=f"flow {name} added",
        aim=Aim(f"agent/flows/{name}", state.value),
    )


@app.command("edit")
def edit(
    name: NameArgument,
    flow: Annotated[
        str | None,
        typer.Option(
            "--flow", metavar="FLOW", help="A YAML file that takes the place of what it does.", show_default=False
        ),
    ] = None,
    state: Annotated[State | None, typer.Option("--state", help="Whether it is to run.", show_default=False)] = None,
    rename: Annotated[str, typer.Option("--rename", metavar="NAME", help="Its new name.", show_default=False)] = "",
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Change a flow by options; without any, in $VISUAL or $EDITOR."""
    how = How(file, dry_run, json, wait, timeout, url)
    now = rename or name
    aim = Aim(f"agent/flows/{now}", (state or State.active).value)
    if flow is None and state is None and not rename:
        edit_text(how, "flow", name, aim)
        return
    written = None if flow is None else yaml_file(flow)

    def change(text: str) -> str:
        from setpoint.agent.editing import SERVICE, place_of, renamed
        from setpoint.configfile.editing import with_value

        place = place_of(text, "flow", name)
        if written is not None:
            text = with_value(text, (*place, SERVICE["flow"], "benthos"), written)
        if state is not None:
            text = with_value(text, (*place, "desiredState"), state.value)
        return renamed(text, "flow", name, rename) if rename and rename != name else text

    carry_out(how, change, done=f"flow {now} changed", aim=aim)


@app.command("remove")
def remove(
    name: NameArgument,
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Remove a flow."""
    remove_item(How(file, dry_run, json, wait, timeout, url), "flow", name)


@app.command("list")
def list_(file: FileOption = None, json: JsonOption = False) -> None:
    """List the flows of the file.

    Exit code 1 when one of them has an error."""
    list_items("flow", file, json=json)
