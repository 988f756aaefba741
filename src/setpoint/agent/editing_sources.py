"""Sources: what a new bridge reads, by the kind of device that it is told of.

A bridge that is made by program has its device's address in the variables ``IP`` and ``PORT``, and the address stands nowhere else, so that
changing the device is changing one value. What it reads at first is what every device of that kind has, where there is such a thing: the
clock of an OPC UA server, all topics of a broker, the root of a web server; of a Modbus device nobody can know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

TARGET: Final = "{{ .IP }}"
PORT: Final = "{{ .PORT }}"
_RAW: Final = 'msg.meta.location_path = "{{ .location_path }}";\nmsg.meta.data_contract = "_raw";\n'


class Login(NamedTuple):
    """Who the device is told we are. `password` is a reference such as ``${PLC_PASSWORD}``; a password itself has no place in a config."""

    user: str
    password: str


class Source(NamedTuple):
    """A kind of source: its port where none is given, the input, and which tag a message is of (JavaScript)."""

    port: int
    input: Callable[[Login | None], dict[str, Any]]
    tag: str


def _modbus(login: Login | None) -> dict[str, Any]:
    first = {"name": "value_0", "register": "holding", "address": 0, "type": "INT16"}
    return {"controller": f"tcp://{TARGET}:{PORT}", "slaveIDs": [1], "timeBetweenReads": "1s", "addresses": [first]}


def _opcua(login: Login | None) -> dict[str, Any]:
    fields = {"endpoint": f"opc.tcp://{TARGET}:{PORT}", "nodeIDs": ["i=2258"], "subscribeEnabled": True}
    return fields | ({"username": login.user, "password": login.password} if login else {})


def _mqtt(login: Login | None) -> dict[str, Any]:
    fields = {"urls": [f"tcp://{TARGET}:{PORT}"], "topics": ["#"]}
    return fields | ({"user": login.user, "password": login.password} if login else {})


def _http(login: Login | None) -> dict[str, Any]:
    fields = {"url": f"http://{TARGET}:{PORT}/", "verb": "GET", "interval": "1s"}
    auth = {"enabled": True, "username": login.user, "password": login.password} if login else {}
    return fields | ({"basic_auth": auth} if login else {})


def _generate(login: Login | None) -> dict[str, Any]:
    return {"mapping": "root = random_int(min: 0, max: 100)", "interval": "1s"}


SOURCES: Final[dict[str, Source]] = {
    "modbus": Source(502, _modbus, "msg.meta.modbus_tag_name"),
    "opcua": Source(4840, _opcua, "msg.meta.opcua_tag_name"),
    "mqtt": Source(1883, _mqtt, 'msg.meta.mqtt_topic.split("/").pop().replace(/[^A-Za-z0-9_-]/g, "_") || "value"'),
    "http_client": Source(80, _http, '"answer"'),
    "generate": Source(0, _generate, '"level"'),
}
WITHOUT_LOGIN: Final = ("modbus", "generate")


def read_flow(kind: str, login: Login | None = None) -> dict[str, Any]:
    """A flow in the Benthos shape that reads this kind of source, one of `SOURCES`, into the namespace."""
    source = SOURCES[kind]
    return flow_of({kind: source.input(login)}, source.tag)


def flow_of(source: dict[str, Any], tag: str = '"value"') -> dict[str, Any]:
    """The flow of an input: each message becomes a tag under the location of the bridge."""
    script = f"{_RAW}msg.meta.tag_name = {tag};\nreturn msg;\n"
    return {
        "input": source,
        "pipeline": {"processors": [{"tag_processor": {"defaults": script}}]},
        "output": {"uns": {}},
    }
