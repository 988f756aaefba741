"""What a flow is made of: messages, and the three kinds of component that read, change and write them.

A component has a pydantic model of what its configuration may say, and is made from the checked fields and a `Context`; making it
opens nothing. Both stand as a `Kind` under the component's name in the table of its role (`INPUTS`, `PROCESSORS`, `OUTPUTS`); a third
party adds its own to the same table.

    input       connect, then read batch after batch; the engine acknowledges them in order, each once the output has taken it. Without a
                buffer one batch is out at a time, with one there may be many
    processor   a function of one message: gives one message, `Several`, or None to drop it; raises what is wrong with that message.
                One that needs the world may have `connect` and `close`; one that keeps messages back may be `Holding`
    output      connect; prepare each message (raises what is wrong with it, for good); write batches of what was prepared

How a component reports trouble: `ConnectError` when it cannot connect or has lost its connection (the engine connects again, with backoff),
`WriteError` when a batch was not taken but may be later (the engine tries again), any other exception from `connect`, `read` or `write` is
a fault of the component and ends the flow with that reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict

if TYPE_CHECKING:
    from setpoint.namespace import Broker
    from setpoint.namespace.contracts import ContractBook

Meta = dict[str, str]


class Msg(msgspec.Struct):
    """A message on its way: what it says, and texts about it. A payload of type bytes is raw text nobody has taken apart yet."""

    payload: Any
    meta: Meta


class ConnectError(Exception):
    """The other side cannot be reached, or the connection to it broke; the flow tries again."""


class WriteError(Exception):
    """The output did not take the batch now; the flow keeps it and tries again."""


class MessageError(Exception):
    """This one message cannot be handled: says why. It ends in `failed`, the flow goes on."""


class Rejected(Exception):
    """The output took nothing of the batch, because some of it can never be written: the reasons, by place in the batch.

    Those messages are set aside, and the rest is written again.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        self.reasons = dict(reasons)
        super().__init__("; ".join(self.reasons.values()))


class Context(msgspec.Struct, frozen=True):
    """What the engine gives a component: who it works for, and the world it may use in place of globals."""

    flow: str
    bridged_by: str
    broker: Broker | None
    clock: Callable[[], float]
    """Wall time in seconds since 1970."""
    now: Callable[[], float]
    """The loop's monotonic time in seconds."""
    random: Callable[[], float]
    """A number in [0, 1)."""
    failed: Callable[[str], None]
    """Counts a reading that failed while the connection held, with its reason."""
    answered: Callable[[str, int], None]
    """Says that the device at this host and port has just answered."""
    contracts: ContractBook | None = None
    """The data contracts in force; None: no contract is declared."""


class Fields(BaseModel):
    """The fields of one component: strict, unknown ones refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Input(Protocol):
    """Where messages come from. Several batches may be out: read, and not yet acknowledged."""

    async def connect(self) -> None:
        """Makes it ready to read. Raises `ConnectError`."""

    async def read(self) -> list[Msg] | None:
        """The next messages (possibly none this time), or None at the end of the input. Raises `ConnectError`.

        Cancelling it loses nothing: what was not returned is read by the next call.
        """

    async def acknowledge(self) -> None:
        """The oldest of the batches that are out was delivered."""

    async def close(self) -> None:
        """Lets go of everything. Idempotent; after it `connect` may be called again."""


class Processor(Protocol):
    """Changes messages, one at a time; may remember."""

    def __call__(self, msg: Msg) -> Any:
        """The message that goes on, `Several` of them, or None to drop it. May be async. Raises what is wrong with the message."""


@runtime_checkable
class Connecting(Protocol):
    """A processor that needs something open before the first message."""

    async def connect(self) -> None:
        """Makes it ready. Raises `ConnectError`."""

    async def close(self) -> None:
        """Lets go of everything. Idempotent."""


@runtime_checkable
class Holding(Protocol):
    """A processor that keeps messages back and answers for them: while it holds any, nothing that was read is acknowledged."""

    @property
    def held(self) -> int:
        """How many messages it keeps back."""

    def due(self) -> float | None:
        """When, in time of `Context.now`, it wants to be asked to release some; None: not before another message comes."""

    def release(self) -> list[Msg]:
        """The messages that go on because their time has come."""

    def flush(self) -> list[Msg]:
        """All that is left, at the end of the flow."""


class Output(Protocol):
    """Where messages go."""

    async def connect(self) -> None:
        """Makes it ready to write. Raises `ConnectError`."""

    def prepare(self, msg: Msg) -> Any:
        """The message as it will be written. Raises `MessageError` (or another exception) when it can never be."""

    async def write(self, batch: Sequence[Any]) -> int:
        """Writes what was prepared, all or nothing, and returns the bytes of payload. Raises `WriteError`, `ConnectError` or `Rejected`."""

    async def close(self) -> None:
        """Lets go of everything. Idempotent."""


Role = TypeVar("Role")


class Kind(NamedTuple, Generic[Role]):
    """One kind of component: the model of its fields, and what makes one of them."""

    fields: type[Fields]
    make: Callable[[Any, Context], Role]


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def seconds(text: object) -> float:
    """The seconds of a duration as Go and Benthos write it: ``500ms``, ``1s``, ``1h30m``, ``0``. Raises `ValueError`."""
    if not isinstance(text, str):
        raise ValueError(f"expected a duration such as '1s' or '500ms', got {text!r}")
    compact = text.strip()
    if compact in ("", "0"):
        return 0.0
    if _DURATION.sub("", compact):
        raise ValueError(
            f"{text!r} is not a duration; write a number and a unit (ms, s, m, h), such as '1s' or '500ms'"
        )
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(compact))


Duration = Annotated[float, BeforeValidator(seconds)]
"""A field that is written as a duration and read as seconds."""


def one_or_many(value: object) -> object:
    """A list; of one, where that one stands alone."""
    return [value] if isinstance(value, str | dict) else value


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def structured(payload: Any) -> Any:
    """The payload as data: raw text is read as JSON where it is JSON, and is a text where it is not."""
    if type(payload) is not bytes:
        return payload
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return payload.decode("utf-8", errors="replace")


def serialized(payload: Any) -> bytes:
    """The payload as bytes: raw and plain text as it is, all else as JSON. Raises `MessageError` for what JSON cannot say."""
    if type(payload) is bytes:
        return payload
    try:
        return payload.encode() if type(payload) is str else _encoder.encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the payload cannot be written as JSON: {error}") from error
