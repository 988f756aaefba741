"""The certificate with which we show an OPC UA server who we are (OPC UA Part 6, 6.2.2).

A server trusts a client by its certificate, and somebody has told it to; so it must stay the same. It is kept as ``client.pem`` and
``client.key`` in a folder, where one may put one's own; where there is none it is made, for ten years, the key readable for us alone. All
connections that name the same folder are the same client. The application URI of a client stands in its certificate, and a server
compares both.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Final, NamedTuple

DAYS: Final = 3650
_ONE_AT_A_TIME: Final = threading.Lock()


class Certificate(NamedTuple):
    """A certificate and its key, both as PEM, and the application URI in it."""

    pem: bytes
    key: bytes
    uri: str


def kept(folder: Path) -> Certificate:
    """The certificate in that folder; made if there is none. For a thread: a key takes a while. Raises `OSError` or `ValueError`."""
    certificate, key = folder / "client.pem", folder / "client.key"
    with _ONE_AT_A_TIME:
        missing = [path.name for path in (certificate, key) if not path.exists()]
        if len(missing) == 1:
            raise ValueError(
                f"{folder} has no {missing[0]}; put it there, or remove the other of client.pem and client.key"
            )
        if missing:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            pem, private = _made(f"urn:{socket.gethostname()}:setpoint")
            _write(key, private)
            _write(certificate, pem)
    return _read(certificate.read_bytes(), key.read_bytes())


def _write(path: Path, content: bytes) -> None:
    """In one step, and readable for us alone."""
    fresh = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _made(uri: str) -> tuple[bytes, bytes]:
    from asyncua.crypto import cert_gen
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = cert_gen.generate_private_key()
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri), x509.DNSName(socket.gethostname())]
    use = [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = cert_gen.generate_self_signed_app_certificate(key, "Setpoint", {}, names, use, days=DAYS)
    return certificate.public_bytes(Encoding.PEM), cert_gen.dump_private_key_as_pem(key)


def _read(pem: bytes, key: bytes) -> Certificate:
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise ValueError(f"the client certificate cannot be read: {error}") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise ValueError("the client certificate names no application URI (subjectAltName URI)")
    return Certificate(pem, key, uris[0])
