"""What the `modbus` input and output have in common: the fields of a connection, and the connection itself.

`controller` is a TCP address, ``tcp://host:502``, or a serial line, ``file:///dev/ttyUSB0`` (with `baudRate`, `dataBits`, `parity`,
`stopBits`). `transmissionMode` says how requests are framed: `TCP`, or `RTUOverTCP` and `ASCIIOverTCP` for serial devices behind a
converter; on a line `RTU` or `ASCII`.

No call waits longer than `timeout` for an answer. Frames of serial devices carry no number that an answer could be known by, so that one
that comes late would be taken for that of the next request; after a silence the line is therefore left alone for another `timeout`. A
line belongs to one flow alone; it may ask any number of slaves.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from setpoint.flows.component import ConnectError, Context, Duration, Fields

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

SERIAL_LIBRARY: Final = "Modbus over a serial line needs a library: pip install 'setpoint[serial]'"
PORT: Final = 502
GOODBYE: Final = 1.0
"""Seconds that closing may take."""
BUSY: Final = {5, 6}
"""Exception codes: acknowledge (still at it), server device busy (Modbus application protocol, 7)."""
MEANINGS: Final = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure", 5: "still at it", 6: "device busy",
    8: "memory parity error", 10: "gateway path unavailable", 11: "gateway target did not respond",
}  # fmt: skip
_FRAMINGS: Final = {"tcp": ("TCP", "RTUOverTCP", "ASCIIOverTCP"), "file": ("RTU", "ASCII")}
"""The modes for each kind of controller; the first is the default."""


class NoAnswer(Exception):
    """A slave did not answer in time."""


class Refused(Exception):
    """The device answered that it will not: `code` is its exception code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(MEANINGS.get(code, f"exception {code}"))


def _controller(text: str) -> str:
    url = urlsplit(text)
    try:
        port = url.port
    except ValueError:
        port = 0
    over_tcp = url.scheme == "tcp" and url.hostname and port != 0 and not (url.path or url.query or url.username)
    on_line = url.scheme == "file" and not url.netloc and len(url.path) > 1
    if not (over_tcp or on_line):
        raise ValueError(f"{text!r} is not of the form tcp://host:port or file:///dev/ttyUSB0")
    return text


class Workarounds(Fields):
    """For devices with habits of their own."""

    pauseAfterConnect: Duration = 0.0
    timeBetweenRequests: Duration = 0.0
    stringRegisterLocation: Literal["", "lower", "upper"] = ""


