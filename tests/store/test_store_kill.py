"""The store and kill -9: what was flushed is there, the rest is readable, and at most the last batch is missing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from setpoint.store import SqliteStore

pytestmark = [pytest.mark.real, pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")]

WRITER = """
import sys
from pathlib import Path
from setpoint.store import SqliteStore, Transition

store = SqliteStore(Path(sys.argv[1]))
first = max((d["state"].value["n"] for d in store.load().values()), default=-1) + 1
print("ready", first, flush=True)
for n in range(first, 10_000_000):
    for worker in range(5):
        store.put(f"agent/{worker}", "state", {"n": n, "text": "x" * (n % 700)}, at=float(n))
        store.put(f"agent/{worker}", "observed", {"n": n}, at=float(n))
    store.append(Transition("agent/a", float(n), f"e{n}", "s", "t", "because"))
    if n % 40 == 0:
        store.put("agent/gone", "state", {"n": n}, at=float(n))
        assert store.flush()
        print("flushed", n, flush=True)
    elif n % 40 == 1:
        store.drop("agent/gone")
"""
"""Counts for ever, and says what it knows to be in the file."""


def killed_after(file: Path, seconds: float) -> int:
    """The last number that the writer said was in the file before it was killed."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = [said, *process.stdout.read().splitlines(keepends=True)]
    whole = [line for line in lines if line.endswith("\n") and line.startswith("flushed")]
    return int(whole[-1].split()[1]) if whole else -1


def test_a_writer_that_is_killed_loses_at_most_its_last_batch(tmp_path: Path) -> None:
    """Again and again, each time going on with the same file: nothing said to be written is missing, nothing is there twice or torn."""
    file, chance = tmp_path / "store.sqlite", random.Random(3)
    flushed = -1
    for _ in range(6):
        flushed = max(flushed, killed_after(file, chance.uniform(0.0, 0.25)))
        reader = SqliteStore(file, read_only=True)
        documents, events = reader.load(), [row.event for row in reader.history("agent/a", 10_000_000)]
        reader.close()
        numbers = [
            documents[f"agent/{worker}"][kind].value["n"] for worker in range(5) for kind in ("state", "observed")
        ]
        assert min(numbers, default=-1) >= flushed
        assert set(events) >= {f"e{n}" for n in range(flushed + 1)}
        assert (
            len(set(events)) >= len(events) - 6 * 5
        )  # a number is used again only where its worker's state was lost with the last batch
    store = SqliteStore(file)
    assert (store.set_aside, store.trouble()) == ("", "")
    store.put("agent/0", "state", {"n": "after"}, at=1.0)
    assert store.flush()
    assert store.alive_at is not None
    assert time.time() - 60 < store.alive_at <= time.time()
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite"]
