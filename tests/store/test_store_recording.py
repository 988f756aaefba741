"""Recordings: what is written can be read again, whatever happened to the writer, the disk or the file in between."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from setpoint.store import recording, recording_writer
from setpoint.store.recording import Entry, Gap, NoRecording, delta, encode, patched, read, segments
from setpoint.store.recording_writer import RecordingWriter


def entry(number: int, path: str = "a", **observed: Any) -> dict[str, Any]:
    """An entry as plain data; `number` is its clock and its observed value."""
    return {
        "path": path,
        "type": "t",
        "machine": {"name": "m", "version": "1", "hash": "0"},
        "clocks": {"at": 1000.0 + number, "now": float(number)},
        "position": {"state": "on", "entered_at": 0.0, "held": {}, "begun": {}},
        "snapshot": {"observed": {"n": number, **observed}, "wanted": True},
        "decision": {"state": "on", "event": "", "effects": [], "reason": "fine", "wake_at": None},
    }


def plain(item: dict[str, Any]) -> dict[str, Any]:
    return item


def writer(place: Path, **options: Any) -> RecordingWriter[dict[str, Any]]:
    return RecordingWriter(place, lambda: plain, flush_s=0.01, wall=lambda: 5.0, **options)


@contextmanager
def writing(place: Path, **options: Any) -> Iterator[RecordingWriter[dict[str, Any]]]:
    made = writer(place, **options)
    try:
        yield made
    finally:
        made.close()


def numbers(place: Path) -> list[int]:
    """The observed numbers of all entries that can be read."""
    return [item.snapshot["observed"]["n"] for item in read(place) if isinstance(item, Entry)]


def gaps(place: Path) -> list[Gap]:
    return [item for item in read(place) if isinstance(item, Gap)]


def until(condition: Callable[[], bool]) -> None:
    """Wait for the writer's thread."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# the format


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.sampled_from(["", "=x", "~", "é"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["", "a", "=a", "-a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
mappings = st.dictionaries(st.sampled_from(["", "a", "=a", "~b", "c"]), values, max_size=4)


def written(value: Any) -> str:
    """How a value is written, so that 1, 1.0, True and nan are told apart; JSON lists carry no nan."""
    return json.dumps(value, sort_keys=True)


def without_odd_lists(value: Any) -> Any:
    """JSON has no nan and no infinity; mappings carry them, lists do not."""
    if isinstance(value, dict):
        return {key: without_odd_lists(part) for key, part in value.items()}
    if isinstance(value, list):
        return json.loads(encode(value))
    return 0.0 if value == 0 and isinstance(value, float) else value


@given(mappings, mappings)
def test_changes_lead_from_one_entry_to_the_next(old: dict[str, Any], new: dict[str, Any]) -> None:
    """For any two mappings, the changes carried through JSON make the one into the other, to the type of every number."""
    old, new = without_odd_lists(old), without_odd_lists(new)
    changes = json.loads(encode(delta(old, new)))
    assert written(patched(old, changes)) == written(new)


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), (0, False), ([1], [True]), ([[0]], [[0.0]]), ({}, []), (None, {}), ("", None)]
)
def test_values_that_only_seem_equal_are_changes(old: Any, new: Any) -> None:
    """A number that becomes a truth value, or a whole number a fraction, is another value to a typed field."""
    assert repr(patched({"a": old}, delta({"a": old}, {"a": new}))) == repr({"a": new})


@given(mappings)
def test_nothing_changed_is_nothing_written(value: dict[str, Any]) -> None:
    """There are no changes between a mapping and its copy, but for numbers that JSON lacks."""
    text = json.dumps(value)
    assume("NaN" not in text and "Infinity" not in text)
    assert delta(value, json.loads(text)) == {}


