"""``setpoint up``: run an agent over a config file, until told to stop; as a service, where a service manager says that it is one.

SIGTERM and SIGINT stop it in order (see `setpoint.cli.stopping`), SIGHUP has it read its config again, SIGPIPE is nothing to it. What its
exit codes mean is said in `setpoint.cli.trouble`, by ``--help``, and in docs/service.md.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from setpoint.cli.connect import RunningAgent, forget_running, note_running
from setpoint.cli.memory import settle
from setpoint.cli.output import clean
from setpoint.cli.stopping import Stop, leave, tell
from setpoint.cli.trouble import FAILED, IN_USE, NOT_HEALTHY, Trouble
from setpoint.places import DATA

if TYPE_CHECKING:
    import asyncio
    import socket

    from fastapi import FastAPI

    from setpoint.agent import Agent
    from setpoint.agent.service import Service
    from setpoint.api.server import Server


LEFT_SHOWN = 20
"""How many of those that did not stop are told one by one; the log has all."""
CLIENTS_S = 1.0
"""Seconds for clients of the API to let go, after everything else has stopped."""


class LogLevel(StrEnum):
    """From which level on to log."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    """How to log."""

    console = "console"
    json = "json"


HostOption = Annotated[
    str, typer.Option("--host", help="Listen on this address. There are no passwords: keep it local.")
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        help="Listen on this port; 0 takes a free one. Default: agent.metricsPort of the config, else 8080.",
        show_default=False,
    ),
]
LevelOption = Annotated[LogLevel, typer.Option("--log-level", help="Log from this level on.")]
FormatOption = Annotated[LogFormat, typer.Option("--log-format", help="For people, or one JSON object a line.")]


class ProcessKind(StrEnum):
    """What supervises programs that run beside the agent."""

    auto = "auto"
    s6 = "s6"
    builtin = "builtin"


class Run(NamedTuple):
    """What to run and how: the config file, where its state is kept, where to listen, what to tell the user besides, whether SIGHUP has
    the config read again (otherwise it stops), and what supervises programs."""

    config: Path
    data: Path
    host: str
    port: int | None
    hints: tuple[str, ...] = ()
    hangups: bool = False
    processes: ProcessKind = ProcessKind.auto


def up(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="The config.yaml to keep in force. It is followed, never written to."),
    ],
    host: HostOption = "127.0.0.1",
    port: PortOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Keep state in this directory. Default: .setpoint beside the config.", show_default=False
        ),
    ] = None,
    processes: Annotated[
        ProcessKind,
        typer.Option("--process-backend", help="What supervises programs such as Benthos; auto: s6 where it is."),
    ] = ProcessKind.auto,
    log_level: LevelOption = LogLevel.info,
    log_format: FormatOption = LogFormat.console,
) -> None:
    """Run an agent: keep a config file in force, and follow its edits.

    \b
    Signals:
      SIGTERM, SIGINT  stop in order, within 10 s; a second one: at once
      SIGHUP           read the config now
    \b
    Exit codes:
      0  stopped in order
      1  could not start, or broke down
      2  wrong usage
      3  stopped, but something had not stopped in time and is named
      4  another agent has the data directory
      5  ended at once: a second signal, or not stopped within 10 s
    """
    import faulthandler
    import signal

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a config that could be read again
    with suppress(OSError, ValueError, RuntimeError):  # no stderr
        faulthandler.enable()  # a watchdog ends a process by SIGABRT; then the log has where it hung
    from setpoint.telemetry import configure

    try:
        if not config.is_file():
            raise Trouble(f"there is no file {config}", "name a config.yaml, or try 'setpoint demo'")
    except OSError as error:
        raise Trouble(
            f"{config} cannot be looked at: {error.strerror}", "name a file that this user may read"
        ) from None
    config = config.absolute()  # not resolved: what a link points to may be exchanged
    configure(level=log_level.value, format=log_format.value)
    leave(run(Run(config, data or config.parent / DATA, host, port, hangups=True, processes=processes)))


def run(what: Run) -> int:
    """Run an agent until a signal; returns the exit code. Whatever still runs then is for `leave` to end."""
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    stop = Stop(loop, hangups=what.hangups)
    try:
        return loop.run_until_complete(_keep(what, stop))
    except Trouble as trouble:
        tell(f"setpoint: {clean(trouble.error)}" + (f"\n  → {clean(trouble.remedy)}" if trouble.remedy else ""))
        return trouble.code
    except Exception:  # a defect; threads that it leaves behind must not keep the process
        import traceback

        tell(traceback.format_exc())
        return FAILED


async def _keep(what: Run, stop: Stop) -> int:
    from setpoint.agent.service import Service
    from setpoint.api.server import Server, url_of
    from setpoint.services.notify import Notifier

    notifier = Notifier.from_environment(os.environ)
    agent = _agent(what)
    stop.save = agent.store.flush
    listener = await _listen(agent, what)
    server = Server(_app(agent, what.host), listener)
    url = url_of(listener)
    await agent.start()
    serving = server.begin()
    note = note_running(RunningAgent(url, os.getpid(), str(what.config), str(what.data.absolute())), os.environ)
    _announce(what, url)
    try:
        left = await _until_told(stop, agent, Service(agent, notifier), serving)
    finally:
        if note is not None:
            forget_running(note, os.getpid())
    await _end(server)
    return _outcome(left, told=bool(stop))


def _agent(what: Run) -> Agent:
    import sqlite3

    from setpoint.agent import Agent, DataInUse
    from setpoint.agent.environment import BadEnvironment
    from setpoint.store import StoreError

    try:
        return Agent(what.config, data=what.data, env=os.environ, processes=what.processes.value)
    except DataInUse as error:
        raise Trouble(*str(error).split("; ", 1), code=IN_USE) from None
    except StoreError as error:
        raise Trouble(*str(error).split("; ", 1)) from None
    except BadEnvironment as error:
        raise Trouble(str(error), "correct the environment variable, or unset it") from None
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Trouble(f"the data directory {what.data} cannot be used: {why}", "choose another with --data") from None


async def _listen(agent: Agent, what: Run) -> socket.socket:
    from setpoint.api.server import BindError, bind

    try:
        return bind(what.host, agent.settings.metrics_port if what.port is None else what.port)
    except BindError as error:
        await agent.stop()
        raise Trouble(*str(error).split("; ", 1)) from None


def _app(agent: Agent, host: str) -> FastAPI:
    from setpoint.api import create_app
    from setpoint.dashboard import router

    app = create_app(agent, host=host)
    app.include_router(router())
    return app


async def _until_told(stop: Stop, agent: Agent, service: Service, serving: asyncio.Task[None]) -> list[str]:
    """Until a signal came, or the server ended by itself, which it never should. Returns what had not stopped in time."""
    import asyncio

    telling = asyncio.create_task(service.keep())
    beside = [asyncio.create_task(each) for each in (settle(), _obey_hangups(stop, service))]
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not stop:
        tell("setpoint: the HTTP server ended by itself; stopping")
    service.stopping()
    for task in (*beside, waiting):
        task.cancel()
    try:
        return await agent.stop()
    finally:
        telling.cancel()


async def _obey_hangups(stop: Stop, service: Service) -> None:
    while True:
        await stop.hung_up()
        await service.reload()


async def _end(server: Server) -> None:
    """All that is kept has been closed; clients that do not let go are not waited for."""
    import asyncio

    with suppress(TimeoutError):
        async with asyncio.timeout(CLIENTS_S):
            await server.end()


def _outcome(left: list[str], *, told: bool) -> int:
    for what in left[:LEFT_SHOWN]:
        tell(f"did not stop in time: {clean(what)}")
    if len(left) > LEFT_SHOWN:
        tell(f"did not stop in time: {len(left) - LEFT_SHOWN} more")
    tell("stopped" if not left else f"stopped, except {len(left)}")
    return FAILED if not told else NOT_HEALTHY if left else 0


def _command() -> str:
    """How to call this program from where its user stands: by its name, unless that is not in the search path."""
    import shutil

    called = Path(sys.argv[0])
    return "setpoint" if called.name != "setpoint" or shutil.which("setpoint") else str(called)


def _announce(what: Run, url: str) -> None:
    from setpoint import __version__

    lines = [
        f"setpoint {__version__} keeps {clean(what.config)}",
        f"  dashboard  {url}",
        f"  status     {_command()} status",
        *(f"  {hint}" for hint in what.hints),
        "  stop       Ctrl-C",
    ]
    with suppress(OSError, ValueError):
        print("\n".join(lines), flush=True)
