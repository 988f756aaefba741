"""Dead letters: the messages that could not be handled, each with the reason, where it failed, and when.

A flow with a ``dead_letter`` output sends all of them there, before what they came with is acknowledged. Any other flow keeps some in a
file of its own below the agent's data, so that somebody can look at what went wrong: JSON Lines, at most `A_MINUTE` a minute and
twice `FILE_BYTES` in all, because a flow in which everything fails must not wear out the disk. The rest is only counted.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from setpoint.flows.component import MessageError, Msg, serialized

A_MINUTE: Final = 60
FILE_BYTES: Final = 2_000_000
PAYLOAD_BYTES: Final = 10_000
"""How much of a payload is kept."""


class Letter(msgspec.Struct, frozen=True):
    """One message that failed: as it was there, where that was, and why."""

    msg: Msg
    state: str
    reason: str

    def as_message(self, flow: str) -> Msg:
        """What a ``dead_letter`` output is given: the message, and what became of it in its meta."""
        about = {"dead_letter_reason": self.reason, "dead_letter_state": self.state, "dead_letter_flow": flow}
        return Msg(self.msg.payload, {**self.msg.meta, **about})


class LetterFile:
    """Keeps some of a flow's dead letters in a file of bounded size, and the one before it."""

    def __init__(self, folder: Path, flow: str, clock: Callable[[], float]) -> None:
        self.path = folder / (re.sub(r"[^A-Za-z0-9._-]+", "-", flow).strip("-.") + ".jsonl")
        self._flow = flow
        self._clock = clock
        self._minute, self._left = 0, A_MINUTE

    def keep(self, letters: Sequence[Letter]) -> None:
        """Add them, as far as this minute allows. Raises `OSError`."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._left = minute, A_MINUTE
        kept = letters[: self._left]
        self._left -= len(kept)
        if not kept:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as file:
            file.write(b"".join(map(self._line, kept)))
            full = file.tell() >= FILE_BYTES
        if full:
            self.path.replace(self.path.with_suffix(".1.jsonl"))

    def _line(self, letter: Letter) -> bytes:
        try:
            payload = serialized(letter.msg.payload)
        except MessageError:
            payload = repr(letter.msg.payload).encode(errors="replace")
        row: dict[str, Any] = {
            "at": round(self._clock(), 3),
            "flow": self._flow,
            "state": letter.state,
            "reason": letter.reason,
            "meta": letter.msg.meta,
            "payload": payload[:PAYLOAD_BYTES].decode(errors="replace"),
        }
        if len(payload) > PAYLOAD_BYTES:
            row["bytes"] = len(payload)
        return msgspec.json.encode(row) + b"\n"


def kept_letters(folder: Path, flow: str = "", *, limit: int = 100) -> list[dict[str, Any]]:
    """The newest letters kept in `folder`, of flows with that text in their names. Lines that cannot be read are left out.

    Each has ``at`` (seconds since 1970), ``flow``, ``state``, ``reason``, ``meta``, ``payload``, and ``bytes`` where that was cut.
    """
    found: list[dict[str, Any]] = []
    for file in folder.glob("*.jsonl"):
        with contextlib.suppress(OSError):
            found += [row for row in map(_row, file.read_bytes().splitlines()) if row and flow in row["flow"]]
    found.sort(key=lambda row: row["at"], reverse=True)
    return found[:limit]


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = msgspec.json.decode(line)
        return row if isinstance(row["at"], float | int) and isinstance(row["flow"], str) else None
    except (ValueError, KeyError, TypeError):  # broken off by a crash
        return None
