"""What a supervisor leaves on the disk about a process: the formats of s6, which both backends write.

Times are TAIN: eight bytes of seconds, four of nanoseconds, big-endian; the second 2**62 is the beginning of 1970 in TAI, which is ahead of
UTC by `TAI_AHEAD` seconds. As text (TAI64N) it is ``@`` and the same bytes in hex: 25 characters.

- ``supervise/status``: last change, readiness (or the end), pid, wait status, flags. 35 bytes; 43 in s6 2.13, with a process group after
  the pid. Written beside and renamed, so that nobody reads half of it. The layout is not a stable interface of s6: ask for the length.
- ``supervise/death_tally``: 14 bytes for each death: when, exit code (128 + signal if killed), signal.

Source: s6 2.11 to 2.15, `s6_svstatus_pack`, `s6_dtally_pack`, and skalibs' `tain_pack`. The keeper imports this module, therefore nothing
here but the standard library.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

EPOCH: Final = 1 << 62
TAI_AHEAD: Final = 37
"""Seconds from UTC to TAI since 2017. An s6 with another table of leap seconds is asked for its own."""
LABEL: Final = 25
"""Characters of a time as text."""
RECORD: Final = 14
"""Bytes of one death."""

MARK: Final = "SETPOINT_PROCESS"
"""The variable by which a process, and whatever it starts, can be told: the folder of its service."""

_STATUS: Final = struct.Struct(">QIQIQHB")
_STATUS_GROUP: Final = struct.Struct(">QIQIQQHB")
_DEATH: Final = struct.Struct(">QIBB")
_PAUSED, _FINISHING, _WANT_UP, _READY = 1, 2, 4, 8


class Status(NamedTuple):
    """One status file. Times in nanoseconds since 1970, UTC; `pid` is that of the finish script while `finishing`, 0 without a process."""

    changed_ns: int
    ready_ns: int
    pid: int
    wait_status: int
    finishing: bool
    want_up: bool
    ready: bool


class Death(NamedTuple):
    """One record of the tally."""

    at_ns: int
    code: int
    signal: int


def unpack_status(data: bytes, ahead: int = TAI_AHEAD) -> Status | None:
    """A status file's content; None for a length that no known version writes."""
    if len(data) == _STATUS.size:
        changed, changed_ns, ready, ready_ns, pid, wait_status, flags = _STATUS.unpack(data)
    elif len(data) == _STATUS_GROUP.size:
        changed, changed_ns, ready, ready_ns, pid, _, wait_status, flags = _STATUS_GROUP.unpack(data)
    else:
        return None
    zero = EPOCH + ahead
    return Status(
        (changed - zero) * 1_000_000_000 + changed_ns,
        (ready - zero) * 1_000_000_000 + ready_ns,
        pid,
        wait_status,
        bool(flags & _FINISHING),
        bool(flags & _WANT_UP),
        bool(flags & _READY),
    )


def pack_status(status: Status) -> bytes:
    """The content of a status file."""
    flags = _FINISHING * status.finishing | _WANT_UP * status.want_up | _READY * status.ready
    return _STATUS.pack(*_tain(status.changed_ns), *_tain(status.ready_ns), status.pid, status.wait_status, flags)


def unpack_deaths(data: bytes, ahead: int = TAI_AHEAD) -> list[Death]:
    """The deaths in a tally, oldest first. Half a record at the end is left out."""
    zero = EPOCH + ahead
    whole = len(data) - len(data) % RECORD
    return [
        Death((seconds - zero) * 1_000_000_000 + ns, code, signal)
        for seconds, ns, code, signal in _DEATH.iter_unpack(data[:whole])
    ]


def pack_death(death: Death) -> bytes:
    """One record of the tally."""
    return _DEATH.pack(*_tain(death.at_ns), death.code, death.signal)


def label(at_ns: int) -> bytes:
    """A time as text."""
    return b"@%016x%08x" % _tain(at_ns)


def unlabel(text: bytes, ahead: int = TAI_AHEAD) -> float | None:
    """Seconds since 1970 of the time at the beginning of a text; None when there is none."""
    at_ns = unlabel_ns(text, ahead)
    return None if at_ns is None else at_ns / 1e9


def unlabel_ns(text: bytes, ahead: int = TAI_AHEAD) -> int | None:
    """The same in nanoseconds, exactly."""
    if text[:1] != b"@" or len(text) < LABEL:
        return None
    try:
        return (int(text[1:17], 16) - EPOCH - ahead) * 1_000_000_000 + int(text[17:LABEL], 16)
    except ValueError:
        return None


def _tain(at_ns: int) -> tuple[int, int]:
    seconds, ns = divmod(at_ns, 1_000_000_000)
    return EPOCH + TAI_AHEAD + seconds, ns
