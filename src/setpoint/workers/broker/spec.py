"""What is wanted of the broker: which log the namespace is on, and the windows of its machine.

Without `external` and `managed` it is the log inside this process. `external` is a Kafka or Redpanda that runs elsewhere, with the fields
of the `kafka` input and output; `managed` a Redpanda that runs here, on loopback, started and stopped by the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from setpoint.flows.component import Fields
from setpoint.flows.kafka import KafkaFields, listed
from setpoint.machine import Setting

IDLE_WINDOW = Setting("idle_window_s", 30.0)
START_TIMEOUT = Setting("start_timeout_s", 30.0)


def _server(text: str) -> str:
    """A place of a broker: ``host:port``."""
    try:
        url = urlsplit(f"//{text}")
        fine = url.hostname and url.port and not (url.path or url.query or url.username or url.password)
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("expected host:port")
    return text


def _url(example: str, *, path: bool = False) -> Callable[[str], str]:
    """A test for the address of an API, with or without a path. What may be secret in it is not repeated."""

    def tested(text: str) -> str:
        try:
            url = urlsplit(text)
            fine = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            raise ValueError(f"expected {example}") from None
        if url.username or url.password:
            raise ValueError("a user does not stand in a url; use user and password")
        if not fine or (url.path.strip("/") and not path) or url.query or url.fragment:
            raise ValueError(f"expected {example}, or https")
        return text

    return tested


def _alone(value: object) -> object:
    """A text alone is the URL."""
    return {"url": value} if isinstance(value, str) else value


class AdminFields(Fields):
    """Redpanda's admin API. Over https the `tls` of the cluster applies, whether it is enabled for Kafka or not."""

    url: Annotated[str, AfterValidator(_url("http://host:9644"))]
    user: str = ""
    password: str = Field(default="", repr=False)


class RegistryFields(Fields):
    """A schema registry. Over https the `tls` of the cluster applies."""

    url: Annotated[str, AfterValidator(_url("http://host:8081", path=True))]
    user: str = ""
    password: str = Field(default="", repr=False)


class External(KafkaFields):
    """A Kafka or Redpanda that runs elsewhere. A plain Kafka has no `admin`."""

    addresses: Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], BeforeValidator(listed)] = Field(
        min_length=1, validation_alias=AliasChoices("brokers", "addresses", "seed_brokers")
    )
    topic: str = Field(default="umh.messages", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    admin: Annotated[AdminFields | None, BeforeValidator(_alone)] = None
    registry: Annotated[RegistryFields | None, BeforeValidator(_alone)] = None

    def __str__(self) -> str:
        return f"Kafka at {','.join(self.addresses)}"


Port = Annotated[int, Field(ge=1, le=65535)]


class ManagedFields(Fields):
    """A Redpanda that the agent runs. Without `binary` it is the first that PATH has, else where Redpanda's packages put it."""

    binary: str = ""
    kafka_port: Port = 9092
    admin_port: Port = 9644
    rpc_port: Port = 33145
    registry_port: Port = 8081

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        ports = [self.kafka_port, self.admin_port, self.rpc_port, self.registry_port]
        if len(set(ports)) < len(ports):
            raise ValueError("the four ports must differ")
        return self


class Managed(ManagedFields):
    """The same, with what it may take of the host; memory is bytes a core."""

    cores: int = Field(default=1, ge=1)
    memory_per_core: int = Field(default=2 * 1024**3, ge=1)

    def __str__(self) -> str:
        return f"Redpanda on port {self.kafka_port}"


class BrokerSpec(BaseModel):
    """Which log, and how it is watched; seconds. `settings` are keys of the cluster's configuration that are kept as they are here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    desired_state: Literal["active", "stopped"] = "active"
    idle_window_s: float = Field(default=IDLE_WINDOW.default, ge=0)
    start_timeout_s: float = Field(default=START_TIMEOUT.default, gt=0)
    external: External | None = None
    managed: Managed | None = None
    settings: Mapping[str, Any] = {}

    @property
    def place(self) -> External | Managed | None:
        """Which log it is; None for the one inside this process."""
        return self.external or self.managed
