"""``mqtt://broker:1883/topic`` and, with TLS, ``mqtts://broker:8883/topic``: the flows' `mqtt` input and output as ends of streams.

The path is the topic: of a source a filter, ``mqtt://broker/plant/+/temperature``; of a sink the topic of all records, or nothing, and then
`topic_field` says in which field each record has its own. The query has the fields of the component.

A source acknowledges what the sink has committed, so with `qos` 1 or 2, a `client_id` and ``clean_session=false`` nothing is lost, whatever
happens; what was committed and not acknowledged when it was killed comes again. A resume counts on; where to go on is known by the broker.
"""

from __future__ import annotations

from typing import Any

from setpoint.flows.ends.adapters import InputSource, OutputSink
from setpoint.flows.ends.options import sink_options, source_options
from setpoint.flows.ends.where import Where, checked, nested, where
from setpoint.flows.inputs.mqtt import Mqtt as MqttInput
from setpoint.flows.mqtt import LIBRARY
from setpoint.flows.outputs.mqtt import Mqtt as MqttOutput

_TOPIC = "mqtt_topic"


def source(url: str, **options: Any) -> InputSource:
    """Reads what is published. Raises `ValueError` with all that is wrong with the URL and the options."""
    _installed()
    place = where(url, options)
    chosen, rest = source_options(place, topic_meta=_TOPIC)
    more = rest.pop("topics", [])
    topics = [*([place.path] if place.path else []), *(more if isinstance(more, list) else [more])]
    fields = checked("input", "mqtt", {**_connection(place, rest), "topics": topics})
    assert isinstance(fields, MqttInput.Fields)
    return InputSource(lambda context: MqttInput(fields, context), name=_name(place), resumes=True, **chosen)


def sink(url: str, **options: Any) -> OutputSink:
    """Publishes. Raises `ValueError` with all that is wrong with the URL and the options."""
    _installed()
    place = where(url, options)
    chosen, rest = sink_options(place, topic_meta=_TOPIC)
    if place.path and chosen["form"].topic_field:
        raise ValueError("the topic is said twice: by the path of the URL and by topic_field; keep one of them")
    topic = place.path or ('${! meta("mqtt_topic") }' if chosen["form"].topic_field else "")
    if not topic:
        raise ValueError(
            f"{place.scheme}://{place.server} says no topic: write it behind the broker, or say topic_field=…"
        )
    fields = checked("output", "mqtt", {**_connection(place, rest), "topic": topic})
    assert isinstance(fields, MqttOutput.Fields)
    return OutputSink(lambda context: MqttOutput(fields, context), name=_name(place), **chosen)


def _connection(place: Where, rest: dict[str, Any]) -> dict[str, Any]:
    """The fields of the connection: from the URL, and what else its query says."""
    own = {"urls": f"{'ssl' if place.scheme == 'mqtts' else 'tcp'}://{place.server}"}
    own |= {"user": place.user} if place.user else {}
    own |= {"password": place.password} if place.password else {}
    twice = [key for key in (*own, "topic") if key in rest]
    if twice:
        raise ValueError(f"{', '.join(twice)}: the URL itself says it; leave it out of the options")
    return {**own, **nested(rest)}


def _name(place: Where) -> str:
    return f"{place.scheme}://{place.server}/{place.path}"


def _installed() -> None:
    from importlib.util import find_spec

    if find_spec("paho") is None:
        raise ValueError(LIBRARY)
