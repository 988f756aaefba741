"""What tests of runs that are kept begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from data_clock import Clock

from setpoint.data.runs import Runs


@pytest.fixture
def clock() -> Clock:
    """The time of day of a test."""
    return Clock()


@pytest.fixture
def runs(tmp_path: Path, clock: Clock) -> Iterator[Runs]:
    """A file with runs."""
    runs = Runs(tmp_path / "runs.sqlite", wall=clock)
    yield runs
    runs.close()
