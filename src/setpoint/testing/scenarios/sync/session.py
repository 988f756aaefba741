"""The session with the relay: logging in, calling, what an error means, and how long to leave the relay alone after it.

    class               detected by                                   pause in seconds
    cloudflare          429 with the page of a challenge              60
    proxy block         the page of a filtering proxy, any status     60
    rate limit          429                                           30, 60, 120, 300
    invalid token       401, 403                                      0, 60: a new token is tried at once, and once
    instance deleted    404                                           300
    server error        500 and above                                 2, 4, 8, … 60
    network             no connection, no answer in time              2, 4, 8, … 60
    rejected            anything else: what was sent is to blame      2, 4, 8, … 60

A ``Retry-After`` overrides the table, up to ten minutes. Up to a quarter of every pause is taken off at random, so that many instances do
not come back at one moment. A pause is measured from the end of the attempt that failed, however long the trouble has lasted already.

The token lives here and nowhere else: neither in a spec, nor in an observation, so it never reaches the store.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

from setpoint.testing.scenarios.sync.relay import MESSAGES, bearer

if TYPE_CHECKING:
    import httpx

BLOCK_PAGES = ("zscaler", "bluecoat", "access denied", "web filter", "websense", "fortiguard")
CHALLENGE_PAGES = ("cf-challenge", "just a moment")
RETRY_AFTER_CAP = 600.0
KEPT = 256
"""Characters of an error's body that are kept."""


class Trouble(StrEnum):
    """What kind of error it was."""

    CLOUDFLARE = "cloudflare challenge"
    PROXY = "proxy block"
    RATE_LIMIT = "rate limit"
    INVALID_TOKEN = "invalid token"
    INSTANCE_DELETED = "instance deleted"
    SERVER = "server error"
    NETWORK = "network"
    REJECTED = "rejected"


