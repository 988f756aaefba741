"""What the `opcua` input and output have in common: the fields of a connection to an OPC UA server, as documented for benthos-umh.

`endpoint` is the address at which we connect, always as it is written. `securityMode` says whether messages are signed and encrypted;
with one of the two there is a certificate of ours in `certificateFolder`. The `clientCertificate` of benthos-umh, which has a private key
in it, is not taken: a config is no place for one. Whom we talk to is pinned by `serverCertificateFingerprint`.

Durations that benthos-umh writes as numbers are milliseconds.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from setpoint import places
from setpoint.flows.component import Fields

LIBRARY: Final = "OPC UA needs a library: pip install 'setpoint[opcua]'"
PORT: Final = 4840
_NODE: Final = re.compile(
    r"(?:ns=(?P<index>\d{1,5});|nsu=[^;]+;)?"
    r"(?:i=(?P<number>\d{1,10})|s=.+|g=[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|b=[A-Za-z0-9+/]+={0,2})",
    re.DOTALL,
)
_FINGERPRINTS: Final = {64: "sha256", 128: "sha3_512"}
"""The hash of a fingerprint, by its hexadecimal digits."""


def _endpoint(text: str) -> str:
    url = urlsplit(text)
    try:
        port = url.port
    except ValueError:
        port = 0
    if url.username or url.password:
        raise ValueError("a user does not stand in an endpoint; use username and password")
    if url.scheme != "opc.tcp" or not url.hostname or port == 0:
        raise ValueError(f"{text!r} is not of the form opc.tcp://host:port")
    return text


def _node(text: str) -> str:
    found = _NODE.fullmatch(text)
    if found is None or int(found["index"] or 0) > 2**16 - 1 or int(found["number"] or 0) > 2**32 - 1:
        raise ValueError(f"{text!r} is no node id such as 'ns=2;s=Press.Speed', 'i=85' or 'nsu=urn:plant;s=Press'")
    return text


def _fingerprint(text: str) -> str:
    digits = text.replace(":", "").lower()
    if digits and (len(digits) not in _FINGERPRINTS or re.search("[^0-9a-f]", digits)):
        raise ValueError("expected the SHA-256 or SHA3-512 of the server's certificate, 64 or 128 hexadecimal digits")
    return digits


NodeText = Annotated[str, AfterValidator(_node)]
"""A field that holds a node id in the form of OPC UA Part 6, 5.3.1.10."""


class OpcuaFields(Fields):
    """A session with one server."""

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    username: str = ""
    password: str = ""
    sessionTimeout: int = Field(default=10_000, ge=1000, le=3_600_000)
    securityMode: Literal["None", "Sign", "SignAndEncrypt"] = "None"
    securityPolicy: Literal["", "None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = ""
    serverCertificateFingerprint: Annotated[str, AfterValidator(_fingerprint)] = ""
    certificateFolder: str = Field(default=f"{places.DATA}/opcua", min_length=1)
    insecure: bool = False
    directConnect: Literal[True] = True
    autoReconnect: Literal[True] = True

    @model_validator(mode="after")
    def _secure_or_not(self) -> Self:
        if not self.secure:
            if self.securityPolicy not in ("", "None"):
                raise ValueError(f"securityPolicy {self.securityPolicy} needs securityMode Sign or SignAndEncrypt")
            if self.serverCertificateFingerprint:
                raise ValueError("serverCertificateFingerprint is for securityMode Sign or SignAndEncrypt alone")
        elif self.insecure or self.securityPolicy == "None":
            raise ValueError(f"securityMode {self.securityMode} contradicts a connection without security")
        if self.password and not self.username:
            raise ValueError("password needs a username")
        return self

    @property
    def secure(self) -> bool:
        """Whether messages are signed."""
        return self.securityMode != "None"

    @property
    def policy(self) -> str:
        """The policy of signed messages."""
        return self.securityPolicy or "Basic256Sha256"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        url = urlsplit(self.endpoint)
        return str(url.hostname), url.port or PORT


def fingerprint_kind(fingerprint: str) -> str:
    """The name of the hash (as `hashlib` knows it) that this fingerprint is of."""
    return _FINGERPRINTS[len(fingerprint)]
