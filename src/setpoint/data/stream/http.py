"""HTTP: pages of records by GET, chunks of records by POST.

In:  a page is JSON (an array, or an object with the array at `items`: ``data.rows``) or JSON Lines. The next page is where the answer says:
     the ``Link`` header with ``rel="next"`` (RFC 8288), a URL or a cursor in the answer (`next`, `cursor`), or the number of the page
     (`page`: counted up until a page is empty). A position is the page's URL and how many of its records were taken.
Out: a chunk is one JSON array, JSON Lines, or one request for each record (`body`). Each request has an ``Idempotency-Key`` made of the
     source's position: a chunk that is sent again after a resume has the same key, so a server that knows it takes it once.

Both try again where that may help (no connection, 408, 425, 429, 5xx), later and later, as long as ``Retry-After`` says.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from setpoint.data.resources.http import retry_after
from setpoint.data.stream.jsonl import UNREADABLE, encode_each
from setpoint.data.stream.parts import Chunk, Malformed, Mark, Position, Refused, shown

if TYPE_CHECKING:
    import httpx

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT: Final = 60.0
Sleep = Callable[[float], Awaitable[object]]


class HttpSource:
    """Reads records from pages. `params` and `headers` go with the first request, `headers` with all. Raises `ValueError`."""

    def __init__(
        self,
        url: str,
        *,
        items: str = "",
        next: str = "",
        cursor: str = "",
        page: str = "",
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 5,
        timeout: float = 30.0,
        client: httpx.AsyncClient | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        import httpx

        if cursor and not next:
            raise ValueError(
                f"cursor={cursor!r} is the parameter for the value at next=…: say where that is in the answer"
            )
        self._client = client or httpx.AsyncClient(timeout=timeout)
        self._owned = client is None
        self._headers = dict(headers or {})
        self._ask = Asking(self._client, attempts=attempts, sleep=sleep)
        self._items, self._next, self._cursor, self._page = items, next, cursor, page
        start = httpx.URL(url).copy_merge_params(dict(params or {}))
        if page and page not in start.params:
            start = start.copy_set_param(page, 1)
        self.name = url.partition("?")[0]
        self._url: httpx.URL | None = start
        self._skip = 0
        self._records: list[Any] = []
        self._malformed: list[Malformed] = []
        self._following: httpx.URL | None = None
        self._loaded = False

    async def read(self, limit: int) -> Chunk | None:
        """The next records of the page, or of the next page. Raises `httpx.HTTPError`, and `ValueError` for an answer without records."""
        while self._url is not None:
            if not self._loaded:
                await self._load(self._url)
            if self._skip < len(self._records) or self._malformed:
                return self._taken(limit)
            self._url, self._skip, self._loaded = self._following, 0, False
        return None

    async def seek(self, position: Position) -> None:
        """Go on in that page."""
        import httpx

        self._url, self._skip = httpx.URL(position["url"]), position["skip"]

    async def acknowledge(self, position: Position) -> None:
        """Pages stay."""

    async def close(self) -> None:
        """Closes the connections."""
        if self._owned:
            await self._client.aclose()

    def _taken(self, limit: int) -> Chunk:
        first = self._skip
        records = self._records[first : first + limit]
        self._skip += len(records)
        malformed, self._malformed = self._malformed, []
        places = [f"{self._url}#{number}" for number in range(first, self._skip)]
        return Chunk(records, {"url": str(self._url), "skip": self._skip}, places, malformed)

    async def _load(self, url: httpx.URL) -> None:
        response = await self._ask.send("GET", url, headers=self._headers)
        kind = response.headers.get("content-type", "")
        if "ndjson" in kind or "jsonl" in kind or "json-seq" in kind:
            self._records, self._malformed = _lines(response.content, str(url))
            answer: Any = None
        else:
            answer = _decoded(response)
            records = _at(answer, self._items) if self._items else answer
            if not isinstance(records, list):
                where = f"at {self._items!r}" if self._items else "in the answer (say where with items=…)"
                raise ValueError(f"{url}: there is no list of records {where}")
            self._records = records
        self._following = self._after(url, response, answer)
        if self._following == url:
            raise ValueError(f"{url}: the next page is this page again")
        self._loaded = True

    def _after(self, url: httpx.URL, response: httpx.Response, answer: Any) -> httpx.URL | None:
        if self._page:
            return url.copy_set_param(self._page, int(url.params[self._page]) + 1) if self._records else None
        if self._next:
            value = _at(answer, self._next)
            if value in (None, "", False):
                return None
            return url.copy_set_param(self._cursor, value) if self._cursor else url.join(str(value))
        link = response.links.get("next", {}).get("url")
        return url.join(link) if link else None


class HttpSink:
    """Sends records by POST (or PUT, PATCH).

    A record (`body="each"`) or a chunk that the server refuses (400, 409, 413, 422) becomes dead letters. `stream` goes into the keys, so
    that two streams to one address never have the same.
    """

    keeps_mark = False

    def __init__(
        self,
        url: str,
        *,
        body: Literal["array", "lines", "each"] = "array",
        method: Literal["POST", "PUT", "PATCH"] = "POST",
        headers: Mapping[str, str] | None = None,
        stream: str = "",
        attempts: int = 5,
        timeout: float = 30.0,
        client: httpx.AsyncClient | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        import httpx

        self._client = client or httpx.AsyncClient(timeout=timeout)
        self._owned = client is None
        self._ask = Asking(self._client, attempts=attempts, sleep=sleep)
        self._url, self._method, self._body, self._stream = httpx.URL(url), method, body, stream
        self._headers = dict(headers or {})
        self.name = url.partition("?")[0]

    async def open(self, resume: bool) -> Mark | None:
        """Ready."""
        return None

    async def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Send them. Raises `httpx.HTTPError` where the server cannot be reached or will not have any of them."""
        pieces, refused = encode_each(records)
        gone = {number for number, _ in refused}
        numbers = [number for number in range(len(records)) if number not in gone]
        if self._body == "each":
            for number, piece in zip(numbers, pieces, strict=True):
                refused += await self._sent(piece, [number], at)
        elif pieces:
            whole = (
                b"[" + b",".join(pieces) + b"]"
                if self._body == "array"
                else b"".join(piece + b"\n" for piece in pieces)
            )
            refused += await self._sent(whole, numbers, at)
        return refused

    async def commit(self, mark: Mark) -> None:
        """The server has it."""

    async def finish(self) -> None:
        """Closes the connections."""
        await self.abort()

    async def abort(self) -> None:
        """Closes the connections; what was sent is sent."""
        if self._owned:
            await self._client.aclose()

    async def _sent(self, body: bytes, numbers: Sequence[int], at: Position) -> list[Refused]:
        """What the server refuses of it."""
        import httpx

        place = msgspec.json.encode([self._stream, at, numbers[0] if self._body == "each" else -1], order="sorted")
        kind = "application/x-ndjson" if self._body == "lines" else "application/json"
        headers = {
            "Content-Type": kind,
            "Idempotency-Key": hashlib.sha256(place).hexdigest()[:32],
            **self._headers,
        }
        try:
            await self._ask.send(self._method, self._url, headers=headers, content=body)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in (400, 409, 413, 422):
                raise
            reason = f"refused with {error.response.status_code}: {shown(error.response.content[:200])}"
            return [Refused(number, reason) for number in numbers]
        return []


