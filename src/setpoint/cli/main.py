"""The program ``setpoint``: its commands, and how it ends.

Exit codes: 0 done, 1 could not be done, 2 wrong usage, 3 done and something is not healthy (``status``) or did not stop (``up``),
4 another agent has the data directory, 5 ended at once (see `setpoint.cli.trouble`). What is wrong goes to stderr as one sentence with
its remedy; a traceback is always a defect of Setpoint.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from setpoint.cli.bridge import app as bridge
from setpoint.cli.check import check
from setpoint.cli.config import app as config
from setpoint.cli.convert import convert
from setpoint.cli.debug import debug
from setpoint.cli.demo import demo
from setpoint.cli.explain import explain, history
from setpoint.cli.flow import app as flow
from setpoint.cli.init import init
from setpoint.cli.letters import letters
from setpoint.cli.machines import draw, machines
from setpoint.cli.models import app as models
from setpoint.cli.new import new
from setpoint.cli.operate import disable, enable, force, pause, restart, resume, retry
from setpoint.cli.plan import plan
from setpoint.cli.replay import replay
from setpoint.cli.run import run
from setpoint.cli.runs import app as runs
from setpoint.cli.scenario import scenario
from setpoint.cli.simulate import simulate
from setpoint.cli.status import status
from setpoint.cli.topics import topics
from setpoint.cli.trouble import FAILED, Trouble
from setpoint.cli.up import up

app = typer.Typer(
    name="setpoint",
    help="State machines that keep services and data flows in the state you asked for, and always say why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing what draws boxes would take as long as all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    init,
    up,
    demo,
    status,
    explain,
    history,
    topics,
    letters,
    check,
    convert,
    run,
    debug,
    machines,
    draw,
    plan,
    simulate,
    replay,
    scenario,
    new,
):
    app.command()(command)
app.add_typer(bridge, name="bridge")
app.add_typer(flow, name="flow")
app.add_typer(config, name="config")
app.add_typer(runs, name="runs")
app.add_typer(models, name="models")
for verb in (pause, resume, disable, enable, restart, retry, force):
    app.command()(verb)


@app.command()
def version() -> None:
    """Say which version this is."""
    import platform

    from setpoint import __version__

    typer.echo(f"setpoint {__version__} (Python {platform.python_version()}, {platform.system()} {platform.machine()})")


def _version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, with the process's own arguments by default. Always ends by `SystemExit`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # marks and arrows on a terminal that has none
    try:
        app(arguments)
    except Trouble as trouble:
        _say(trouble)
        sys.exit(trouble.code)
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        _say(Trouble(f"the output cannot be written: {error.strerror}", "make room, or write elsewhere"))
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _say(trouble: Trouble) -> None:
    from setpoint.cli.output import clean

    text = f"setpoint: {trouble.error}"
    if trouble.remedy:
        text += f"\n  → {trouble.remedy}"
    print("\n".join(clean(line) for line in text.splitlines()), file=sys.stderr)


if __name__ == "__main__":
    main()
