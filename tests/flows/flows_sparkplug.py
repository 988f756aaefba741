"""An edge node of Sparkplug B for tests: makes the payloads that one publishes, with numbers in sequence."""

from typing import Any

from setpoint.flows.sparkplug_payload import TYPES, message

_FIELDS = {int: "long_value", float: "double_value", bool: "boolean_value", str: "string_value", bytes: "bytes_value"}


def metric(
    payload: Any, name: str = "", value: Any = None, kind: str = "", alias: int | None = None, **more: Any
) -> None:
    """Adds a metric; without a value it is null."""
    given: dict[str, Any] = {"name": name} if name else {}
    if kind:
        given["datatype"] = TYPES.index(kind)
    if alias is not None:
        given["alias"] = alias
    if value is None:
        given["is_null"] = True
    else:
        small = isinstance(value, int) and kind in ("Int8", "Int16", "Int32", "UInt8", "UInt16", "UInt32")
        given["int_value" if small and type(value) is int else _FIELDS[type(value)]] = (
            value % 2**32 if small and type(value) is int else value
        )
    payload.metrics.add(**given, **more)


class EdgeNode:
    """One node: `birth`, `data` and so on give topic and payload, ready to be published."""

    def __init__(self, group: str = "plant", node: str = "edge") -> None:
        self.group, self.node = group, node
        self.session = 0
        self._sequence = -1

    def topic(self, kind: str, device: str = "") -> str:
        return "/".join(part for part in ("spBv1.0", self.group, kind, self.node, device) if part)

    def payload(self, *metrics: dict[str, Any], step: int = 1) -> bytes:
        """The next payload; with another step than 1 it breaks the sequence."""
        self._sequence = (self._sequence + step) % 256
        made = message("Payload")(timestamp=1_700_000_000_000, seq=self._sequence)
        for each in metrics:
            metric(made, **each)
        return bytes(made.SerializeToString())

    def birth(self, *metrics: dict[str, Any]) -> tuple[str, bytes]:
        """A birth certificate, of a new session."""
        self._sequence = -1
        self.session += 1
        own = {"name": "bdSeq", "value": self.session, "kind": "UInt64"}
        return self.topic("NBIRTH"), self.payload(own, *metrics)

    def death(self, session: int | None = None) -> tuple[str, bytes]:
        made = message("Payload")(timestamp=1_700_000_000_000)
        metric(made, "bdSeq", session if session is not None else self.session, "UInt64")
        return self.topic("NDEATH"), bytes(made.SerializeToString())

    def data(self, *metrics: dict[str, Any], device: str = "", step: int = 1) -> tuple[str, bytes]:
        return self.topic("DDATA" if device else "NDATA", device), self.payload(*metrics, step=step)

    def device_birth(self, device: str, *metrics: dict[str, Any]) -> tuple[str, bytes]:
        return self.topic("DBIRTH", device), self.payload(*metrics)

    def device_death(self, device: str) -> tuple[str, bytes]:
        return self.topic("DDEATH", device), self.payload()
