"""The outputs a flow can write to, by the name its configuration calls them. A third party adds its own to the table."""

from __future__ import annotations

from setpoint.flows.component import Kind, Output
from setpoint.flows.outputs.drop import Drop
from setpoint.flows.outputs.file import File
from setpoint.flows.outputs.http_client import HttpClient
from setpoint.flows.outputs.kafka import Kafka, KafkaFranz
from setpoint.flows.outputs.modbus import Modbus
from setpoint.flows.outputs.mqtt import Mqtt
from setpoint.flows.outputs.opcua import Opcua
from setpoint.flows.outputs.sql import SqlInsert, SqlRaw
from setpoint.flows.outputs.stdout import Stdout
from setpoint.flows.outputs.uns import Uns

OUTPUTS: dict[str, Kind[Output]] = {
    "drop": Kind(Drop.Fields, Drop),
    "file": Kind(File.Fields, File),
    "http_client": Kind(HttpClient.Fields, HttpClient),
    "kafka": Kind(Kafka.Fields, Kafka),
    "kafka_franz": Kind(Kafka.Fields, KafkaFranz),
    "modbus": Kind(Modbus.Fields, Modbus),
    "mqtt": Kind(Mqtt.Fields, Mqtt),
    "opcua": Kind(Opcua.Fields, Opcua),
    "sql_insert": Kind(SqlInsert.Fields, SqlInsert),
    "sql_raw": Kind(SqlRaw.Fields, SqlRaw),
    "stdout": Kind(Stdout.Fields, Stdout),
    "uns": Kind(Uns.Fields, Uns),
}
