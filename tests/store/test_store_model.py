"""The store in SQLite and the store in memory tell the same story, whatever is done to them and whenever the file is opened anew."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from setpoint.store import KINDS, Conflict, MemoryStore, SqliteStore, Store, Transition

paths = st.sampled_from(["agent/a", "agent/b", "agent/a/c"])
states = st.sampled_from("stu")
kinds = st.sampled_from(KINDS)
values = st.dictionaries(
    st.sampled_from("xyz"), st.integers(0, 2) | st.floats(allow_nan=False) | st.text(max_size=3), max_size=2
)


class Stores(RuleBasedStateMachine):
    """The same steps on both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "store.sqlite"
        self.sqlite = SqliteStore(self.file)
        self.memory = MemoryStore()
        self.number = 0

    @property
    def both(self) -> tuple[Store, Store]:
        return self.sqlite, self.memory

    @rule(path=paths, kind=kinds, value=values)
    def put(self, path: str, kind: Any, value: Any) -> None:
        self.number += 1
        for store in self.both:
            store.put(path, kind, value, at=float(self.number))

    @rule(path=paths)
    def drop(self, path: str) -> None:
        for store in self.both:
            store.drop(path)

    @rule(path=paths, source=states, reached=states)
    def move(self, path: str, source: str, reached: str) -> None:
        self.number += 1
        for store in self.both:
            store.append(Transition(path, float(self.number), f"e{self.number}", source, reached, "because", path[-1]))

    @rule(path=paths, kind=kinds, value=values, right=st.booleans())
    def update(self, path: str, kind: Any, value: Any, right: bool) -> None:
        answers = []
        for store in self.both:
            stored = store.refresh(path).get(kind)
            version = stored.version if stored else 0
            try:
                answers.append(store.update(path, kind, value, version=version if right else version + 1) >= version)
            except Conflict as conflict:
                answers.append(conflict.version == version)
        assert answers == [True, True]

    @rule()
    def flush(self) -> None:
        assert all(store.flush() for store in self.both)

    @rule()
    def restart(self) -> None:
        self.sqlite.close()
        self.sqlite, self.memory = SqliteStore(self.file), self.memory.reopened()

    @invariant()
    def the_same_is_there(self) -> None:
        contents = [
            {path: {kind: d.value for kind, d in of.items()} for path, of in store.load().items()}
            for store in self.both
        ]
        assert contents[0] == contents[1]
        for path in ("agent/a", "agent/b", "agent/a/c"):
            assert list(self.sqlite.history(path, 5)) == list(self.memory.history(path, 5))
            assert self.sqlite.typical(path=path) == self.memory.typical(path=path)
        assert (self.sqlite.trouble(), self.memory.trouble()) == ("", "")

    def teardown(self) -> None:
        self.sqlite.close()
        self.folder.cleanup()


Stores.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestStores = Stores.TestCase
