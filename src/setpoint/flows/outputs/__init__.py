"""The outputs a flow can write to, by the name its configuration calls them. A third party adds its own to the table."""

from __future__ import annotations

from setpoint.flows.component import Kind, Output
from setpoint.flows.outputs.drop import Drop
from setpoint.flows.outputs.file import File
from setpoint.flows.outputs.kafka import Kafka, KafkaFranz
from setpoint.flows.outputs.mqtt import Mqtt
from setpoint.flows.outputs.stdout import Stdout
from setpoint.flows.outputs.uns import Uns

OUTPUTS: dict[str, Kind[Output]] = {
    "drop": Kind(Drop.Fields, Drop),
    "file": Kind(File.Fields, File),
    "kafka": Kind(Kafka.Fields, Kafka),
    "kafka_franz": Kind(Kafka.Fields, KafkaFranz),
    "mqtt": Kind(Mqtt.Fields, Mqtt),
    "stdout": Kind(Stdout.Fields, Stdout),
    "uns": Kind(Uns.Fields, Uns),
}
