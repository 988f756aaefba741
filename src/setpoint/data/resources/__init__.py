"""Resources: what functions use of the world outside, each for as long as a state, an arc or a record needs it."""

from setpoint.data.resources.batch import Batch
from setpoint.data.resources.breaker import Breaker, BreakerOpen, RateLimit
from setpoint.data.resources.holds import Entry, Holds
from setpoint.data.resources.kinds import TYPES, faults
from setpoint.data.resources.lease import PoolSettings
from setpoint.data.resources.manager import Manager, manager
from setpoint.data.resources.provider import (
    Given,
    Health,
    Leak,
    Owner,
    Provider,
    ResourceBusy,
    ResourceClosed,
    ResourceDeadlock,
    ResourceError,
    ResourceTimeout,
    ResourceUnavailable,
    Transactional,
    TransactionError,
    UnknownResource,
)
from setpoint.data.resources.queue import BrokerQueue

__all__ = [
    "TYPES",
    "Batch",
    "Breaker",
    "BreakerOpen",
    "BrokerQueue",
    "Entry",
    "Given",
    "Health",
    "Holds",
    "Leak",
    "Manager",
    "Owner",
    "PoolSettings",
    "Provider",
    "RateLimit",
    "ResourceBusy",
    "ResourceClosed",
    "ResourceDeadlock",
    "ResourceError",
    "ResourceTimeout",
    "ResourceUnavailable",
    "TransactionError",
    "Transactional",
    "UnknownResource",
    "faults",
    "manager",
]
