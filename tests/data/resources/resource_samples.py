"""Providers for tests: they count what was made of them and fail when told to."""

from __future__ import annotations

from typing import Any

from setpoint.data.resources import Entry, Manager, PoolSettings


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Sync:
    """Numbered handles. `failing` makes that many attempts to make one fail; handles in `dead` do not pass their check."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.alive: set[int] = set()
        self.most = self.made = self.failing = 0
        self.dead: set[int] = set()

    def _make(self) -> int:
        if self.failing:
            self.failing -= 1
            raise ConnectionError("refused by password=hunter2")
        self.made += 1
        self.alive.add(self.made)
        self.most = max(self.most, len(self.alive))
        return self.made

    def open(self) -> None:
        self.calls.append("open")

    def acquire(self) -> int:
        return self._make()

    def check(self, handle: int) -> bool:
        self.calls.append(f"check {handle}")
        return handle not in self.dead

    def release(self, handle: int) -> None:
        self.alive.remove(handle)

    def close(self) -> None:
        self.calls.append("close")


class Async(Sync):
    """The same, async."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[int] = []

    async def open(self) -> None:  # type: ignore[override]
        self.calls.append("open")

    async def acquire(self) -> int:  # type: ignore[override]
        return self._make()

    async def check(self, handle: int) -> bool:  # type: ignore[override]
        return handle not in self.dead

    async def release(self, handle: int) -> None:  # type: ignore[override]
        self.alive.remove(handle)

    async def close(self) -> None:  # type: ignore[override]
        self.calls.append("close")

    def abandon(self, handle: int) -> None:
        self.alive.remove(handle)
        self.lost.append(handle)


class Ledger:
    """Handles that know transactions on one list: `entries` is what was committed."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.fail_commit = False

    def open(self) -> None:
        pass

    def acquire(self) -> Page:
        return Page(self)

    def check(self, handle: Page) -> bool:
        return True

    def release(self, handle: Page) -> None:
        pass

    def close(self) -> None:
        pass

    def begin(self, handle: Page) -> None:
        assert handle.draft is None
        handle.draft = []

    def commit(self, handle: Page) -> None:
        if self.fail_commit:
            raise OSError("the disk is full")
        assert handle.draft is not None
        self.entries += handle.draft
        handle.draft = None

    def rollback(self, handle: Page) -> None:
        handle.draft = None

    def savepoint(self, handle: Page) -> int:
        assert handle.draft is not None
        return len(handle.draft)

    def keep(self, handle: Page, mark: int) -> None:
        if handle.draft is None:
            raise RuntimeError("no transaction")

    def undo(self, handle: Page, mark: int) -> None:
        assert handle.draft is not None
        del handle.draft[mark:]

    def pending(self, handle: Page) -> bool:
        return handle.draft is not None


class Page:
    """A handle of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.draft: list[str] | None = None

    def write(self, entry: str) -> None:
        (self._ledger.entries if self.draft is None else self.draft).append(entry)


def managed(provider: Any, *, transactions: Any = "none", clock: Any = None, **settings: Any) -> Manager:
    """A manager of one resource, `it`."""
    entry = Entry(provider, PoolSettings(**settings), transactions)
    return Manager({"it": entry}) if clock is None else Manager({"it": entry}, clock=clock)


IT = {"it": "it"}
