"""The `tls` of a connection, as documented for Benthos: whether it is encrypted, whom it trusts, and what shows who we are."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from setpoint.flows.component import ConnectError, Fields, one_or_many


class ClientCert(Fields):
    """What shows a broker who we are: PEM text, or files of it."""

    cert: str = ""
    key: str = ""
    cert_file: str = ""
    key_file: str = ""
    password: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not ((self.cert and self.key) or (self.cert_file and self.key_file)):
            raise ValueError("a client certificate is cert with key, or cert_file with key_file")
        return self


class Tls(Fields):
    """Whether and how the connection is encrypted. Certificates are verified unless `skip_cert_verify`."""

    enabled: bool = False
    skip_cert_verify: bool = False
    enable_renegotiation: Literal[False] = False
    root_cas: str = ""
    root_cas_file: str = ""
    client_certs: Annotated[tuple[ClientCert, ...], BeforeValidator(one_or_many)] = Field(default=(), max_length=1)


def context(fields: Tls) -> ssl.SSLContext:
    """What TLS shall check and show. Raises `ConnectError` for certificates that cannot be read."""
    try:
        context = ssl.create_default_context(cafile=fields.root_cas_file or None, cadata=fields.root_cas or None)
        if fields.skip_cert_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for cert in fields.client_certs:
            _load(context, cert)
    except (OSError, ValueError) as error:
        raise ConnectError(f"the certificates of tls cannot be read: {error}") from error
    return context


def _load(context: ssl.SSLContext, cert: ClientCert) -> None:
    if cert.cert_file:
        context.load_cert_chain(cert.cert_file, cert.key_file, cert.password)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # readable for us alone; ssl reads files only
        file.write(f"{cert.key}\n{cert.cert}\n")
        file.flush()
        os.fsync(file.fileno())
        context.load_cert_chain(file.name, password=cert.password)
