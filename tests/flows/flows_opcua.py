"""A real OPC UA server (asyncua) on the loopback for the tests of flows, in a thread with a loop of its own: it takes a second to start."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.callback import CallbackType
from asyncua.crypto import cert_gen
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

URI = "urn:test:plant"


class Users(UserManager):
    """Anybody may read and write; who gives a name must know the password."""

    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        return User(role=UserRole.User) if username is None or password == "secret" else None


class Plant:
    """The server. `add` and `write` work on it from any thread; `index` is the namespace of its nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = 0
        self.reads: list[int] = []
        """How many nodes each read request asked for."""
        self.certificate = b""
        self._loop = asyncio.new_event_loop()
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self._server.bserver._server.sockets[0].getsockname()[1]}/plant"

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs the coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def folder_of(self, name: str, values: dict[str, Any], parent: Any = None) -> Any:
        """A folder with variables of these values (variants, data values or plain ones); their node ids are ``<name>.<variable>``."""

        async def make() -> Any:
            above = parent or self._server.nodes.objects
            folder = await above.add_folder(
                ua.NodeId(name, self.index), ua.QualifiedName(name.rpartition(".")[2], self.index)
            )
            for each, value in values.items():
                await folder.add_variable(
                    ua.NodeId(f"{name}.{each}", self.index), ua.QualifiedName(each, self.index), value
                )
            return folder

        return self.do(make())

    def node(self, name: str) -> Any:
        return self._server.get_node(ua.NodeId(name, self.index))

    def write(self, name: str, value: Any) -> None:
        """Sets a value, a variant or a whole data value."""
        given = (
            value
            if isinstance(value, ua.DataValue)
            else ua.DataValue(value if isinstance(value, ua.Variant) else ua.Variant(value))
        )
        self.do(self._server.write_attribute_value(ua.NodeId(name, self.index), given))

    def value(self, name: str) -> Any:
        return self.do(self.node(name).read_value())

    async def _start(self) -> None:
        server = self._server = Server(user_manager=Users())
        await server.init()
        server.set_endpoint("opc.tcp://127.0.0.1:0/plant")
        await server.set_application_uri("urn:test:server")
        key = cert_gen.generate_private_key()
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier("urn:test:server"), x509.DNSName("localhost")]
        made = cert_gen.generate_self_signed_app_certificate(key, "Test", {}, names, [ExtendedKeyUsageOID.SERVER_AUTH])
        self.certificate = made.public_bytes(Encoding.DER)
        (self.folder / "server.der").write_bytes(self.certificate)
        (self.folder / "server.pem").write_bytes(cert_gen.dump_private_key_as_pem(key))
        await server.load_certificate(self.folder / "server.der")
        await server.load_private_key(self.folder / "server.pem")
        kinds = ua.SecurityPolicyType
        policies = [kinds.NoSecurity, kinds.Basic256Sha256_Sign, kinds.Basic256Sha256_SignAndEncrypt]
        server.set_security_policy(policies)
        self.index = await server.register_namespace(URI)
        server.subscribe_server_callback(CallbackType.PreRead, self._count)
        await server.start()

    async def _count(self, event: Any, dispatcher: Any) -> None:
        self.reads.append(len(event.request_params.NodesToRead))


@contextmanager
def opcua_plant(folder: Path) -> Iterator[Plant]:
    """A server that runs."""
    plant = Plant(folder)
    thread = threading.Thread(target=plant._loop.run_forever, daemon=True)
    thread.start()
    try:
        plant.do(plant._start())
        yield plant
    finally:
        plant.do(plant._server.stop())
        plant._loop.call_soon_threadsafe(plant._loop.stop)
        thread.join(5)
        plant._loop.close()
