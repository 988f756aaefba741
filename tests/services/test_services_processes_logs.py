"""Logs of processes: what the keeper writes and what readers make of it."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from setpoint.services.processes import LogCursor, formats
from setpoint.services.processes.keeper.log import LINE_BYTES, LogWriter
from setpoint.services.processes.logs import last_lines

AHEAD = formats.TAI_AHEAD
CHUNKS = st.lists(
    st.lists(st.sampled_from([b"\n", b"a", b"bc", b"@", b"d" * 300, b"\n\n"]), max_size=30).map(b"".join), max_size=30
)


def fresh(folder: Path) -> Path:
    """An empty place for a log: hypothesis tries many in one test."""
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    return place


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chunks=CHUNKS, reads=st.lists(st.booleans(), max_size=30))
def test_every_line_comes_once_and_in_order(tmp_path: Path, chunks: list[bytes], reads: list[bool]) -> None:
    """However output is cut, wherever files are closed, and whenever somebody reads."""
    place = fresh(tmp_path)
    writer = LogWriter(str(place), size=4096, files=1000)
    cursor = LogCursor(place, AHEAD, from_start=True)
    followed: list[str] = []
    for number, chunk in enumerate(chunks):
        if chunk:
            writer.write(chunk)
        if number < len(reads) and reads[number]:
            followed += [line.text for line in cursor.read()]
    writer.close()
    followed += [line.text for line in cursor.read()]
    cursor.close()
    *whole, rest = b"".join(chunks).decode().split("\n")
    expected = whole + ([rest] if rest else [])
    assert followed == expected
    assert [line.text for line in last_lines(place, 100_000, AHEAD)] == expected
    assert [line.text for line in last_lines(place, 3, AHEAD)] == expected[-3:]
    assert all(line.at for line in last_lines(place, 100_000, AHEAD))
    longest = max((len(line) for line in expected), default=0)
    assert all(file.stat().st_size <= 4096 + formats.LABEL + longest + 2 for file in place.glob("@*"))


@given(at_ns=st.integers(0, 10**19), ahead=st.integers(0, 100))
def test_times_survive_being_written(at_ns: int, ahead: int) -> None:
    """To the nanosecond; another table of leap seconds moves them by whole seconds."""
    text = formats.label(at_ns)
    assert len(text) == formats.LABEL
    assert formats.unlabel_ns(text) == at_ns
    assert formats.unlabel_ns(text, ahead) == at_ns + (AHEAD - ahead) * 1_000_000_000


@given(
    status=st.builds(
        formats.Status,
        st.integers(0, 10**19),
        st.integers(0, 10**19),
        st.integers(0, 2**22),
        st.integers(0, 65535),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    )
)
def test_a_status_survives_being_written(status: formats.Status) -> None:
    """In the 35 bytes of most versions of s6; the 43 of 2.13 are understood; any other length is not guessed at."""
    data = formats.pack_status(status)
    assert formats.unpack_status(data) == status
    assert formats.unpack_status(data[:32] + bytes(8) + data[32:]) == status
    assert formats.unpack_status(data + b"x") is None
    assert formats.unpack_status(data[:-1]) is None


def test_half_a_death_is_left_out() -> None:
    """A tally that was cut off, by a full disk, gives the whole records before."""
    death = formats.Death(1_700_000_000_000_000_000, 137, 9)
    data = formats.pack_death(death)
    assert formats.unpack_deaths(data * 2 + data[:5]) == [death, death]


def test_lines_of_others_have_no_time(tmp_path: Path) -> None:
    """And are shown as they are; bytes that are no text are replaced."""
    (tmp_path / "current").write_bytes(
        b"plain\n@4000000068d0c0a5 short\n\xff\n" + formats.label(10**18) + b" ours\nhalf"
    )
    assert [(line.at, line.text) for line in last_lines(tmp_path, 10, AHEAD)] == [
        (None, "plain"),
        (None, "@4000000068d0c0a5 short"),
        (None, "\ufffd"),
        (1e9, "ours"),
    ]


def test_a_reader_that_was_away_too_long_says_so(tmp_path: Path) -> None:
    """Files that were deleted before they were read are counted, and it goes on with the oldest that is left."""
    writer = LogWriter(str(tmp_path), size=4096, files=2)
    writer.write(b"first\n")
    cursor = LogCursor(tmp_path, AHEAD, from_start=True)
    assert [line.text for line in cursor.read()] == ["first"]
    for i in range(1000):
        writer.write(b"line %d\n" % i)
    lines = [line.text for line in cursor.read()]
    assert cursor.missed == 1
    until = next(i for i, line in enumerate(lines) if line != f"line {i}")  # it still had the first file open
    assert lines[until:] == [f"line {i}" for i in range(1000 - len(lines) + until, 1000)]
    assert 0 < until < len(lines) < 1000
    cursor.close()
    writer.close()


def test_a_log_that_is_emptied_by_hand_is_read_from_its_beginning(tmp_path: Path) -> None:
    """As by ``> current``."""
    writer = LogWriter(str(tmp_path), size=4096, files=2)
    writer.write(b"first line\n")
    cursor = LogCursor(tmp_path, AHEAD)
    assert cursor.read() == []
    os.truncate(tmp_path / "current", 0)
    writer.write(b"new\n")
    assert [line.text for line in cursor.read()] == ["new"]
    cursor.close()
    writer.close()


def test_a_line_without_end_is_broken(tmp_path: Path) -> None:
    """After 64 kB, so that a program that never writes a line break fills no file beyond its size."""
    writer = LogWriter(str(tmp_path), size=200_000, files=2)
    for _ in range(30):
        writer.write(b"x" * 30_000)
    writer.close()
    lines = [line.text for line in last_lines(tmp_path, 100, AHEAD)]
    assert set("".join(lines)) == {"x"}
    assert max(map(len, lines)) <= LINE_BYTES


def test_a_clock_that_was_set_back_does_not_mix_up_old_files(tmp_path: Path) -> None:
    """A file that is closed comes after all that were closed before, whatever the clock says."""
    ahead = formats.label(4_000_000_000_000_000_000).decode() + ".s"
    (tmp_path / ahead).write_bytes(formats.label(10**18) + b" oldest\n")
    writer = LogWriter(str(tmp_path), size=4096, files=10)
    for i in range(300):
        writer.write(b"line %d\n" % i)
    writer.close()
    lines = [line.text for line in last_lines(tmp_path, 1000, AHEAD)]
    assert lines == ["oldest", *(f"line {i}" for i in range(300))]
