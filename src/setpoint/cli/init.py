"""``setpoint init``: the first config of a new user, by four questions or by options. What it writes runs at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from setpoint.cli.output import clean
from setpoint.cli.trouble import USAGE, Trouble

KINDS = {"modbus": "modbus", "opcua": "opcua", "mqtt": "mqtt", "http": "http_client", "demo": "generate"}
"""The sources to choose from, and the inputs that read them."""
LIBRARIES = {"opcua": "asyncua", "mqtt": "paho.mqtt"}
"""Modules that an input needs and that are an extra of the same name."""
COMMANDS = (
    ("setpoint up {file}", "keep it in force"),
    ("setpoint check {file}", "say what is wrong with it"),
    ("setpoint status", "what runs, in which state, and why"),
    ("setpoint topics", "the values that arrive"),
    ("setpoint bridge add --help", "one more device"),
)
SKELETON = """\
# The configuration of a Setpoint agent. Edit it while the agent runs: what changed is applied when it is saved.
#
{commands}
#
# A password need not stand here: ${{NAME}} is a variable of the agent's environment, ${{file:/run/secrets/name}} what is in a file.

# --- Where this agent stands: level 0 is the enterprise, 1 the site. Bridges add the levels below.
agent:
  location:
    0: enterprise
    1: site

"""
BRIDGES = """\
# --- Bridges: each has a connection to a device, and reads its values into topics of their own:
#
#   umh.v1.<location path>._raw.<tag>
#
{note}protocolConverter: []
"""
FLOWS = """\
# --- Flows: this one makes a number between 0 and 100 every second, under its own topic. It stands for a device until there is one:
#
#   setpoint bridge add press-1 --input modbus --target 192.168.0.10
#
dataFlow: []
"""
NOTES = {
    "modbus": "# Which registers a device has, only its manual knows: list them below 'addresses'.\n",
    "opcua": "# 'i=2258' is the clock of the server: name the variables and folders to read below 'nodeIDs'.\n",
    "mqtt": "# '#' is every topic of the broker; the last part of a topic becomes the tag.\n",
    "http": "# What the service answers becomes the value of one tag.\n",
}


class Plant(NamedTuple):
    """The four answers."""

    enterprise: str
    site: str
    source: str
    address: str
    name: str


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The config to write.")] = Path("config.yaml"),
    enterprise: Annotated[str, typer.Option("--enterprise", help="Level 0 of the location.", show_default=False)] = "",
    site: Annotated[str, typer.Option("--site", help="Level 1 of the location.", show_default=False)] = "",
    source: Annotated[
        str, typer.Option("--source", metavar="KIND", help=f"What to read: {', '.join(KINDS)}.", show_default=False)
    ] = "",
    address: Annotated[
        str, typer.Option("--address", help="Where the source is: host, host:port, or a URL.", show_default=False)
    ] = "",
    name: Annotated[str, typer.Option("--name", help="What to call the bridge.", show_default=False)] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take a default for what is not given.")
    ] = False,
) -> None:
    """Write a first config, by four questions or by options. It runs as it is; nothing is overwritten."""
    if file.exists() or file.is_symlink():
        raise Trouble(f"{file} is there already", "choose another name; nothing was written")
    plant = _answers(Plant(enterprise, site, source, address, name), yes=yes)
    text = _text(plant, file)
    _check(text, file)
    _write(text, file)
    _next(plant, file)


def _answers(given: Plant, *, yes: bool) -> Plant:
    """What was given, and asked for the rest. Raises `Trouble` where nobody can be asked."""
    if given.source and given.source not in KINDS:
        raise Trouble(f"there is no source {given.source!r}", f"choose one of {', '.join(KINDS)}", code=USAGE)
    asks = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    if not asks and not yes:
        needed = [part for part in ("enterprise", "site", "source", "name") if not getattr(given, part)]
        needed += ["address"] if given.source != "demo" and not given.address else []
        if needed:
            options = " ".join(f"--{part}" for part in needed)
            raise Trouble("there is no terminal to ask on", f"give {options}, or take defaults with --yes", code=USAGE)
    answer = _ask if asks else _default
    where = (given.enterprise and given.site) or answer("Enterprise and site", "enterprise/site", _is_place)
    first, _, second = where.partition("/")
    source = given.source or answer(f"Source ({', '.join(KINDS)})", "demo", KINDS.__contains__)
    address = given.address
    if source != "demo" and not address:
        if not asks:
            raise Trouble(f"the address of the {source} source is not known", "give --address", code=USAGE)
        address = answer("Its address (host, host:port or URL)", "127.0.0.1", _is_address)
    return Plant(
        given.enterprise or first,
        given.site or second,
        source,
        address,
        given.name or answer("Name of the bridge", "demo" if source == "demo" else f"{source}-1", _is_name),
    )


def _default(question: str, default: str, right: Callable[[str], bool]) -> str:
    return default


def _ask(question: str, default: str, right: Callable[[str], bool]) -> str:
    while True:
        answer = str(typer.prompt(question, default=default)).strip()
        if right(answer):
            return answer
        typer.echo(f"  that is none; write it like {default}")


def _is_place(text: str) -> bool:
    return all(part.strip() for part in text.split("/")) and text.count("/") == 1


def _is_name(text: str) -> bool:
    from setpoint.agent.config.bridges import NAME

    return NAME.fullmatch(text) is not None


def _is_address(text: str) -> bool:
    try:
        _parsed(text, 1)
    except Trouble:
        return False
    return True


class Address(NamedTuple):
    """Host and port of a source, and of a URL the rest."""

    host: str
    port: int
    scheme: str
    path: str


def _parsed(text: str, port: int) -> Address:
    """Raises `Trouble` for what is no address."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, given = parts.hostname or "", parts.port
    except ValueError:
        host, given = "", None
    if not host or ":" in host or parts.username or any(c.isspace() for c in text):
        raise Trouble(
            f"{clean(text)!r} is no address",
            "write it like 192.168.0.10, plc-1:502 or opc.tcp://plc-1:4840",
            code=USAGE,
        )
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Address(host, given or {"https": 443, "http": 80}.get(parts.scheme, port), parts.scheme, path)


