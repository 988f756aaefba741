"""Both stores keep what every store promises."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.store_conformance import StoreConformance

from setpoint.store import MemoryStore, SqliteStore, Store


class TestSqliteStore(StoreConformance):
    """One file."""

    def store(self, directory: Path) -> Store:
        return SqliteStore(directory / "store.sqlite")

    def another(self, directory: Path, first: Store) -> Store:
        return SqliteStore(directory / "store.sqlite")


class TestMemoryStore(StoreConformance):
    """No file: another process finds a copy."""

    shared = False

    def store(self, directory: Path) -> Store:
        return MemoryStore()

    def another(self, directory: Path, first: Store) -> Store:
        assert isinstance(first, MemoryStore)
        return first.reopened()
