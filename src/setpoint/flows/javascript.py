"""JavaScript in flows: scripts of one or more stages that change a message, kept from harming the process they run in.

A stage is the body of a function of `msg`, with `msg.payload` (any JSON value) and `msg.meta` (texts). It returns the message, a list of
messages, or null to drop it; the next stage gets what it returned. A stage with a condition runs only on messages that meet it. There is no
`require`, no network, no files, no timers; `console` swallows what it is given.

Each message has a limit of CPU time, and a script a limit of what it may keep in memory between messages. One that exceeds a limit fails
that message and starts over with fresh globals. The engine itself can crash when it runs out of memory in small steps, so what it may take
within a message is bounded further up, where the time limit comes first. The time limit is looked at between steps of the script: not while
a built-in function works, and not while a regular expression does. So an expression that repeats what itself repeats or branches is
refused when it is used, and long texts are kept from those with several repetitions (`javascript.js`). These limits keep mistakes from
doing harm; they are no prison for a script written to break out of them.

The engine (quickjs) is made at the first message that needs it, since it takes about 75 KB; a script that only assigns texts and reads
never needs it (`setpoint.flows.snippets`). Traps of the engine: with a time limit set, JavaScript cannot call into Python, and the limit
must be set again before each call.

What a script does not change stays exactly what it was: a payload that looks the same to JavaScript before and after is handed on as
the object it was, so that a 64-bit integer that passes through keeps all its digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from setpoint.flows.component import MessageError, Meta
from setpoint.flows.snippets import NotPlain, Stage, translate

__all__ = ["Script", "ScriptError", "Stage", "syntax_error"]

STACK_BYTES: Final = 256 * 1024
FASTEST_GROWTH: Final = 1024 * 1024 * 1024
"""Bytes a script can take in a second in small steps (measured: up to 0.9 GiB)."""
CHECK_EVERY: Final = 64
"""Messages between two looks at what a script keeps; a look costs as much as a message."""


@cache
def _runner() -> str:
    """What runs the stages, in JavaScript."""
    return files("setpoint.flows").joinpath("javascript.js").read_text(encoding="utf-8")


class ScriptError(MessageError):
    """The script failed on this message: what JavaScript says, with the stage."""


class _Output(msgspec.Struct):
    m: dict[str, str]
    p: Any = msgspec.UNSET


_decoder = msgspec.json.Decoder(list[_Output])
_encoder = msgspec.json.Encoder()


class Script:
    """Stages, ready to be called with the payload and the meta of a message. Not for use from several threads.

    `timeout` is CPU seconds a message, `memory` bytes kept between messages. The first stage that does not parse raises `ScriptError`
    at the first message; use `syntax_error` to find it before.
    """

    def __init__(self, stages: Sequence[Stage], *, timeout: float, memory: int) -> None:
        self._stages = tuple(stages)
        self._timeout = timeout
        self._memory = memory
        self._plain = translate(self._stages)
        self._context: Any = None
        self._run: Callable[[str], str] | None = None
        self._until_check = CHECK_EVERY

    @property
    def translated(self) -> bool:
        """Whether messages go through Python closures, proven to give what JavaScript gives, rather than through the engine."""
        return self._plain is not None

    def __call__(self, payload: Any, meta: Meta) -> list[tuple[Any, Meta]]:
        """The messages that come of this one, as (payload, meta); none when it is dropped. Raises `ScriptError`."""
        if self._plain is not None:
            try:
                return [self._plain(payload, meta)]
            except NotPlain:
                pass
        return self.in_javascript(payload, meta)

    def in_javascript(self, payload: Any, meta: Meta) -> list[tuple[Any, Meta]]:
        """The same, always through the engine."""
        try:
            message = _encoder.encode({"payload": payload, "meta": meta}).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ScriptError(f"the message cannot be given to JavaScript: {error}") from error
        run = self._run or self._start()
        self._context.set_time_limit(self._timeout)
        try:
            answer = run(message)
        except Exception as error:  # JSException, StackOverflow
            raise ScriptError(self._told(error)) from None
        self._until_check -= 1
        if not self._until_check:
            self._check_kept()
        try:
            outputs = _decoder.decode(answer)
        except (msgspec.MsgspecError, RecursionError, TypeError) as error:
            raise ScriptError(f"what the script returned cannot be read: {error}") from error
        return [(payload if one.p is msgspec.UNSET else one.p, one.m) for one in outputs]

    def _start(self) -> Callable[[str], str]:
        import quickjs

        context = quickjs.Context()
        context.set_memory_limit(self._ceiling)
        context.set_max_stack_size(STACK_BYTES)
        context.set_time_limit(self._timeout)
        try:
            run: Callable[[str], str] = context.eval(_runner())(
                context.parse_json(_encoder.encode(self._stages).decode())
            )
        except Exception as error:
            raise ScriptError(self._told(error)) from None
        self._context, self._run = context, run
        return run

    @property
    def _ceiling(self) -> int:
        return self._memory + int(self._timeout * FASTEST_GROWTH)

    def _check_kept(self) -> None:
        self._until_check = CHECK_EVERY
        if self._context.memory()["malloc_size"] > self._memory:
            self._context = self._run = None
            raise ScriptError(f"the script keeps more than {self._memory // 1024} KiB of memory in its globals")

    def _told(self, error: Exception) -> str:
        lines = str(error).strip().splitlines()
        first = (lines[0] if lines else "unknown error").removeprefix("Error: ")
        if "interrupted" in first:
            self._context = self._run = None
            return f"the script took more than {self._timeout * 1000:g} ms of CPU time"
        if "out of memory" in first:
            self._context = self._run = None
            return f"the script took more than {self._ceiling // 1024} KiB of memory"
        if f": {first}".endswith(": null"):  # also what is left of an error when there is no memory for it
            self._context = self._run = None
            return f"the script threw null, or took more than {self._ceiling // 1024} KiB of memory"
        return first


def syntax_error(stages: Sequence[Stage]) -> tuple[int, str] | None:
    """The number and fault of the first stage that is not JavaScript, or None. Runs nothing."""
    import quickjs

    if translate(tuple(stages)) is not None:
        return None
    context = quickjs.Context()
    context.set_memory_limit(64 * 1024 * 1024)
    compiles = context.eval('(function (code) { new Function("msg", code); return ""; })')
    for number, stage in enumerate(stages):
        sources = [stage.code, f"return ({stage.condition}\n);"] if stage.condition else [stage.code]
        for source in sources:
            try:
                compiles(source)
            except Exception as error:
                return number, str(error).strip().splitlines()[0]
    return None