def test_entries_come_back_whole(tmp_path: Path) -> None:
    """Although only changes are written, each entry that is read has everything, numbers beyond JSON included."""
    with writing(tmp_path) as made:
        made.put(entry(1, rate=math.inf, words=["a"], gone=1))
        made.put(entry(2, "b"))
        made.put(entry(3, rate=math.nan, words=["a", "b"]))
    first, _, third = (item for item in read(tmp_path) if isinstance(item, Entry))
    assert first.snapshot["observed"] == {"n": 1, "rate": math.inf, "words": ["a"], "gone": 1}
    assert third.snapshot["observed"].keys() == {"n", "rate", "words"}
    assert math.isnan(third.snapshot["observed"]["rate"])
    assert (third.path, third.machine.name, third.clocks.at, third.decision.reason) == ("a", "m", 1003.0, "fine")


def test_only_changes_take_room(tmp_path: Path) -> None:
    """A second entry with one changed number is a line of some bytes; one of which only the clocks differ is none."""
    with writing(tmp_path) as made:
        made.put(entry(1, text="x" * 500))
        made.put(entry(2, text="x" * 500))
        made.put({**entry(2, text="x" * 500), "clocks": {"at": 9.0, "now": 9.0}})
    _, first, second, *rest = gzip.decompress(segments(tmp_path)[0].read_bytes()).splitlines()
    assert len(first) > 500
    assert json.loads(second) == [0, {"~clocks": {"=at": 1002.0, "=now": 2.0}, "~snapshot": {"~observed": {"=n": 2}}}]
    assert rest == []


def test_nothing_is_written_while_nothing_happens(tmp_path: Path) -> None:
    """A recorder to which nothing happens leaves no file; one to which nothing new happens does not touch its file."""
    with writing(tmp_path / "idle"):
        pass
    assert not (tmp_path / "idle").exists()
    with writing(tmp_path / "calm") as made:
        made.put(entry(1))
        until(lambda: made.written == 1)
        size = segments(tmp_path / "calm")[0].stat().st_size
        made.put({**entry(1), "clocks": {"at": 2.0, "now": 2.0}})
    assert segments(tmp_path / "calm")[0].stat().st_size == size


# size


def test_segments_are_rotated_and_the_oldest_go(tmp_path: Path) -> None:
    """The directory stays within its bytes; what is left can be read from the first segment on, in order and without a break."""
    keep = 20_000
    with writing(tmp_path, keep_bytes=keep, segment_bytes=2_000) as made:
        for number in range(3_000):
            made.put(entry(number, f"w{number % 7}", noise=os.urandom(8).hex()))
            if number % 50 == 0:
                until(lambda number=number: made.written > number - 50)  # type: ignore[misc]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= keep
    assert len(segments(tmp_path)) > 3
    left = numbers(tmp_path)
    assert left[0] > 0
    assert left == list(range(left[0], 3_000))
    for file in segments(tmp_path):
        assert numbers(file)
        assert gaps(file) == []


def test_a_new_writer_begins_a_new_segment(tmp_path: Path) -> None:
    """What an earlier process left is never appended to, whatever it ends with."""
    for number in (1, 2):
        with writing(tmp_path) as made:
            made.put(entry(number))
    assert [file.name for file in segments(tmp_path)] == ["decisions-00000001.jsonl.gz", "decisions-00000002.jsonl.gz"]
    assert numbers(tmp_path) == [1, 2]


# faults of the writer and the disk


