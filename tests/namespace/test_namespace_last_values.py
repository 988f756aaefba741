"""The table of last values is written in parts: whoever looks meanwhile, or after a crash in the middle, sees the truth."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.namespace import Message, recent
from setpoint.namespace.log_reader import LogReader
from setpoint.namespace.log_writer import LogWriter
from setpoint.namespace.records import batches

STEPS = st.lists(st.one_of(st.lists(st.sampled_from("abcde"), min_size=1, max_size=6), st.just("part")), max_size=20)


def told(path: Path, writer: LogWriter) -> dict[str, tuple[int, int, bytes]]:
    """Of each topic: how many messages it had, the offset of the last, and what that said."""
    reader = LogReader(path)
    try:
        found = reader.topics("", lambda: writer.unwritten)
    finally:
        reader.close()
    return {info.topic: (info.count, info.offset, info.payload) for info in found}


@given(steps=STEPS)
def test_a_table_that_is_half_written_is_complete_with_what_is_not_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[str] | str]
) -> None:
    """After any publishing and any parts of writing: counts, last offsets and values; also for one who opens the file after a crash."""
    folder = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recent, "_ROWS_A_STATEMENT", 1)
        writer = LogWriter(folder / "log")
        expected: dict[str, tuple[int, int, bytes]] = {}
        offset = 0
        for step in steps:
            if isinstance(step, str):
                writer.flush()
                continue
            messages = [Message(topic, b"%d" % (offset + n)) for n, topic in enumerate(step)]
            writer.append(batches(messages), {})
            for message in messages:
                expected[message.topic] = (expected.get(message.topic, (0,))[0] + 1, offset, message.payload)
                offset += 1
        assert told(folder / "log", writer) == expected
        crashed = folder / "crashed"
        crashed.mkdir()
        for file in folder.glob("log*"):
            shutil.copy(file, crashed)
        again = LogWriter(crashed / "log")
        assert told(crashed / "log", again) == expected
        again.close()
        whole = LogWriter(crashed / "log")
        assert told(crashed / "log", whole) == expected
        whole.close()
        writer.close()
