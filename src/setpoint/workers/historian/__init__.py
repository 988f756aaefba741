"""The historian: writes chosen contracts of the namespace to a database, and says how that goes."""

from setpoint.workers.historian.machine import Historian
from setpoint.workers.historian.seen import HistorianObserved
from setpoint.workers.historian.spec import LEGACY, HistorianSpec, Sqlite, Timescale

__all__ = ["LEGACY", "Historian", "HistorianObserved", "HistorianSpec", "Sqlite", "Timescale"]
