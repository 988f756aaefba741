"""HTTP handles against a real server on loopback; breaker and rate limit also by themselves, under a clock of their own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.resources.resource_samples import Clock

from setpoint.data.definition import ResourceDef, Retry
from setpoint.data.resources import Breaker, BreakerOpen, Manager, RateLimit, manager

API = {"api": "api"}


class Service(ThreadingHTTPServer):
    """Answers with the statuses in `script`, then with 200; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[int] = []
        self.asked: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append(
            {
                "method": self.command,
                "path": self.path,
                "body": body.decode(),
                "auth": self.headers.get("authorization"),
            }
        )
        self.send_response(self.server.script.pop(0) if self.server.script else 200)
        answer = json.dumps({"asked": len(self.server.asked)}).encode()
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def api(service: Service, *, type: str = "http", retry: Retry | None = None, **config: Any) -> Manager:
    return manager([ResourceDef(name="api", type=type, retry=retry, config={"base_url": service.url, **config})])


def test_requests_and_answers(service: Service) -> None:
    """Paths below the base, credentials in the header, an answer of 400 or more is an error unless it is asked for."""
    resources = api(service, auth={"bearer": "t0ken"})
    http = resources.acquire(API, "a")["api"]
    assert http.json("/things?x=1") == {"asked": 1}
    http.post("/things", json={"a": 1})
    assert service.asked == [
        {"method": "GET", "path": "/things?x=1", "body": "", "auth": "Bearer t0ken"},
        {"method": "POST", "path": "/things", "body": '{"a":1}', "auth": "Bearer t0ken"},
    ]
    service.script = [404, 404]
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        http.get("/none")
    assert http.request("GET", "/none", check=False).status_code == 404
    resources.release(API, "a", True)
    resources.close()


@pytest.mark.parametrize("type", ["http", "async_http"])
def test_retries_are_for_what_may_be_repeated(service: Service, type: str) -> None:
    """A GET is tried again after 503, a POST is not; after the last attempt the answer is the error."""

    async def scenario() -> None:
        made = api(service, type=type, retry=Retry(attempts=3))
        resources = made.awaiting()
        http = (await resources.acquire(API, "a"))["api"]

        async def ask(method: str) -> Any:
            answer = http.request(method, "/")
            return await answer if type == "async_http" else answer

        service.script = [503, 503]
        assert (await ask("GET")).json() == {"asked": 3}
        service.script = [503]
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            await ask("POST")
        assert len(service.asked) == 4
        service.script = [503] * 3
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            await ask("GET")
        assert len(service.asked) == 7
        await resources.release(API, "a", True)
        await made.aclose()

    asyncio.run(scenario())


def test_a_post_that_never_reached_the_service_is_tried_again() -> None:
    """Nobody listens: the connection is refused on every attempt, and that is the error."""
    resources = manager(
        [
            ResourceDef(
                name="api",
                type="http",
                retry=Retry(attempts=3),
                config={"base_url": "http://127.0.0.1:9", "rate": {"per_second": 1000}},
            )
        ]
    )
    http = resources.acquire(API, "a")["api"]
    attempts = []
    http._client.event_hooks["request"] = [attempts.append]
    with pytest.raises(httpx.ConnectError):
        http.post("/")
    assert len(attempts) == 3
    resources.release(API, "a", True)
    resources.close()


def test_the_breaker_counts_across_records(service: Service) -> None:
    """Failures of different runs add up; when it is open the service is not asked at all."""
    resources = api(service, breaker={"failures": 3, "seconds": 60})
    service.script = [500] * 10
    for number in range(3):
        with pytest.raises(httpx.HTTPStatusError):
            resources.acquire(API, f"run {number}")["api"].get("/")
        resources.release(API, f"run {number}", False)
    with pytest.raises(BreakerOpen, match="api failed 3 times in a row; it is asked again in"):
        resources.acquire(API, "next")["api"].get("/")
    assert len(service.asked) == 3
    resources.release(API, "next", False)
    resources.close()


def test_answers_that_are_not_the_services_fault_keep_the_breaker_closed(service: Service) -> None:
    """404 says that the service works."""
    resources = api(service, breaker={"failures": 1})
    service.script = [404, 404]
    http = resources.acquire(API, "a")["api"]
    for _ in range(2):
        assert http.request("GET", "/", check=False).status_code == 404
    assert http.get("/").status_code == 200
    resources.release(API, "a", True)
    resources.close()


def test_a_breaker_opens_tries_and_closes() -> None:
    """Closed until so many failures in a row; open for a time; then one call decides."""
    clock = Clock()
    breaker = Breaker("it", failures=2, seconds=10, clock=clock)
    breaker.failure()
    breaker.success()
    breaker.failure()
    breaker.enter()
    assert breaker.state == "closed"
    breaker.failure()
    assert breaker.state == "open"
    with pytest.raises(BreakerOpen, match=r"in 10\.0 s"):
        breaker.enter()
    clock.now = 10
    assert breaker.state == "half-open"
    breaker.enter()
    with pytest.raises(BreakerOpen, match="one call tries"):
        breaker.enter()
    breaker.failure()
    with pytest.raises(BreakerOpen):
        breaker.enter()
    clock.now = 20
    breaker.enter()
    breaker.nothing()
    breaker.enter()
    breaker.success()
    assert breaker.state == "closed"
    breaker.enter()


@given(st.floats(0.1, 100), st.integers(1, 10), st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=40))
def test_a_rate_is_kept_whenever_calls_come(per_second: float, burst: int, gaps: list[float]) -> None:
    """In any stretch of time there are at most `burst` calls more than the rate allows; and nobody waits longer than needed."""
    clock = Clock()
    limit = RateLimit(per_second, burst=burst, clock=clock)
    moments: list[float] = []
    for gap in gaps:
        clock.now += gap
        moments.append(clock.now + limit.reserve())
    assert moments == sorted(moments)
    for first in range(len(moments)):
        for last in range(first, len(moments)):
            allowed = burst + (moments[last] - moments[first]) * per_second
            assert last - first + 1 <= allowed + 1e-6
    assert all(moment == 0 for moment in moments[:burst]) or any(gaps)


@pytest.mark.parametrize(
    ("auth", "sent"),
    [({"user": "u", "password": "p"}, "Basic dTpw"), ({"header": "Authorization", "key": "k"}, "k"), ({}, None)],
)
def test_ways_to_authenticate(service: Service, auth: dict[str, str], sent: str | None) -> None:
    """Basic, a key in any header, none."""
    resources = api(service, auth=auth)
    resources.acquire(API, "a")["api"].get("/")
    resources.release(API, "a", True)
    resources.close()
    assert service.asked[0]["auth"] == sent


def test_another_way_to_authenticate_is_a_fault() -> None:
    """Said when the machine is made, not when it runs."""
    with pytest.raises(Exception, match=r"auth is \{bearer\}"):
        manager([ResourceDef(name="api", type="http", config={"auth": {"beerer": "x"}})])