def _text(plant: Plant, file: Path) -> str:
    """The whole config. Raises `Trouble`."""
    from setpoint.agent.editing import Wanted, with_bridge, with_flow
    from setpoint.cli.config_edit import as_trouble
    from setpoint.configfile.editing import with_value

    named = str(file) if str(file).isprintable() else "FILE"
    demo = plant.source == "demo"
    width = max(len(command) for command, _ in COMMANDS) + max(0, len(named) - len("{file}")) + 2
    commands = [f"#   {command.format(file=named).ljust(width)}  {what}" for command, what in COMMANDS]
    text = SKELETON.format(commands="\n".join(commands)) + (FLOWS if demo else BRIDGES.format(note=NOTES[plant.source]))
    with as_trouble():
        for level, value in (("0", plant.enterprise), ("1", plant.site)):
            text = with_value(text, ("agent", "location", level), value)
        if demo:
            return with_flow(text, plant.name, _demo(plant))
        at, flow = _read(plant)
        wanted = Wanted(target=at.host, port=at.port, read=flow, location={2: plant.name})
        return with_bridge(text, plant.name, wanted)


def _demo(plant: Plant) -> dict[str, object]:
    """A flow that makes up a value. Nothing in a flow is rendered, so its location stands in it."""
    import json

    from setpoint.agent.editing_sources import SOURCES, flow_of

    flow = flow_of({"generate": SOURCES["generate"].input(None)}, SOURCES["generate"].tag)
    script = flow["pipeline"]["processors"][0]["tag_processor"]
    here = json.dumps(f"{plant.enterprise}.{plant.site}.{plant.name}", ensure_ascii=False)
    script["defaults"] = script["defaults"].replace('"{{ .location_path }}"', here)
    return flow


def _read(plant: Plant) -> tuple[Address, dict[str, object]]:
    """Where the device is, and the flow that reads it. Of a URL, scheme and path are kept."""
    from setpoint.agent.editing_sources import PORT, SOURCES, TARGET, read_flow

    kind = KINDS[plant.source]
    at = _parsed(plant.address, SOURCES[kind].port)
    flow = read_flow(kind)
    fields = flow["input"][kind]
    if plant.source == "http":
        fields["url"] = f"{at.scheme or 'http'}://{TARGET}:{PORT}{at.path or '/'}"
    elif plant.source == "mqtt" and at.scheme:
        fields["urls"] = [f"{at.scheme}://{TARGET}:{PORT}"]
    return at, flow


def _check(text: str, file: Path) -> None:
    """Raises `Trouble` after all problems, where an answer cannot stand in a config."""
    from setpoint.agent.editing_check import checked
    from setpoint.cli.config_edit import say

    found = checked(text, file, os.environ)
    if found.errors:
        say(found.errors)
        raise Trouble("nothing was written: the config would have errors", "give other answers", code=USAGE)


def _write(text: str, file: Path) -> None:
    """In one step, and never over another file."""
    from setpoint.services.swap import candidate

    try:
        fresh = candidate(file, text.encode())
        try:
            umask = os.umask(0)
            os.umask(umask)
            fresh.chmod(0o666 & ~umask)
            os.link(fresh, file)
        finally:
            fresh.unlink(missing_ok=True)
    except FileExistsError:
        raise Trouble(f"{file} is there already", "choose another name; nothing was written") from None
    except OSError as error:
        raise Trouble(
            f"{file} cannot be written: {error.strerror}", "name a file in a directory you may write to"
        ) from None


def _next(plant: Plant, file: Path) -> None:
    import shlex
    from importlib.util import find_spec

    typer.echo(f"wrote {clean(file)}")
    module = LIBRARIES.get(plant.source, "")
    if module and find_spec(module.partition(".")[0]) is None:
        typer.echo(f"  pip install 'setpoint[{plant.source}]'    the library that reads it is missing")
    typer.echo(f"  setpoint up {shlex.quote(clean(file))}")
