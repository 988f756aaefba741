"""What the tests of the store put into it, and how they look whether it is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from setpoint.store import KINDS, SqliteStore, Transition


def move(number: int, path: str = "agent/a") -> Transition:
    return Transition(path, 1000.0 + number, f"e{number}", "s", "t", "because")


def fill(store: SqliteStore, workers: int = 200) -> None:
    for number in range(workers):
        for kind in KINDS:
            store.put(f"agent/{number}", kind, {"n": number, "text": "x" * 300}, at=1.0)
        store.append(move(number))


def assert_full(store: SqliteStore, workers: int = 200) -> None:
    documents = store.load()
    assert {path: set(of) for path, of in documents.items()} == {f"agent/{n}": set(KINDS) for n in range(workers)}
    assert all(d.value["n"] == int(path.split("/")[1]) for path, of in documents.items() for d in of.values())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def set_asides(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".damaged-" in path.name and path.suffix == ".sqlite")
