"""Faults of the disk are tried again soon, so that tests are fast."""

from __future__ import annotations

import pytest

from setpoint.store import sqlite


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test of the store."""
    monkeypatch.setattr(sqlite, "RETRY_S", 0.01)
    monkeypatch.setattr(sqlite, "FLUSH_S", 0.001)
    monkeypatch.setattr("setpoint.store.schema.BUSY_S", 0.05)
