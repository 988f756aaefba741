"""The control runtime: keeps workers where they are wanted, and says why they are not."""

from setpoint.control.lifecycle import LIFECYCLE
from setpoint.control.limits import Limits
from setpoint.control.monitor import Monitor, monitor
from setpoint.control.operator import VERBS, NotPossible, Verb
from setpoint.control.registry import Registry, UnknownWorkerType
from setpoint.control.snapshot import Fact, Facts, Observation, Snapshot, retry_asked, wanted
from setpoint.control.supervisor import Supervisor
from setpoint.control.views import WorkerDetail, WorkerView
from setpoint.control.worker import ChildSpec, Context, Worker

__all__ = [
    "LIFECYCLE",
    "VERBS",
    "ChildSpec",
    "Context",
    "Fact",
    "Facts",
    "Limits",
    "Monitor",
    "NotPossible",
    "Observation",
    "Registry",
    "Snapshot",
    "Supervisor",
    "UnknownWorkerType",
    "Verb",
    "Worker",
    "WorkerDetail",
    "WorkerView",
    "monitor",
    "retry_asked",
    "wanted",
]
