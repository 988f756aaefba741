"""What is seen of the historian."""

from __future__ import annotations

from setpoint.control import Observation


class HistorianObserved(Observation, frozen=True):
    """How the writing goes. Rows per second are over the time since the observation before; `latency_ms` is how long the last call took."""

    running: bool = False
    current: bool = False  # it does what is wanted
    connected: bool = False
    database: str = ""
    database_fault: str = ""  # why the database does not take what it is given
    namespace_fault: str = ""  # why the namespace cannot be read
    latency_ms: float = 0.0
    rows: int = 0
    rows_per_s: float = 0.0
    deleted: int = 0  # rows that were older than the retention
    lag: int = 0  # messages of the namespace that are not written yet
    lost: int = 0  # messages that the namespace no longer had when it was their turn
    rejected: int = 0
    rejections: str = ""  # what was set aside within the error window
    hypertables: bool = False
