"""What the `mqtt` input and output have in common: the fields of a connection, as documented for Benthos, and topics.

`urls` are brokers to try in turn, ``tcp://host:1883`` or, with TLS, ``ssl://host:8883``; `mqtt` and `mqtts` say the same. Beyond Benthos
there is `protocol_version`, 3.1.1 (the default) or 5.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from setpoint.flows.component import ConnectError, Duration, Fields, one_or_many
from setpoint.flows.tls import Tls, context

if TYPE_CHECKING:
    from setpoint.services.mqtt import Arrived, Link, Settings

LIBRARY: Final = "MQTT needs a library: pip install 'setpoint[mqtt]'"
_PORTS: Final = {"tcp": 1883, "mqtt": 1883, "ssl": 8883, "tls": 8883, "mqtts": 8883}
_SECURE: Final = ("ssl", "tls", "mqtts")
LONGEST: Final = 65_535
"""Bytes of a topic, at most (MQTT 3.1.1, 1.5.3)."""


class WillFields(Fields):
    """What the broker publishes for us when we are gone without a goodbye."""

    enabled: bool = False
    qos: int = Field(default=0, ge=0, le=2)
    retained: bool = False
    topic: str = ""
    payload: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.enabled and (fault := topic_fault(self.topic)):
            raise ValueError(f"the topic of the will {fault}")
        return self


def _urls(urls: object) -> object:
    """Single texts, and entries with commas in them, as a list."""
    listed = [urls] if isinstance(urls, str) else urls
    if not isinstance(listed, list | tuple) or not all(isinstance(url, str) for url in listed):
        return urls
    return [part.strip() for url in listed for part in url.split(",") if part.strip()]


def _url_fault(text: str) -> str:
    """What is wrong with the URL of a broker, or nothing. What may be secret in it is not repeated."""
    url = urlsplit(text)
    try:
        port = url.port
    except ValueError:
        port = 0
    if url.username or url.password:
        return "a user does not stand in a url; use user and password"
    if url.scheme not in _PORTS or not url.hostname or port == 0 or url.path.strip("/") or url.query:
        return f"{text!r} is not of the form tcp://host:port or ssl://host:port"
    return ""


class MqttFields(Fields):
    """A connection to a broker."""

    urls: Annotated[tuple[str, ...], BeforeValidator(_urls), Field(min_length=1)]
    client_id: str = Field(default="", max_length=LONGEST)
    dynamic_client_id_suffix: Literal["", "nanoid"] = ""
    connect_timeout: Duration = Field(default=30.0, gt=0, le=600)
    keepalive: int = Field(default=30, ge=1, le=65_535)
    user: str = ""
    password: str = ""
    will: WillFields = WillFields()
    tls: Tls = Tls()
    protocol_version: Annotated[Literal["3.1.1", "5"], BeforeValidator(str)] = "3.1.1"

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        for url in self.urls:
            if fault := _url_fault(url):
                raise ValueError(f"urls: {fault}")
        return self


class Connector:
    """Makes connections to the brokers of some fields, each time to the next of them."""

    def __init__(self, fields: MqttFields, *, clean: bool, window: int) -> None:
        self._fields, self._clean, self._window = fields, clean, window
        self._next = 0
        suffix = secrets.token_hex(8) if fields.dynamic_client_id_suffix else ""
        self._client_id = f"{fields.client_id}{suffix}"

    async def connect(self, *, arrived: Callable[[Link, Arrived], None], ended: Callable[[], None]) -> Link:
        """A connection. Raises `ConnectError`; `RuntimeError` where the library is not installed."""
        try:
            from setpoint.services.mqtt import Link, LinkError
        except ModuleNotFoundError as error:
            raise RuntimeError(LIBRARY) from error
        url = self._fields.urls[self._next % len(self._fields.urls)]
        self._next += 1
        link = Link(self._settings(url), arrived=arrived, ended=ended)
        try:
            await link.connect()
        except LinkError as error:
            raise ConnectError(str(error)) from error
        self._next -= 1  # it is good: the same one next time
        return link

    def _settings(self, text: str) -> Settings:
        from setpoint.services.mqtt import Settings, Will

        fields, url = self._fields, urlsplit(text)
        will = fields.will
        return Settings(
            host=str(url.hostname),
            port=url.port or _PORTS[url.scheme],
            client_id=self._client_id,
            user=fields.user,
            password=fields.password,
            tls=context(fields.tls) if fields.tls.enabled or url.scheme in _SECURE else None,
            version=5 if fields.protocol_version == "5" else 4,
            clean=self._clean,
            keepalive=fields.keepalive,
            timeout=fields.connect_timeout,
            will=Will(will.topic, will.payload.encode(), will.qos, will.retained) if will.enabled else None,
            window=self._window,
        )


def topic_fault(topic: str) -> str:
    """What is wrong with a topic to publish to, or nothing."""
    if not topic:
        return "is empty"
    if "+" in topic or "#" in topic:
        return f"{topic[:60]!r} has a wildcard; messages go to one topic"
    return _text_fault(topic)


def filter_fault(text: str) -> str:
    """What is wrong with a topic filter, or nothing (MQTT 3.1.1, 4.7; shared subscriptions: MQTT 5, 4.8.2)."""
    topic = text
    if text.startswith("$share/"):
        _, _, rest = text.partition("/")
        group, slash, topic = rest.partition("/")
        if not slash or not group or "+" in group or "#" in group:
            return f"{text[:60]!r} is not of the form $share/<group>/<filter>"
    if not topic:
        return "is empty"
    levels = topic.split("/")
    if "#" in "".join(levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        return f"{text[:60]!r}: '#' stands alone in the last level"
    if any("+" in level and level != "+" for level in levels):
        return f"{text[:60]!r}: '+' stands alone in a level"
    return _text_fault(text)


def _text_fault(topic: str) -> str:
    if "\0" in topic:
        return "has a NUL character in it"
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return f"has {size} bytes; at most {LONGEST} are allowed" if size > LONGEST else ""


def _filter(text: str) -> str:
    if fault := filter_fault(text):
        raise ValueError(f"the topic {fault}")
    return text


Filters = Annotated[
    tuple[Annotated[str, AfterValidator(_filter)], ...], BeforeValidator(one_or_many), Field(min_length=1)
]
"""A field of topic filters."""
