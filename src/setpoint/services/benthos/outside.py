"""Runs a Benthos program for one answer, such as its version or its opinion of a config, and never longer than is good."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

import msgspec

from setpoint.services.benthos.limits import PROGRAM_TIMEOUT_S

ANSWER_BYTES = 200_000


class Answer(msgspec.Struct, frozen=True):
    """How it ended and what it wrote, cut at `ANSWER_BYTES`; `problem` says why there is no answer, "" when there is one."""

    code: int = -1
    stdout: str = ""
    stderr: str = ""
    problem: str = ""


async def ask(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = PROGRAM_TIMEOUT_S
) -> Answer:
    """Run the command to its end and give its answer. Never raises for what the program does; one that hangs is killed.

    `env` is its whole environment; None: that of this process.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Answer(problem=f"{command[0]} cannot be run: {getattr(error, 'strerror', None) or error}")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await asyncio.gather(_head(process.stdout), _head(process.stderr))
            code = await process.wait()
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with what it started: `rpk` runs a program of its own
        await process.wait()
        if not isinstance(error, TimeoutError):
            raise
        return Answer(problem=f"{' '.join(command)} gave no answer within {timeout:g} s and was killed")
    return Answer(code, stdout, stderr)


async def _head(stream: asyncio.StreamReader) -> str:
    """The beginning of what comes; the rest is read, so that the program can end, and thrown away."""
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk[: ANSWER_BYTES - len(kept)]
    return kept.decode(errors="replace")
