"""The admin API of Redpanda (port 9644), as documented in its admin API reference.

Each call is one request with a bound on its time and on the size of its answer, and says in words why there is no good one. A client keeps
its connections and belongs to one event loop.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import msgspec

TIMEOUT: Final = 2.0
"""Seconds within which an answer must be complete."""
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""A cluster with 10,000 partitions has some 20 MB of metrics."""
SHOWN: Final = 200


class AdminError(Exception):
    """The admin API did not do what was asked: says where, what it answered, and whether it answered at all."""


class Http:
    """Requests to one server, which raise `AdminError` for everything that is no success. `user` and `password` are for HTTP basic auth.

    `verify` is False, or the file of the authority that signed the server's certificate (True: those of the system), or all that TLS has to
    know.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        user: str = "",
        password: str = "",
        verify: bool | str | ssl.SSLContext = True,
    ) -> None:
        import httpx  # most agents never speak HTTP to anybody

        self.url = url.rstrip("/")
        self._timeout = timeout
        auth = httpx.BasicAuth(user, password) if user else None
        self._client = httpx.AsyncClient(
            base_url=self.url, timeout=timeout, auth=auth, verify=_verify(verify), trust_env=False
        )

    async def ask(self, method: str, path: str, *, body: Any = None, timeout: float | None = None) -> tuple[int, bytes]:
        """The status and the body of the answer, whatever the status is. Raises `AdminError` where there is none."""
        import asyncio

        import httpx

        where, limit = f"{self.url}{path}", timeout or self._timeout
        try:
            async with asyncio.timeout(limit):
                content = None if body is None else msgspec.json.encode(body)
                headers = {"Content-Type": "application/json"} if body is not None else {}
                async with self._client.stream(method, path, content=content, headers=headers, timeout=limit) as answer:
                    data = bytearray()
                    async for part in answer.aiter_bytes():
                        data += part
                        if len(data) > MAX_ANSWER_BYTES:
                            raise AdminError(f"{where}: the answer has more than {MAX_ANSWER_BYTES} bytes")
                    return answer.status_code, bytes(data)
        except (TimeoutError, httpx.TimeoutException):
            raise AdminError(f"{where} did not answer within {limit:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise AdminError(f"{where}: {_cause(error)}") from error

    async def json(self, method: str, path: str, *, body: Any = None) -> Any:
        """The decoded body of a success. Raises `AdminError`."""
        status, data = await self.ask(method, path, body=body)
        if not 200 <= status < 300:
            raise AdminError(f"{self.url}{path} answered {status}: {said(data)}")
        try:
            return msgspec.json.decode(data) if data else None
        except msgspec.DecodeError as error:
            raise AdminError(f"{self.url}{path} answered what is not JSON: {said(data)}") from error

    async def close(self) -> None:
        """Closes the connections. Idempotent."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Admin(Http):
    """What is asked of Redpanda itself."""

    async def not_ready(self) -> str:
        """Why it is not ready, or nothing."""
        try:
            status, data = await self.ask("GET", "/v1/status/ready")
        except AdminError as error:
            return str(error)
        try:
            state = msgspec.json.decode(data)["status"]
        except (msgspec.DecodeError, TypeError, KeyError):
            return f"{self.url}/v1/status/ready answered {status}: {said(data)}"
        return "" if status == 200 and state == "ready" else f"it says it is {state}"

    async def metrics(self) -> str:
        """The text of the public metrics. Raises `AdminError`."""
        status, data = await self.ask("GET", "/public_metrics")
        if status != 200:
            raise AdminError(f"{self.url}/public_metrics answered {status}: {said(data)}")
        return data.decode(errors="replace")

    async def settings(self) -> dict[str, Any]:
        """The cluster's configuration, all of it. Raises `AdminError`."""
        found = await self.json("GET", "/v1/cluster_config")
        if not isinstance(found, dict):
            raise AdminError(f"{self.url}/v1/cluster_config answered what is no configuration")
        return found

    async def change_settings(self, upsert: Mapping[str, Any]) -> None:
        """Sets these values, and no others. Raises `AdminError`, with Redpanda's own reason where it refuses one."""
        await self.json("PUT", "/v1/cluster_config", body={"upsert": dict(upsert), "remove": []})

    async def restart_needed(self) -> bool:
        """Whether a node must be restarted for the configuration to take effect. Raises `AdminError`."""
        nodes = await self.json("GET", "/v1/cluster_config/status")
        return isinstance(nodes, list) and any(isinstance(node, dict) and node.get("restart") for node in nodes)


def said(data: bytes) -> str:
    """What a body says, cut where it is long."""
    return repr(data[:SHOWN].decode(errors="replace"))


def _verify(verify: bool | str | ssl.SSLContext) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def _cause(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return str(error) or str(cause) or type(error).__name__
