"""How a client of a Kafka cluster is set up, and what it says when something is wrong.

`Access` is what people write down: servers, TLS, SASL. It gives the settings of librdkafka, on which every client here is built
(``pip install 'setpoint[kafka]'``). Certificates and the names in them are verified unless that is switched off by name.

librdkafka reconnects by itself, for ever. Why it is not connected it tells through a callback, which `Faults` keeps, so that whoever waits
in vain can say more than that.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from setpoint.namespace.broker import BrokerError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer

T = TypeVar("T")

LIBRARY: Final = "Kafka needs a library: pip install 'setpoint[kafka]'"
AGAIN: Final = 0.05
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

log = logging.getLogger("setpoint.kafka")
_quiet = logging.getLogger("setpoint.kafka.client")
_quiet.setLevel(
    logging.CRITICAL
)  # what librdkafka would print: its troubles are in the states and errors of those who use it
_NOISE: Final = re.compile(
    r"\[thrd:[^\]]*\]:?\s*|ssl://|sasl_ssl://|sasl_plaintext://|/bootstrap|\s*\(after \d+ms in state \w+.*"
)


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a cluster and who we are there. Certificates and keys are PEM text or the paths of files.

    `settings()` adds `more` last: settings of librdkafka by their own names. `servers` is ``host:port`` for one broker or several.
    """

    servers: tuple[str, ...]
    client_id: str = "setpoint"
    tls: bool = False
    skip_verify: bool = False
    ca: str = ""
    ca_file: str = ""
    cert: str = ""
    cert_file: str = ""
    key: str = ""
    key_file: str = ""
    key_password: str = ""
    mechanism: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    more: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"Access(servers={self.servers!r})"

    @property
    def name(self) -> str:
        """The servers as people write them."""
        return ",".join(self.servers)

    def settings(self, faults: Faults) -> dict[str, Any]:
        """The settings that every client of this cluster has; it tells `faults` what is wrong. Raises `ValueError`."""
        settings: dict[str, Any] = {
            "bootstrap.servers": self.name,
            "client.id": self.client_id,
            "security.protocol": self._protocol(),
            "socket.keepalive.enable": True,
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 3000,
            "log.connection.close": False,
            "error_cb": faults.add,
            "logger": _quiet,
        }
        if self.tls:
            settings.update(self._tls())
        if self.mechanism:
            settings.update(self._sasl())
        return {**settings, **self.more}

    def _protocol(self) -> str:
        if self.mechanism:
            return "sasl_ssl" if self.tls else "sasl_plaintext"
        return "ssl" if self.tls else "plaintext"

    def _tls(self) -> dict[str, Any]:
        given = {
            "ssl.ca.pem": self.ca,
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.pem": self.cert,
            "ssl.certificate.location": self.cert_file,
            "ssl.key.pem": self.key,
            "ssl.key.location": self.key_file,
            "ssl.key.password": self.key_password,
        }
        for file in (self.ca_file, self.cert_file, self.key_file):
            _readable(file)
        checks = {
            "enable.ssl.certificate.verification": not self.skip_verify,
            "ssl.endpoint.identification.algorithm": "none" if self.skip_verify else "https",
        }
        return {**checks, **{name: value for name, value in given.items() if value}}

    def _sasl(self) -> dict[str, Any]:
        if self.mechanism not in MECHANISMS:
            raise ValueError(f"SASL mechanism {self.mechanism!r} is unknown; there are {', '.join(MECHANISMS)}")
        if self.mechanism == "OAUTHBEARER":
            token = self.token
            return {"sasl.mechanism": self.mechanism, "oauth_cb": lambda _: (token, _A_LONG_TIME)}
        return {"sasl.mechanism": self.mechanism, "sasl.username": self.user, "sasl.password": self.password}


_A_LONG_TIME: Final = 4102444800.0
"""When a token that was given once ends as far as we know (seconds since 1970); the broker knows better."""


def _readable(file: str) -> None:
    """Raises `ValueError` for a file that is named and cannot be read: the client would not say which one it is."""
    if not file:
        return
    try:
        with open(file, "rb"):
            pass
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error


class Faults:
    """What a client last said was wrong. Written by its threads, read by anybody."""

    def __init__(self) -> None:
        self.last = ""
        self.fatal = ""
        self.down = False
        """No broker is connected."""
        self.denied = ""
        """Why the broker will not talk to us however long we try: certificates or credentials."""

    def add(self, error: KafkaError) -> None:
        """Called by the client for each event."""
        text = told(error)
        if error.name() == "_ALL_BROKERS_DOWN":
            self.down = True  # why, the errors before it said
        else:
            self.last = text
        if error.name() in ("_SSL", "_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"):
            self.denied = text
        if error.fatal():
            self.fatal = text

    def because(self, otherwise: str) -> str:
        """The reason that the client gave, or the text that says what was waited for in vain."""
        return f"{otherwise}: {self.last}" if self.last else otherwise

    def clear(self) -> None:
        """It works (again)."""
        self.last = self.denied = ""
        self.down = False


def persist(ask: Callable[[], T], client: Consumer | Producer, *, access: Access, faults: Faults, within: float) -> T:
    """What `ask` gives, asked again for at most `within` seconds, and not where trying again is no use. Blocks. Raises `BrokerError`."""
    from confluent_kafka import KafkaException

    ends = time.monotonic() + within
    while True:
        try:
            found = ask()
        except (KafkaException, BrokerError) as error:
            client.poll(0)  # has it say what is wrong
            why = faults.because(f"{access.name} did not answer within {within:g} s ({failure(error)})")
        else:
            faults.clear()
            return found
        if faults.denied:
            raise BrokerError(f"{access.name} refuses us: {faults.denied}")
        if time.monotonic() >= ends:
            raise BrokerError(why)
        time.sleep(AGAIN)


def told(error: KafkaError) -> str:
    """What an error says, for people."""
    text = _NOISE.sub("", error.str()).strip()
    return text or error.name()


def failure(exception: BaseException) -> str:
    """What an exception of the client says, for people: these carry an error as their argument."""
    from confluent_kafka import KafkaError

    inside = exception.args[0] if exception.args else None
    return told(inside) if isinstance(inside, KafkaError) else str(exception) or type(exception).__name__
