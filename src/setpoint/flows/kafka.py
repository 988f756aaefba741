"""What the `kafka` input and output have in common: the fields of a connection, as documented for Benthos' `kafka` and `kafka_franz`.

`addresses` and `seed_brokers` are the same, and so are `user` and `username`, `access_token` and `token`. Certificates are verified unless
`tls.skip_cert_verify` is set.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, Field

from setpoint.flows.component import Duration, Fields
from setpoint.flows.tls import Tls
from setpoint.namespace.kafka.client import MECHANISMS, Access

CONNECT_WITHIN: Final = 5.0


def listed(value: object) -> object:
    """A list of texts; single texts, and entries with commas in them, as one."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        return value
    return [each.strip() for part in parts for each in part.split(",") if each.strip()]


def _one(value: object) -> object:
    """`kafka_franz` has a list of ways to say who one is; one of them is enough."""
    if isinstance(value, list | tuple):
        if len(value) > 1:
            raise ValueError("give one SASL mechanism, not several")
        return value[0] if value else {}
    return value


def _mechanism(text: object) -> object:
    if text in ("", "none", None):
        return ""
    if text not in MECHANISMS:
        raise ValueError(f"there are {', '.join(MECHANISMS)} and none")
    return text


class Sasl(Fields):
    """Who we are, where the cluster wants to know."""

    mechanism: Annotated[str, BeforeValidator(_mechanism)] = ""
    user: str = Field(default="", validation_alias=AliasChoices("user", "username"))
    password: str = Field(default="", repr=False)
    access_token: str = Field(default="", repr=False, validation_alias=AliasChoices("access_token", "token"))


class KafkaFields(Fields):
    """How to reach a cluster."""

    addresses: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        min_length=1, validation_alias=AliasChoices("addresses", "seed_brokers")
    )
    client_id: str = Field(default="setpoint", min_length=1)
    rack_id: str = ""
    tls: Tls = Tls()
    sasl: Annotated[Sasl, BeforeValidator(_one)] = Sasl()

    def access(self) -> Access:
        """The same for the client."""
        tls, sasl = self.tls, self.sasl
        cert: Any = tls.client_certs[0] if tls.client_certs else None
        return Access(
            servers=self.addresses,
            client_id=self.client_id,
            tls=tls.enabled,
            skip_verify=tls.skip_cert_verify,
            ca=tls.root_cas,
            ca_file=tls.root_cas_file,
            cert=cert.cert if cert else "",
            cert_file=cert.cert_file if cert else "",
            key=cert.key if cert else "",
            key_file=cert.key_file if cert else "",
            key_password=cert.password if cert else "",
            mechanism=sasl.mechanism,
            user=sasl.user,
            password=sasl.password,
            token=sasl.access_token,
            more={"client.rack": self.rack_id} if self.rack_id else {},
        )


class Batching(Fields):
    """How many messages, or bytes, or how long, make a batch. 0 is the default of the place that it is for."""

    count: int = Field(default=0, ge=0, le=100_000)
    byte_size: int = Field(default=0, ge=0)
    period: Duration = Field(default=0.0, ge=0, le=600)
