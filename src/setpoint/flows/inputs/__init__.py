"""The inputs a flow can read from, by the name its configuration calls them. A third party adds its own to the table."""

from __future__ import annotations

from setpoint.flows.component import Input, Kind
from setpoint.flows.inputs.file import File
from setpoint.flows.inputs.generate import Generate
from setpoint.flows.inputs.http_client import HttpClient
from setpoint.flows.inputs.http_server import HttpServer
from setpoint.flows.inputs.kafka import Kafka
from setpoint.flows.inputs.modbus import Modbus
from setpoint.flows.inputs.modbus_fields import ModbusFields
from setpoint.flows.inputs.mqtt import Mqtt
from setpoint.flows.inputs.opcua import Opcua
from setpoint.flows.inputs.sparkplug_b import SparkplugB
from setpoint.flows.inputs.sql_select import SqlSelect
from setpoint.flows.inputs.stdin import Stdin
from setpoint.flows.inputs.uns import Uns

INPUTS: dict[str, Kind[Input]] = {
    "file": Kind(File.Fields, File),
    "generate": Kind(Generate.Fields, Generate),
    "http_client": Kind(HttpClient.Fields, HttpClient),
    "http_server": Kind(HttpServer.Fields, HttpServer),
    "kafka": Kind(Kafka.Fields, Kafka),
    "kafka_franz": Kind(Kafka.Fields, Kafka),
    "modbus": Kind(ModbusFields, Modbus),
    "mqtt": Kind(Mqtt.Fields, Mqtt),
    "opcua": Kind(Opcua.Fields, Opcua),
    "sparkplug_b": Kind(SparkplugB.Fields, SparkplugB),
    "sql_select": Kind(SqlSelect.Fields, SqlSelect),
    "stdin": Kind(Stdin.Fields, Stdin),
    "uns": Kind(Uns.Fields, Uns),
}
