"""``setpoint demo``: a simulated plant on this machine, and an agent that reads it.

The plant is a process of its own. It ends with this one, however this one ends: the kernel sends it a signal when its parent dies
(PR_SET_PDEATHSIG of prctl(2)). In a checkout the agent works on the example's config itself, to be edited while it runs, and keeps its
state beside it, so that what was written is there at the next start. An installed demo works on a copy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from setpoint.cli.stopping import leave, tell
from setpoint.cli.trouble import Trouble
from setpoint.cli.up import FormatOption, HostOption, LevelOption, LogFormat, LogLevel, PortOption, Run, run
from setpoint.places import DATA

if TYPE_CHECKING:
    from subprocess import Popen

PLANT = "plant/plant.py"
CONFIG = "plant/config.yaml"
PLANT_TIMEOUT = 20.0
"""Seconds within which the plant says its first words."""
ENDS_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG; survives the exec below
if os.getppid() != int(sys.argv[1]):  # it died before that
    sys.exit()
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""A program that becomes the Python script it is given, and ends with its parent process, whose id it is given."""


def demo(
    host: HostOption = "127.0.0.1",
    port: PortOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Work on a copy of the example's config in this directory. "
            "Default: the example itself in a checkout, else a temporary copy.",
            show_default=False,
        ),
    ] = None,
    log_level: LevelOption = LogLevel.warning,
    log_format: FormatOption = LogFormat.console,
) -> None:
    """Run a simulated plant, and an agent that reads it."""
    import shutil

    from setpoint.telemetry import configure

    configure(level=log_level.value, format=log_format.value)
    examples = examples_folder()
    with _folder(data, examples) as folder, _plant(examples / PLANT):
        config = folder / "config.yaml"
        if not config.exists():
            shutil.copyfile(examples / CONFIG, config)
        code = run(Run(config, folder / DATA, host, port, (f"edit       {config}",)))
    leave(code)


def examples_folder() -> Path:
    """Where the examples are: inside the package when it is installed, at the top of the repository in a checkout. Raises `Trouble`."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "examples", package.parent.parent / "examples"):
        if (folder / PLANT).is_file() and (folder / CONFIG).is_file():
            return folder
    raise Trouble(
        "the example plant is not part of this installation", "run the demo from a checkout, or install the wheel again"
    )


@contextmanager
def _folder(given: Path | None, examples: Path) -> Iterator[Path]:
    """The folder of the demo's config and state."""
    import tempfile

    own = (examples / CONFIG).parent
    if given is None and (examples.parent / "pyproject.toml").is_file() and os.access(own, os.W_OK):
        yield own
        return
    if given is None:
        with tempfile.TemporaryDirectory(prefix="setpoint-demo-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    try:
        given.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Trouble(f"the directory {given} cannot be used: {error.strerror}", "choose another with --data") from None
    yield given.resolve()


@contextmanager
def _plant(script: Path) -> Iterator[None]:
    import subprocess

    # A session of its own, so that Ctrl-C reaches the agent alone: the bridges shall stop before their machines do.
    plant = subprocess.Popen(
        [sys.executable, "-c", ENDS_WITH_PARENT, str(os.getpid()), str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        _await_and_forward(plant)
        yield
    finally:
        plant.terminate()
        try:
            plant.wait(timeout=3)
        except subprocess.TimeoutExpired:
            plant.kill()
            plant.wait()


def _await_and_forward(plant: Popen[bytes]) -> None:
    """Wait for the plant's first words, which it says once it runs; pass on what it says from then on. Raises `Trouble`."""
    import select
    import threading

    assert plant.stdout is not None
    said = select.select([plant.stdout], [], [], PLANT_TIMEOUT)[0] and plant.stdout.readline()
    if not said:
        raise Trouble("the simulated plant did not start", "what it said is above; is another demo running?")

    def forward() -> None:
        line = said
        while line:
            tell(f"plant: {line.decode(errors='replace').rstrip()}")
            line = plant.stdout.readline() if plant.stdout else b""
        tell("plant: ended")

    threading.Thread(target=forward, daemon=True).start()