LADDERS: dict[Trouble, tuple[float, ...]] = {
    Trouble.CLOUDFLARE: (60.0,),
    Trouble.PROXY: (60.0,),
    Trouble.RATE_LIMIT: (30.0, 60.0, 120.0, 300.0),
    Trouble.INVALID_TOKEN: (0.0, 60.0),
    Trouble.INSTANCE_DELETED: (300.0,),
}
GROWING = (2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


def pause(trouble: Trouble, failures: int, retry_after: float | None = None) -> float:
    """Seconds to leave the relay alone after so many failures in a row, before jitter."""
    if retry_after is not None:
        return min(retry_after, RETRY_AFTER_CAP)
    ladder = LADDERS.get(trouble, GROWING)
    return ladder[min(failures, len(ladder)) - 1]


def classify(status: int, body: str) -> Trouble:
    """What an answer that is not good means."""
    if status == 429 and any(mark in body.lower() for mark in CHALLENGE_PAGES):
        return Trouble.CLOUDFLARE
    if _is_blocked(body):
        return Trouble.PROXY
    known = {
        429: Trouble.RATE_LIMIT,
        401: Trouble.INVALID_TOKEN,
        403: Trouble.INVALID_TOKEN,
        404: Trouble.INSTANCE_DELETED,
    }
    return known.get(status) or (Trouble.SERVER if status >= 500 else Trouble.REJECTED)


def _is_blocked(page: str) -> bool:
    """Whether it is the page of a filtering proxy, which may well say 200."""
    return any(mark in page.lower() for mark in BLOCK_PAGES)


class RelayError(Exception):
    """A call of the relay failed: what kind of trouble it is, and what the relay said of when to come back."""

    def __init__(self, trouble: Trouble, text: str, retry_after: float | None = None) -> None:
        super().__init__(f"{trouble}: {text}" if text else str(trouble))
        self.trouble, self.retry_after = trouble, retry_after


@dataclass
class Attempts:
    """What is remembered of the attempts at one kind of call. Seconds are of the loop's clock, pauses are stretched by `pace`."""

    pace: float
    failures: int = 0
    error: str = ""
    rests_until: float = 0.0
    _jitter: random.Random = field(default_factory=lambda: random.Random(1))

    def failed(self, error: RelayError) -> None:
        self.failures += 1
        self.error = str(error)
        wait = pause(error.trouble, self.failures, error.retry_after) * (1 - 0.25 * self._jitter.random())
        self.rests_until = asyncio.get_running_loop().time() + wait * self.pace

    def succeeded(self) -> None:
        self.failures, self.error, self.rests_until = 0, "", 0.0

    @property
    def resting(self) -> bool:
        return asyncio.get_running_loop().time() < self.rests_until


class Session:
    """A client of the relay. `pace` is how long a second lasts: 1, or less to see much in little time."""

    def __init__(self, client: httpx.AsyncClient, pace: float) -> None:
        self._client, self._pace = client, pace
        self._url, self._token, self._expires_at = "", "", 0.0

    @property
    def left(self) -> float:
        """Seconds, of its own, that the token is still good for; 0 when there is none."""
        left = (self._expires_at - asyncio.get_running_loop().time()) / self._pace
        return max(0.0, left) if self._token else 0.0

    async def log_in(self, url: str, auth_token: str) -> None:
        """Get a token. Raises `RelayError`."""
        headers = {"Authorization": f"Bearer {bearer(auth_token)}"}
        response = await self._call("POST", f"{url}/v2/instance/login", headers=headers, timeout=10)
        cookie = SimpleCookie(response.headers.get("set-cookie", "")).get("token")
        if cookie is None:
            raise RelayError(Trouble.REJECTED, "the relay sent no token")
        self._client.cookies.clear()  # the token is sent with each call, and kept in one place only
        self._url, self._token = url, cookie.value
        self._expires_at = asyncio.get_running_loop().time() + float(cookie["max-age"] or 23 * 3600)

    async def push(self, messages: list[dict[str, Any]]) -> None:
        """Send messages. Raises `RelayError`."""
        await self._call_with_token("POST", "push", timeout=10, json={MESSAGES: messages})

    async def pull(self, poll: float) -> list[dict[str, Any]]:
        """Receive messages; the relay may wait `poll` seconds for some. Raises `RelayError`."""
        response = await self._call_with_token("GET", "pull", timeout=poll + 10)
        return list(response.json()[MESSAGES]) if response.status_code == 200 else []

    async def _call_with_token(self, method: str, word: str, **options: Any) -> httpx.Response:
        token = self._token
        try:
            return await self._call(
                method, f"{self._url}/v2/instance/{word}", headers={"Cookie": f"token={token}"}, **options
            )
        except RelayError as error:
            if error.trouble is Trouble.INVALID_TOKEN and token == self._token:
                self._token = ""  # whoever logs in sees that it has to
            raise

    async def _call(self, method: str, url: str, *, timeout: float, **options: Any) -> httpx.Response:
        import httpx

        try:
            async with asyncio.timeout(timeout * self._pace):
                response = await self._client.request(method, url, timeout=None, **options)
        except TimeoutError:
            raise RelayError(Trouble.NETWORK, f"no answer within {timeout:g} s") from None
        except httpx.HTTPError as error:
            raise RelayError(Trouble.NETWORK, f"{type(error).__name__}: {error}") from error
        page = "" if "json" in response.headers.get("content-type", "") else response.text
        if response.status_code < 400 and not _is_blocked(page):
            return response
        after = response.headers.get("retry-after", "")
        raise RelayError(
            classify(response.status_code, page),
            f"{response.status_code} {page[:KEPT]}".strip(),
            float(after) if after.isdigit() else None,
        )


class Outbox:
    """Messages on their way out, in order, bounded: whoever puts one into a full box waits. One leaves it only once it has arrived."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.most = 0
        """The most messages that were ever in it."""
        self.dropped: deque[Any] = deque(maxlen=capacity)
        """Contents that the relay refused for good, the latest of them."""
        self._messages: list[dict[str, Any]] = []
        self._count = 0
        self._room = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._messages)

    async def put(self, content: Any) -> None:
        async with self._room:
            await self._room.wait_for(lambda: len(self._messages) < self.capacity)
            self._count += 1
            message = {"umhInstance": "edge", "email": "", "content": content, "traceId": f"edge-{self._count}"}
            self._messages.append(message)
            self.most = max(self.most, len(self._messages))

    def first(self, count: int) -> list[dict[str, Any]]:
        return self._messages[:count]

    async def arrived(self, count: int) -> None:
        """The first messages have arrived."""
        async with self._room:
            del self._messages[:count]
            self._room.notify_all()

    async def drop_first(self) -> None:
        """The first message will never arrive: keep what it said, and let the others go on."""
        self.dropped.append(self._messages[0]["content"])
        await self.arrived(1)
