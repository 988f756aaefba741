"""JavaScript in flows: scripts of one or more stages that change a message, kept from harming the process they run in.

A stage is the body of a function of `msg`, with `msg.payload` (any JSON value) and `msg.meta` (texts). It returns the message, a list of
messages, or null to drop it; the next stage gets what it returned. A stage with a condition runs only on messages that meet it. There is no
`require`, no network, no files, no timers; `console` swallows what it is given.

Limits of CPU time a message and of memory kept between messages, and what they do not cover, are those of `setpoint.scripts`. A script
that exceeds a limit fails that message and starts over with fresh globals.

The engine is made at the first message that needs it; a script that only assigns texts and reads never needs it
(`setpoint.flows.snippets`).

What a script does not change stays exactly what it was: a payload that looks the same to JavaScript before and after is handed on as
the object it was, so that a 64-bit integer that passes through keeps all its digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from setpoint import scripts
from setpoint.flows.component import MessageError, Meta
from setpoint.flows.snippets import NotPlain, Stage, translate

__all__ = ["Script", "ScriptError", "Stage", "syntax_error"]


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
        self._plain = translate(tuple(stages))
        self._program = scripts.Program(
            _runner(), _encoder.encode(tuple(stages)).decode(), timeout=timeout, memory=memory
        )

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
        try:
            answer = self._program(message)
        except scripts.ScriptError as error:
            raise ScriptError(str(error)) from None
        try:
            outputs = _decoder.decode(answer)
        except (msgspec.MsgspecError, RecursionError, TypeError) as error:
            raise ScriptError(f"what the script returned cannot be read: {error}") from error
        return [(payload if one.p is msgspec.UNSET else one.p, one.m) for one in outputs]


def syntax_error(stages: Sequence[Stage]) -> tuple[int, str] | None:
    """The number and fault of the first stage that is not JavaScript, or None. Runs nothing."""
    if translate(tuple(stages)) is not None:
        return None
    for number, stage in enumerate(stages):
        sources = [stage.code, f"return ({stage.condition}\n);"] if stage.condition else [stage.code]
        for source in sources:
            if fault := scripts.syntax_error(source, "msg"):
                return number, fault
    return None
