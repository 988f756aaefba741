"""Programs in JavaScript, kept from harming the process they run in: an engine with limits, called with texts.

A program is JavaScript that evaluates to a function of one argument, which gives the function that is called, text in, text out. There is
no `require`, no network, no files, no timers; `console` swallows what it is given.

Each call has a limit of CPU time, and a program a limit of what it may keep in memory between calls. One that exceeds a limit fails that
call and starts over with fresh globals. The engine itself can crash when it runs out of memory in small steps, so what it may take within
a call is bounded further up, where the time limit comes first. The time limit is looked at between steps of the program: not while a
built-in function works, and not while a regular expression does. So an expression that repeats what itself repeats or branches is refused
when it is used, and long texts are kept from those with several repetitions (`scripts.js`). These limits keep mistakes from doing harm;
they are no prison for a program written to break out of them.

The engine (quickjs) is made at the first call, since it takes about 75 KB. Traps of the engine: with a time limit set, JavaScript cannot
call into Python, and the limit must be set again before each call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, Final

STACK_BYTES: Final = 256 * 1024
FASTEST_GROWTH: Final = 1024 * 1024 * 1024
"""Bytes a program can take in a second in small steps (measured: up to 0.9 GiB)."""
CHECK_EVERY: Final = 64
"""Calls between two looks at what a program keeps; a look costs as much as a call."""


class ScriptError(Exception):
    """The script failed: what JavaScript says, or the limit that it exceeded."""


@cache
def _prelude() -> str:
    """What is evaluated before the program."""
    return files("setpoint").joinpath("scripts.js").read_text(encoding="utf-8")


class Program:
    """One program, ready to be called. Not for use from several threads.

    `argument` is JSON. `timeout` is CPU seconds a call, `memory` bytes kept between calls. A program that does not parse raises
    `ScriptError` at the first call; use `syntax_error` to find that before.
    """

    def __init__(self, source: str, argument: str, *, timeout: float, memory: int) -> None:
        self._source = source
        self._argument = argument
        self._timeout = timeout
        self._memory = memory
        self._context: Any = None
        self._run: Callable[[str], str] | None = None
        self._until_check = CHECK_EVERY

    def __call__(self, text: str) -> str:
        """What the program gives for the text. Raises `ScriptError`."""
        run = self._run or self._start()
        self._context.set_time_limit(self._timeout)
        try:
            answer = run(text)
        except Exception as error:  # JSException, StackOverflow
            raise ScriptError(self._told(error)) from None
        self._until_check -= 1
        if not self._until_check:
            self._check_kept()
        return answer

    def _start(self) -> Callable[[str], str]:
        import quickjs

        context = quickjs.Context()
        context.set_memory_limit(self._ceiling)
        context.set_max_stack_size(STACK_BYTES)
        context.set_time_limit(self._timeout)
        try:
            context.eval(_prelude())
            run: Callable[[str], str] = context.eval(self._source)(context.parse_json(self._argument))
        except Exception as error:
            raise ScriptError(self._told(error)) from None
        self._context, self._run = context, run
        return run

    def _start_over(self) -> None:
        self._context = self._run = None

    @property
    def _ceiling(self) -> int:
        return self._memory + int(self._timeout * FASTEST_GROWTH)

    def _check_kept(self) -> None:
        self._until_check = CHECK_EVERY
        if self._context.memory()["malloc_size"] > self._memory:
            self._start_over()
            raise ScriptError(f"the script keeps more than {self._memory // 1024} KiB of memory in its globals")

    def _told(self, error: Exception) -> str:
        lines = str(error).strip().splitlines()
        first = (lines[0] if lines else "unknown error").removeprefix("Error: ")
        if "interrupted" in first:
            self._start_over()
            return f"the script took more than {self._timeout * 1000:g} ms of CPU time"
        if "out of memory" in first:
            self._start_over()
            return f"the script took more than {self._ceiling // 1024} KiB of memory"
        if f": {first}".endswith(": null"):  # also what is left of an error when there is no memory for it
            self._start_over()
            return f"the script threw null, or took more than {self._ceiling // 1024} KiB of memory"
        return first


def syntax_error(source: str, *parameters: str) -> str:
    """What is wrong with the body of a function of these parameters; empty if it is JavaScript. Runs nothing."""
    import quickjs

    context = quickjs.Context()
    context.set_memory_limit(64 * 1024 * 1024)
    compiles = context.eval('(function (parameters, body) { new Function(parameters, body); return ""; })')
    try:
        compiles(", ".join(parameters), source)
    except Exception as error:
        return str(error).strip().splitlines()[0]
    return ""