def test_a_burst_is_counted_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes faster than it can be written is lost, never waited for; the recording says how many are missing, and where."""
    monkeypatch.setattr(recording_writer, "KEEP_WAITING", 100)
    held, begun = threading.Event(), threading.Event()

    def slow(item: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        held.wait(10)
        return item

    made = RecordingWriter(tmp_path, lambda: slow, flush_s=0.0)
    made.put(entry(0))
    assert begun.wait(10)
    for number in range(1, 501):
        made.put(entry(number))
    held.set()
    until(lambda: made.written == 101 and made.lost == 400)
    made.put(entry(600))
    made.close()
    items = list(read(tmp_path))
    assert [item.lost for item in items if isinstance(item, Gap)] == [400]
    assert isinstance(items[-2], Gap)
    assert numbers(tmp_path) == [*range(101), 600]


def test_what_cannot_be_written_is_a_gap_and_not_the_end(tmp_path: Path) -> None:
    """A value of no known kind, an endless one: that entry is missing, those around it are not."""
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with writing(tmp_path) as made:
        made.put(entry(1))
        made.put(entry(2, odd=object()))
        made.put(entry(3, huge="x" * (recording.MAX_LINE + 1)))
        made.put(entry(4, circle=circle))
        made.put(entry(5))
    assert numbers(tmp_path) == [1, 5]
    assert made.lost == 3
    assert sum(gap.lost for gap in gaps(tmp_path)) == 3


def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """While nothing can be written that is counted and told; afterwards recording goes on, and the recording says what is missing."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with writing(tmp_path) as made:
        made.put(entry(1))
        until(lambda: made.written == 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # from here on no file may be longer than 10 bytes
        try:
            for number in range(2, 5):
                made.put(entry(number, noise=os.urandom(50).hex()))
                until(lambda number=number: made.lost == number - 1)  # type: ignore[misc]
            assert "too large" in made.trouble
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        made.put(entry(5))
        until(lambda: made.written == 2)
        assert made.trouble == ""
    assert numbers(tmp_path) == [1, 5]
    (gap,) = gaps(tmp_path)
    assert gap.lost == 3
    assert "too large" in gap.why


def test_a_batch_that_fits_by_half_leaves_no_half(tmp_path: Path) -> None:
    """The disk fills up in the middle of a batch: nothing of the batch stays behind, and the file is whole."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with writing(tmp_path) as made:
        made.put(entry(1))
        until(lambda: made.written == 1)
        size = segments(tmp_path)[0].stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
        try:
            made.put(entry(2, noise=os.urandom(500).hex()))
            until(lambda: made.lost == 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert segments(tmp_path)[0].stat().st_size == size
    assert numbers(tmp_path) == [1]
    assert [gap.lost for gap in gaps(tmp_path)] == [1]


KILLED = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.store.test_store_recording import entry, writer
made = writer(Path(sys.argv[1]), segment_bytes=20_000)
number = 0
while True:
    made.put(entry(number, f"w{number % 5}"))
    number += 1
    if number % 200 == 0:
        while made.written < number: pass
        print(made.written, flush=True)
"""


@pytest.mark.real
def test_kill_9_costs_at_most_the_last_batch(tmp_path: Path) -> None:
    """Everything that had been written when the process was killed is there, in order."""
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), root], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        counted = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
    left = numbers(tmp_path)
    assert len(left) >= counted[-1]
    assert left == list(range(len(left)))
    assert len(gaps(tmp_path)) <= 1


# what may be in a file


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A segment of ten batches of ten entries."""
    with writing(tmp_path / "good") as made:
        for batch in range(10):
            for number in range(10):
                made.put(entry(batch * 10 + number))
            until(lambda batch=batch: made.written == batch * 10 + 10)  # type: ignore[misc]
    return segments(tmp_path / "good")[0]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_torn_file_is_read_up_to_the_tear(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut anywhere: whole batches before the cut are read, and that something is missing is said."""
    file = tmp_path_factory.getbasetemp() / "torn" / "decisions-00000001.jsonl.gz"
    if not file.exists():
        with writing(file.parent) as made:
            for number in range(60):
                made.put(entry(number))
                until(lambda number=number: made.written == number + 1)  # type: ignore[misc]
    whole = file.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    torn = file.with_name("torn.jsonl.gz")
    torn.write_bytes(whole[:cut])
    left = numbers(torn)
    assert left == list(range(len(left)))
    assert gaps(torn) or left == list(range(60)) or whole[cut : cut + 2] == b"\x1f\x8b"  # a cut between two batches


