"""The unified namespace: topics, locations, payloads, and the broker that carries them.

`topic` says what an address is, `location` where something stands, `payload` what a message may carry, `broker` what
a broker promises, and `embedded` is the broker that runs inside this process.
"""

from typing import TYPE_CHECKING, Any

from setpoint.namespace.broker import (
    EVERYTHING,
    Broker,
    BrokerError,
    BrokerStats,
    GroupInfo,
    Message,
    Subscription,
    TopicInfo,
)
from setpoint.namespace.location import LocationError, location_path, merge
from setpoint.namespace.payload import PayloadError, TimeSeries, decode, encode_relational, encode_time_series
from setpoint.namespace.topic import Topic, TopicError, TopicFilter

if TYPE_CHECKING:
    from setpoint.namespace.embedded import EmbeddedBroker

__all__ = [
    "EVERYTHING",
    "Broker",
    "BrokerError",
    "BrokerStats",
    "EmbeddedBroker",
    "GroupInfo",
    "LocationError",
    "Message",
    "PayloadError",
    "Subscription",
    "TimeSeries",
    "Topic",
    "TopicError",
    "TopicFilter",
    "TopicInfo",
    "decode",
    "encode_relational",
    "encode_time_series",
    "location_path",
    "merge",
]


def __getattr__(name: str) -> Any:
    """`EmbeddedBroker` when somebody asks for it: most who need a topic need no database."""
    if name == "EmbeddedBroker":
        from setpoint.namespace.embedded import EmbeddedBroker

        return EmbeddedBroker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
