"""Durable runs: what is kept of them, how they go on after the process died, and what they tell of themselves afterwards."""

from setpoint.data.runs.errors import NotKept, NotMigrated, RunError
from setpoint.data.runs.runs import Runs
from setpoint.data.runs.versions import Migration
from setpoint.store.run_rows import Query, RunRow, StepRow

__all__ = ["Migration", "NotKept", "NotMigrated", "Query", "RunError", "RunRow", "Runs", "StepRow"]