class ConnectionFields(Fields):
    """A connection to one controller, or to the slaves on one line."""

    controller: Annotated[str, AfterValidator(_controller)]
    transmissionMode: Literal["", "TCP", "RTUOverTCP", "ASCIIOverTCP", "RTU", "ASCII"] = ""
    baudRate: int = Field(default=9600, ge=50, le=4_000_000)
    dataBits: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopBits: Literal[1, 2] = 1
    timeout: Duration = Field(default=1.0, gt=0, le=60)
    busyRetries: int = Field(default=3, ge=0, le=100)
    busyRetriesWait: Duration = 0.2
    byteOrder: Literal["ABCD", "DCBA", "BADC", "CDAB"] = "ABCD"
    workarounds: Workarounds = Workarounds()

    @model_validator(mode="after")
    def _framed(self) -> Self:
        scheme = urlsplit(self.controller).scheme
        if self.mode not in _FRAMINGS[scheme]:
            known = ", ".join(_FRAMINGS[scheme])
            raise ValueError(f"transmissionMode {self.mode} is not for {self.controller}; use one of {known}")
        line = {"baudRate", "dataBits", "parity", "stopBits"} & self.model_fields_set
        if line and scheme != "file":
            raise ValueError(f"{min(line)} is for a serial line (controller: file:///dev/ttyUSB0) alone")
        return self

    @property
    def mode(self) -> str:
        """How requests are framed."""
        return self.transmissionMode or _FRAMINGS[urlsplit(self.controller).scheme][0]

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host and port of the controller; None for a serial line."""
        url = urlsplit(self.controller)
        return (str(url.hostname), url.port or PORT) if url.scheme == "tcp" else None

    @property
    def where(self) -> str:
        """The controller, for people."""
        return "{}:{}".format(*self.endpoint) if self.endpoint else urlsplit(self.controller).path


class Link:
    """One connection. `lost` is set when it ends from the other side."""

    def __init__(self, fields: ConnectionFields, context: Context) -> None:
        self._fields, self._heard = fields, context.answered
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._numbered = fields.mode == "TCP"
        self._under_way = False
        self.lost = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.connected

    async def connect(self) -> None:
        """Raises `ConnectError`; `RuntimeError` where the library for serial lines is not installed."""
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # its troubles are in the flow's status
        fields = self._fields
        await self.close()
        lost = self.lost = asyncio.Event()
        self._client = _client(fields, lost)
        try:
            connected = await self._client.connect()
        except (OSError, ValueError) as error:
            raise ConnectError(f"{fields.where}: {error}") from error
        if not connected:
            raise ConnectError(f"{fields.where} cannot be reached within {fields.timeout:g} s")
        if fields.workarounds.pauseAfterConnect:
            await asyncio.sleep(fields.workarounds.pauseAfterConnect)

    async def ask(self, function: str, *, slave: int, **arguments: Any) -> Any:
        """The device's answer to a function of pymodbus' client; again while it is busy. Raises `NoAnswer` or `Refused`."""
        code = 0
        for attempt in range(self._fields.busyRetries + 1):
            if attempt:
                await asyncio.sleep(self._fields.busyRetriesWait)
            answer = await self._send(function, slave, arguments)
            if self._fields.endpoint:
                self._heard(*self._fields.endpoint)
            if self._fields.workarounds.timeBetweenRequests:
                await asyncio.sleep(self._fields.workarounds.timeBetweenRequests)
            if not answer.isError():
                return answer
            code = getattr(answer, "exception_code", 0)
            if code not in BUSY:
                break
        raise Refused(code)

    async def _send(self, function: str, slave: int, arguments: dict[str, Any]) -> Any:
        from pymodbus.exceptions import ModbusException

        if self._client is None or not self._client.connected:
            raise NoAnswer("the connection broke")
        self._under_way = True  # until it has an end of its own; where it is cancelled its answer is still to come
        try:
            answer = await getattr(self._client, function)(**arguments, device_id=slave)
        except ModbusException as error:
            if not self._numbered:
                await asyncio.sleep(self._fields.timeout)
            self._under_way = False
            raise NoAnswer(f"slave {slave} did not answer within {self._fields.timeout:g} s") from error
        self._under_way = False
        return answer

    async def close(self) -> None:
        """Idempotent. A line is left only when the answer that was waited for must have passed: somebody else may ask next."""
        client, self._client = self._client, None
        if client is not None:
            if self._under_way and not self._numbered:
                await asyncio.sleep(min(self._fields.timeout, GOODBYE))
            self._under_way = False
            client.close()


def _client(fields: ConnectionFields, lost: asyncio.Event) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
    from pymodbus.framer import FramerType

    rtu, ascii_ = fields.mode.startswith("RTU"), fields.mode.startswith("ASCII")
    framer = FramerType.RTU if rtu else FramerType.ASCII if ascii_ else FramerType.SOCKET

    def told(up: bool) -> None:
        if not up:
            lost.set()

    if fields.endpoint:
        host, port = fields.endpoint
        return AsyncModbusTcpClient(
            host, port=port, framer=framer, timeout=fields.timeout, retries=0, reconnect_delay=0, trace_connect=told
        )
    try:
        import_module("serial")  # pymodbus only looks whether it was
    except ModuleNotFoundError as error:
        raise RuntimeError(SERIAL_LIBRARY) from error
    return AsyncModbusSerialClient(
        fields.where,
        framer=framer,
        baudrate=fields.baudRate,
        bytesize=fields.dataBits,
        parity=fields.parity,
        stopbits=fields.stopBits,
        timeout=fields.timeout,
        retries=0,
        reconnect_delay=0,
        trace_connect=told,
    )
