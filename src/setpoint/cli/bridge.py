"""``setpoint bridge``: add, edit, remove and list the bridges of a config file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from setpoint.cli.trouble import USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.agent.editing import Wanted
    from setpoint.agent.editing_sources import Login

app = typer.Typer(help="Add, edit, remove and list bridges in a config file.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of the bridge.")]
TargetOption = Annotated[
    str | None, typer.Option("--target", help="Host name or address of the device.", show_default=False)
]
PortOption = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Its port.", show_default=False)]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="KIND|FILE",
        help="What it reads: modbus, opcua, mqtt, http_client or generate, to begin with; or a YAML file with an input, or a whole flow.",
        show_default=False,
    ),
]
VarOption = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=VALUE", help="A variable. May be repeated.", show_default=False),
]
LocationOption = Annotated[
    list[str] | None,
    typer.Option(
        "--location",
        metavar="LEVEL=NAME",
        help="A level of its location below the agent's, such as 3=press-1; without NAME it goes. May be repeated.",
        show_default=False,
    ),
]
UserOption = Annotated[str, typer.Option("--user", help="Who to log in as, with --password-env.", show_default=False)]
PasswordOption = Annotated[
    str,
    typer.Option(
        "--password-env",
        metavar="VARIABLE",
        help="The variable of the agent's environment that has the password. The file gets its name.",
        show_default=False,
    ),
]


@app.command("add")
def add(
    name: NameArgument,
    target: TargetOption = None,
    port: PortOption = None,
    input: InputOption = None,
    var: VarOption = None,
    location: LocationOption = None,
    template: Annotated[
        str,
        typer.Option(
            "--template",
            help="A template of the file, which it refers to; its own NAME makes it the root of a new one.",
            show_default=False,
        ),
    ] = "",
    state: Annotated[State, typer.Option("--state", help="Whether it is to run.")] = State.active,
    user: UserOption = "",
    password_env: PasswordOption = "",
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Add a bridge: a connection to a device, and what it reads there."""
    from setpoint.agent.editing import with_bridge

    given = _port(input, port)
    wanted = _wanted(target, given, input, var, location, state, _login(user, password_env, input))
    carry_out(
        How(file, dry_run, json, wait, timeout, url),
        lambda text: with_bridge(text, name, wanted, template=template),
        done=f"bridge {name} added",
        aim=Aim(f"agent/bridges/{name}", state.value),
    )


@app.command("edit")
def edit(
    name: NameArgument,
    target: TargetOption = None,
    port: PortOption = None,
    input: InputOption = None,
    var: VarOption = None,
    location: LocationOption = None,
    state: Annotated[State | None, typer.Option("--state", help="Whether it is to run.", show_default=False)] = None,
    rename: Annotated[
        str,
        typer.Option(
            "--rename", metavar="NAME", help="Its new name; with a root, that of its template.", show_default=False
        ),
    ] = "",
    user: UserOption = "",
    password_env: PasswordOption = "",
    file: FileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    url: UrlOption = None,
) -> None:
    """Change a bridge by options; without any, in $VISUAL or $EDITOR."""
    from setpoint.agent.editing import changed, renamed

    how = How(file, dry_run, json, wait, timeout, url)
    wanted = _wanted(target, port, input, var, location, state, _login(user, password_env, input))
    now = rename or name
    aim = Aim(f"agent/bridges/{now}", (state or State.active).value)
    if not rename and not any((target, port, input, var, location, state)):
        edit_text(how, "bridge", name, aim)
        return

    def change(text: str) -> str:
        text = changed(text, name, wanted)
        return renamed(text, "bridge", name, rename) if rename and rename != name else text

    carry_out(how, change, done=f"bridge {now} changed", aim=aim)


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
    """Remove a bridge; with the root of a template its template, unless other bridges have it."""
    remove_item(How(file, dry_run, json, wait, timeout, url), "bridge", name)


@app.command("list")
def list_(file: FileOption = None, json: JsonOption = False) -> None:
    """List the bridges of the file.

    Exit code 1 when one of them has an error."""
    list_items("bridge", file, json=json)


def _port(input: str | None, port: int | None) -> int | None:
    """The port given, else the one that devices of this kind have."""
    from setpoint.agent.editing_sources import SOURCES

    return port if port is not None or input not in SOURCES else SOURCES[str(input)].port or None


def _login(user: str, password_env: str, input: str | None) -> Login | None:
    """Raises `Trouble` for half a login, or one that nobody reads."""
    import re

    from setpoint.agent.editing_sources import WITHOUT_LOGIN, Login

    if not user and not password_env:
        return None
    if not user or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", password_env):
        raise Trouble(
            "a login is a user and a variable with the password", "give --user and --password-env", code=USAGE
        )
    if input is None or input in WITHOUT_LOGIN:
        raise Trouble(
            "--user and --password-env are for --input opcua, mqtt or http_client", "leave them out", code=USAGE
        )
    return Login(user, f"${{{password_env}}}")


def _wanted(
    target: str | None,
    port: int | None,
    input: str | None,
    var: list[str] | None,
    location: list[str] | None,
    state: State | None,
    login: Login | None,
) -> Wanted:
    from setpoint.agent.editing import Wanted

    return Wanted(
        target=target,
        port=port,
        read=_read(input, login) if input else None,
        variables=dict(_pair(text, "--var", "IP=10.0.0.5") for text in var or ()),
        location=_levels(location or []),
        state=state.value if state is not None else None,
    )


def _read(input: str, login: Login | None) -> dict[str, Any]:
    """The flow that a kind of source, or a file, stands for. Raises `Trouble`."""
    from setpoint.agent.editing_sources import SOURCES, flow_of, read_flow

    if input in SOURCES:
        return read_flow(input, login)
    if "." not in input and "/" not in input and not Path(input).exists():
        raise Trouble(
            f"there is no kind of input {input!r}", f"there are {', '.join(SOURCES)}, or a YAML file", code=USAGE
        )
    if login is not None:
        raise Trouble("a file says itself who to log in as", "leave --user and --password-env out", code=USAGE)
    written = yaml_file(input)
    return written if "input" in written else flow_of(written)


def _pair(text: str, option: str, like: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Trouble(f"{option} {text!r} is no pair", f"write it like {option} {like}", code=USAGE)
    return name, value


def _levels(given: list[str]) -> dict[int, str]:
    pairs = [_pair(text, "--location", "2=area") for text in given]
    for level, _ in pairs:
        if not (level.isascii() and level.isdigit() and len(level) <= 2):
            raise Trouble(f"{level!r} is no level of a location", "write it like --location 2=area", code=USAGE)
    return {int(level): name for level, name in pairs}
