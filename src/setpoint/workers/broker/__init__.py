"""The broker: the log that everything is written to, open, healthy and in use."""

from setpoint.workers.broker.log import Look, NamespaceLog
from setpoint.workers.broker.machine import Broker
from setpoint.workers.broker.seen import BrokerObserved
from setpoint.workers.broker.spec import IDLE_WINDOW, BrokerSpec, External, Managed, ManagedFields

__all__ = [
    "IDLE_WINDOW",
    "Broker",
    "BrokerObserved",
    "BrokerSpec",
    "External",
    "Look",
    "Managed",
    "ManagedFields",
    "NamespaceLog",
]
