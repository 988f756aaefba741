"""The HTTP connectors against real peers: uvicorn as the service, curl as the sender, TLS with certificates of our own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.real.ports import free_port
from tests.real.real_mosquitto import certificates

from setpoint.flows import FlowEngine
from setpoint.flows.component import ConnectError
from setpoint.flows.ends.adapters import context
from setpoint.flows.inputs import INPUTS

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl is installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")
    certificates(folder)
    return folder


class Service:
    """A service on uvicorn: numbers to GET, and a list of what was posted. Stopped and started as a test likes, on one port."""

    def __init__(self, **settings: Any) -> None:
        self.port = free_port()
        self.posted: list[Any] = []
        self.keys: list[str] = []
        self._served = 0
        self._settings = settings
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (event := await receive()).get("more_body"):
            body += event["body"]
        body += event.get("body", b"")
        if scope["method"] == "POST":
            self.posted.append(json.loads(body))
            self.keys.append(dict(scope["headers"])[b"idempotency-key"].decode())
        self._served += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"n":%d}' % self._served})

    def start(self) -> None:
        config = uvicorn.Config(
            self, host="127.0.0.1", port=self.port, log_level="error", lifespan="off", **self._settings
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.force_exit = self._server.should_exit = True
            self._thread.join(10)


@contextmanager
def service(**settings: Any) -> Iterator[Service]:
    made = Service(**settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def run(scenario: Awaitable[Any]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(limited())


async def until(fact: Callable[[], Any], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not fact():  # noqa: ASYNC110  # facts of many kinds, none of which tells
            await asyncio.sleep(0.01)


def status_of(engine: FlowEngine, name: str) -> Any:
    status = engine.status(name)
    assert status is not None
    return status


def test_a_service_is_polled_over_tls(certified: Path) -> None:
    """One whose authority is not known is refused, unless told not to look; one that wants a certificate gets ours."""
    import ssl

    settings = {
        "ssl_certfile": certified / "server.pem", "ssl_keyfile": certified / "server.key",
        "ssl_ca_certs": str(certified / "ca.pem"), "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }  # fmt: skip
    client = {"cert_file": f"{certified}/client.pem", "key_file": f"{certified}/client.key"}
    known = {"root_cas_file": f"{certified}/ca.pem"}

    async def polled(port: int, **tls: Any) -> Any:
        given = {"url": f"https://127.0.0.1:{port}/", "retries": 0, "tls": tls}
        source = INPUTS["http_client"].make(INPUTS["http_client"].fields.model_validate(given), context("test"))
        try:
            await source.connect()
            return [json.loads(msg.payload)["n"] for msg in await source.read() or ()]
        finally:
            await source.close()

    with service(**settings) as peer:

        async def scenario() -> None:
            with pytest.raises(ConnectError, match="its certificate does not verify: "):
                await polled(peer.port, client_certs=[client])
            with pytest.raises(ConnectError, match="its certificate does not verify: "):
                await polled(peer.port, root_cas_file=f"{certified}/stranger.pem", client_certs=[client])
            with pytest.raises(ConnectError, match=f"^127.0.0.1:{peer.port}: .*"):
                await polled(peer.port, **known)
            assert await polled(peer.port, **known, client_certs=[client]) == [1]
            assert await polled(peer.port, skip_cert_verify=True, client_certs=[client]) == [2]

        run(scenario())


def test_a_service_that_is_stopped_and_started_gets_everything() -> None:
    """In order, and what it got twice has the key it had."""
    total = 2000
    with service() as peer:

        async def scenario() -> None:
            engine = FlowEngine()
            config = {
                "input": {"generate": {"mapping": "root.n = counter()", "interval": "1ms", "count": total}},
                "output": {"http_client": {"url": f"http://127.0.0.1:{peer.port}/in", "timeout": "2s"}},
            }
            await engine.start("out", config)
            for stop_at in (total // 4, total // 2):
                await until(lambda at=stop_at: len(peer.posted) >= at, 30)  # type: ignore[misc]
                await asyncio.to_thread(peer.stop)
                await until(lambda: not status_of(engine, "out").output_connected)
                assert status_of(engine, "out").last_error.startswith(f"output http_client: 127.0.0.1:{peer.port}: ")
                await asyncio.to_thread(peer.start)
            await until(lambda: status_of(engine, "out").finished, 30)
            await engine.close()

        run(scenario())
        found = [each["n"] for each in peer.posted]
        print(f"{total} sent, {total - len(set(found))} lost, {len(found) - len(set(found))} doubled")
        assert list(dict.fromkeys(found)) == list(range(1, total + 1))
        assert len(set(peer.keys)) == total


def test_curl_posts_to_a_webhook(certified: Path, tmp_path: Path) -> None:
    """Over TLS, with a token; a body of more than a megabyte asks first whether it may, and is told that it may not."""
    if shutil.which("curl") is None:
        pytest.skip("no curl is installed: apt-get install curl")
    port = free_port()
    hook = {
        "address": f"127.0.0.1:{port}", "path": "/hook", "bearer_token": "let-me-in",
        "cert_file": f"{certified}/server.pem", "key_file": f"{certified}/server.key",
    }  # fmt: skip
    into = tmp_path / "out.jsonl"

    def curl(*arguments: str) -> str:
        common = [
            "curl",
            "-sS",
            "--max-time",
            "10",
            "--cacert",
            f"{certified}/ca.pem",
            "-w",
            "%{http_code}",
            "-o",
            "/dev/null",
        ]
        done = subprocess.run(
            [*common, *arguments, f"https://127.0.0.1:{port}/hook"], check=False, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    async def scenario() -> None:
        engine = FlowEngine()
        await engine.start("hook", {"input": {"http_server": hook}, "output": {"file": {"path": str(into)}}})
        await until(lambda: status_of(engine, "hook").input_connected)
        token = ["-H", "Authorization: Bearer let-me-in"]
        large = tmp_path / "large"
        large.write_bytes(b"x" * 2_000_000)
        assert await asyncio.to_thread(curl, "-d", '{"n":1}') == "401"
        assert await asyncio.to_thread(curl, *token, "-d", '{"n":1}') == "200"
        assert into.read_text() == '{"n":1}\n'
        assert await asyncio.to_thread(curl, *token, "--data-binary", f"@{large}") == "413"
        assert (
            await asyncio.to_thread(curl, *token, "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{large}")
            == "413"
        )
        assert await asyncio.to_thread(curl, *token, "--http1.0", "-d", '{"n":2}') == "200"
        assert await asyncio.to_thread(curl, *token, "-F", "a=b") == "415"
        assert into.read_text() == '{"n":1}\n{"n":2}\n'
        await engine.close()

    run(scenario())
