"""Redpanda from outside: what its admin API, its metrics and its schema registry say, and how a managed one is started.

    admin       ready or not, the cluster's configuration read and written, the text of the metrics; each call bounded in time
    metrics     the few of the public metrics that matter here, whatever else is there and whatever is missing
    health      from readings to facts: checks by name, rates, the classification of log lines
    settings    the cluster's configuration kept as wanted, without fighting with whoever else changes it
    registry    schemas registered, compared by content, removed only where they are ours
    schemas     the same by a task that looks again
    managed     the config file and command line of a Redpanda that this program starts

Nothing here is a worker and nothing here remembers across a restart of the program. There is no Redpanda binary among the parts that the
tests can have, so this side is tested against a server that speaks the documented formats; the Kafka side is tested on a real Apache Kafka.
"""

from setpoint.services.redpanda.admin import Admin, AdminError
from setpoint.services.redpanda.health import Check, Rates, Readings, checks, rates
from setpoint.services.redpanda.managed import Managed
from setpoint.services.redpanda.metrics import Metrics, NotMetrics, parse
from setpoint.services.redpanda.registry import RegistryError, Schemas, SchemasReport
from setpoint.services.redpanda.settings import ClusterSettings, SettingsReport, TopicDefaults

__all__ = [
    "Admin",
    "AdminError",
    "Check",
    "ClusterSettings",
    "Managed",
    "Metrics",
    "NotMetrics",
    "Rates",
    "Readings",
    "RegistryError",
    "Schemas",
    "SchemasReport",
    "SettingsReport",
    "TopicDefaults",
    "checks",
    "parse",
    "rates",
]