def test_a_flipped_bit_is_found(recorded: Path) -> None:
    """Nothing of a batch is believed whose checksum is wrong; what came before it is."""
    content = bytearray(recorded.read_bytes())
    content[len(content) // 2] ^= 0x10
    recorded.write_bytes(content)
    left = numbers(recorded)
    assert left == list(range(len(left)))
    assert 10 <= len(left) < 100
    assert "left out" in gaps(recorded)[0].why


def test_the_next_segment_is_read_again(tmp_path: Path) -> None:
    """Damage in one segment costs that segment's rest, and nothing of the next."""
    for number in (1, 2, 3):
        with writing(tmp_path) as made:
            made.put(entry(number))
    segments(tmp_path)[1].write_bytes(b"rubbish")
    assert numbers(tmp_path) == [1, 3]
    assert "decisions-00000002" in gaps(tmp_path)[0].why


HEAD = b'{"format":1,"program":"","started":0}\n'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text\n",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"not json\n", mtime=0),
        gzip.compress(b"[0,{}]\n", mtime=0),
        gzip.compress(b'{"format":"1"}\n', mtime=0),
        gzip.compress(b'{"format":2}\n[0,{}]\n', mtime=0),
        gzip.compress(HEAD + b"[0,{}]\n", mtime=0),
        gzip.compress(HEAD + b"[-1,{}]\n", mtime=0),
        gzip.compress(HEAD + b"[7,{}]\n", mtime=0),
        gzip.compress(HEAD + b'[true,{"=path":"x"}]\n', mtime=0),
        gzip.compress(HEAD + b"[0]\n", mtime=0),
        gzip.compress(HEAD + b"5\n", mtime=0),
        gzip.compress(HEAD + b'{"lost":"many"}\n', mtime=0),
        gzip.compress(HEAD + b'[0,{"~x":{"=a":1}}]\n', mtime=0),
        gzip.compress(HEAD + b'[0,{"?x":1}]\n', mtime=0),
        gzip.compress(HEAD + b'[0,{"":1}]\n', mtime=0),
        gzip.compress(HEAD + b'[0,{"#x":"one"}]\n', mtime=0),
        gzip.compress(HEAD + b"[0," + b'{"+x":' * 5_000 + b"{}" + b"}" * 5_000 + b"]\n", mtime=0),
        gzip.compress(HEAD + b"\xff\xfe\n", mtime=0),
        gzip.compress(HEAD + b"x" * 20_000_000, mtime=0),
        gzip.compress(b"\n" * 20_000_000, mtime=0),
    ],
    ids=itertools.count(),
)
def test_rubbish_is_said_to_be_rubbish(tmp_path: Path, content: bytes) -> None:
    """Whatever the file holds: no exception, no entry, one gap that says what is wrong."""
    file = tmp_path / "x.jsonl.gz"
    file.write_bytes(content)
    (item,) = read(file)
    assert isinstance(item, Gap)
    assert "x.jsonl.gz" in item.why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"format":2}\n', "format 2, which this program does not know"),
        (b"\n" * 20_000_000, "a batch holds more than"),
        (b"x" * 20_000_000, "a batch holds more than"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, why: str) -> None:
    """A file of a later program is told from rubbish, and rubbish from a bomb."""
    file = tmp_path / "x.jsonl.gz"
    file.write_bytes(gzip.compress(content, mtime=0))
    (item,) = read(file)
    assert isinstance(item, Gap)
    assert why in item.why


@pytest.mark.parametrize("number", [b"-1", b"true", b"3", b"0.0", b'"0"'])
def test_an_entry_of_no_worker_ends_the_segment(tmp_path: Path, number: bytes) -> None:
    """A line that does not say plainly whose it is, is not taken for anybody's."""
    file = tmp_path / "x.jsonl.gz"
    lines = [HEAD.strip(), encode([0, delta({}, entry(1))]), encode([1, delta({}, entry(2, "b"))])]
    file.write_bytes(gzip.compress(b"\n".join([*lines, b"[" + number + b',{"=path":"x"}]\n'])))
    assert numbers(file) == [1, 2]
    assert len(gaps(file)) == 1


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A file that claims to hold gigabytes is given up after as much as a segment may hold, in bounded memory."""
    file = tmp_path / "bomb.jsonl.gz"
    member = gzip.compress(b"\n" * 6_000_000, mtime=0)
    file.write_bytes(gzip.compress(HEAD) + member * 500)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (item,) = read(file)
    assert isinstance(item, Gap)
    assert "holds more than" in item.why
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_what_is_no_recording_is_refused_by_name(tmp_path: Path) -> None:
    """An empty directory and a path at which nothing is are no recordings."""
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(NoRecording, match=place.name):
            list(read(place))
