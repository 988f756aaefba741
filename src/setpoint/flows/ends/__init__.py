"""Ends of streams: what flows can read and write, for ``setpoint run`` and `process_stream`.

`register` makes the schemes below known to `setpoint.data.stream`, which knows nothing of flows; a program calls it once, the command line
does so by itself. Nothing is imported before a URL with its scheme is opened::

    mqtt://broker/topic, mqtts://…    a topic of an MQTT broker
    uns://pattern                     the namespace of an agent on this machine: its embedded log
    kafka://broker/topic              a topic of a Kafka broker
    flow://file.yaml                  the `input` (or `output`) of a flow's configuration, whatever kind it is

`where` reads the URLs, `form` says how a message becomes a record, `adapters` turns an input or output of flows into a source or sink, and
one module for each scheme puts these together: `source(url, **options)` and `sink(url, **options)`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from setpoint.data.stream import register_sink, register_source

HOMES: Final = {
    "mqtt": "setpoint.flows.ends.mqtt",
    "mqtts": "setpoint.flows.ends.mqtt",
    "uns": "setpoint.flows.ends.uns",
    "kafka": "setpoint.flows.ends.kafka",
    "flow": "setpoint.flows.ends.component",
}
"""The module of each scheme."""


def register() -> None:
    """Have streams know these schemes. Idempotent."""
    for scheme, home in HOMES.items():
        register_source(scheme, _named(home, "source"))
        register_sink(scheme, _named(home, "sink"))


def _named(home: str, what: str) -> Callable[..., Any]:
    def make(url: str, **options: Any) -> Any:
        return getattr(import_module(home), what)(url, **options)

    return make