class Asking:
    """Requests that are tried again."""

    def __init__(self, client: httpx.AsyncClient, *, attempts: int, sleep: Sleep) -> None:
        if attempts < 1:
            raise ValueError(f"attempts={attempts}: there must be at least one")
        self._client, self._attempts, self._sleep = client, attempts, sleep

    async def send(self, method: str, url: httpx.URL, **request: Any) -> httpx.Response:
        """The answer. After all attempts raises `httpx.HTTPStatusError` for an answer that is an error, `httpx.TransportError` for none."""
        import httpx

        for attempt in range(1, self._attempts + 1):
            try:
                response = await self._client.request(method, url, follow_redirects=True, **request)
                response.raise_for_status()
                return response
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in RETRIED or attempt == self._attempts:
                    raise
                wait = retry_after(error.response)
            except httpx.TransportError:
                if attempt == self._attempts:
                    raise
                wait = None
            await self._sleep(min(2.0 ** (attempt - 1) / 2 if wait is None else wait, LONGEST_WAIT))
        raise AssertionError("the last attempt returns or raises")


def _decoded(response: httpx.Response) -> Any:
    try:
        return msgspec.json.decode(response.content)
    except UNREADABLE as error:
        raise ValueError(
            f"{response.url}: the answer is not JSON: {error}; it begins {shown(response.content[:80])}"
        ) from error


def _lines(content: bytes, url: str) -> tuple[list[Any], list[Malformed]]:
    records, malformed = [], []
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.strip(b"\x1e\r \t")
        if not line:
            continue
        try:
            records.append(msgspec.json.decode(line))
        except UNREADABLE as error:
            malformed.append(Malformed(f"{url}#{number}", f"not JSON: {error}", shown(line)))
    return records, malformed


def _at(answer: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for name in path.split("."):
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return answer
