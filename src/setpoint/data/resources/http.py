"""HTTP services, by httpx: one client for each resource, with retries, a circuit breaker and a rate limit that all records share.

A handle is an `Http` (or, with await, an `AsyncHttp`). An answer of 400 or more is an error unless the caller says otherwise. Requests are
tried again after network errors and answers that say "later" (429, 502, 503, 504 by default), if `retry` is set: those with idempotent
methods, and any request that never reached the service. A `Retry-After` of the service is kept to, up to the longest pause of the retry.

The breaker counts what the service does wrong: no answer, or an answer of 500 or more. The number of handles bounds how many calls are
under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from setpoint.data.definition import Retry
from setpoint.data.resources.breaker import Breaker, RateLimit
from setpoint.data.resources.provider import ResourceError
from setpoint.data.resources.waiting import Pause, Steps, afinish, finish
from setpoint.data.retrying import pause_after

if TYPE_CHECKING:
    import httpx

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
"""RFC 9110, 9.2.2."""


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how many failures in a row the service is left alone, and for how many seconds."""

    failures: int = 5
    seconds: float = 60.0


class RateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many calls a second on average, and how many at once."""

    per_second: float
    burst: int = 1


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service. `base_url` is put before each path; `timeout` is in seconds, for each attempt.

    `auth` is one of bearer (``{bearer: TOKEN}``), basic (``{user: …, password: …}``) or a key in a header
    (``{header: X-Api-Key, key: …}``). `retry_on` are the answers after which a request is tried again.
    """

    base_url: str = ""
    headers: dict[str, str] = {}
    auth: dict[str, str] = {}
    timeout: float = 30.0
    verify: bool = True
    follow_redirects: bool = True
    retry_on: tuple[int, ...] = (429, 502, 503, 504)
    breaker: BreakerSettings | None = None
    rate: RateSettings | None = None


class _Service:
    """What the handles of one service share."""

    def __init__(
        self, name: str, settings: HttpSettings, retry: Retry | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings, self.retry = settings, retry
        breaker, rate = settings.breaker, settings.rate
        self.breaker = (
            Breaker(name, failures=breaker.failures, seconds=breaker.seconds, clock=clock) if breaker else None
        )
        self.limit = RateLimit(rate.per_second, burst=rate.burst, clock=clock) if rate else None
        self.options = _client_options(name, settings)

    def asked(self, send: Callable[[], Any], method: str, *, awaited: bool) -> Steps[Any]:
        """The answer to one request, after as many attempts as that takes."""
        attempt = 1
        while True:
            fault: Exception
            try:
                answer = yield from self._attempt(send, awaited=awaited)
                if answer.status_code not in self.settings.retry_on:
                    return answer
                fault = _refused(answer)
            except Exception as error:
                answer, fault = None, error
            pause = pause_after(self.retry, fault, attempt) if self._again(method, fault, answer) else None
            if pause is None:
                if answer is None:
                    raise fault
                return answer
            asked = 0.0 if answer is None else retry_after(answer) or 0.0
            yield Pause(max(pause, min(asked, self.retry.max_delay if self.retry else 0.0)))
            attempt += 1

    def _attempt(self, send: Callable[[], Any], *, awaited: bool) -> Generator[Any, Any, Any]:
        breaker = self.breaker
        if self.limit is not None and (wait := self.limit.reserve()):
            yield Pause(wait)
        if breaker is not None:
            breaker.enter()
        try:
            answer = send()
            if awaited:
                answer = yield answer
        except Exception:
            if breaker is not None:
                breaker.failure()
            raise
        except BaseException:
            if breaker is not None:
                breaker.nothing()
            raise
        if breaker is not None:
            (breaker.failure if answer.status_code >= 500 else breaker.success)()
        return answer

    @staticmethod
    def _again(method: str, fault: Exception, answer: Any) -> bool:
        import httpx

        if answer is not None or isinstance(fault, httpx.TransportError):
            unsent = isinstance(fault, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            return unsent or method.upper() in IDEMPOTENT
        return False


class Http:
    """A service, in the hands of one run."""

    def __init__(self, service: _Service, client: httpx.Client) -> None:
        self._service, self._client = service, client

    def request(self, method: str, path: str, *, check: bool = True, **options: Any) -> httpx.Response:
        """The answer; `options` are those of httpx (json, params, headers, content, …).

        Raises `httpx.HTTPStatusError` for an answer of 400 or more if `check`, `httpx.TransportError` where there is none, and
        `BreakerOpen` while the service is left alone.
        """
        steps = self._service.asked(lambda: self._client.request(method, path, **options), method, awaited=False)
        return _checked(finish(steps), check)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """`request` with GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """`request` with POST."""
        return self.request("POST", path, **options)

    def json(self, path: str, **options: Any) -> Any:
        """The decoded answer to a GET."""
        return self.get(path, **options).json()


class AsyncHttp:
    """`Http` for async functions: the same methods, awaited."""

    def __init__(self, service: _Service, client: httpx.AsyncClient) -> None:
        self._service, self._client = service, client

    async def request(self, method: str, path: str, *, check: bool = True, **options: Any) -> httpx.Response:
        """See `Http.request`."""
        steps = self._service.asked(lambda: self._client.request(method, path, **options), method, awaited=True)
        return _checked(await afinish(steps), check)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """`request` with GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """`request` with POST."""
        return await self.request("POST", path, **options)

    async def json(self, path: str, **options: Any) -> Any:
        """The decoded answer to a GET."""
        return (await self.get(path, **options)).json()


class HttpService:
    """Gives `Http` handles."""

    def __init__(self, name: str, settings: HttpSettings, retry: Retry | None = None) -> None:
        self.service = _Service(name, settings, retry)
        self._client: httpx.Client | None = None

    def open(self) -> None:
        import httpx

        self._client = httpx.Client(**self.service.options)

    def acquire(self) -> Http:
        assert self._client is not None, "opened before"
        return Http(self.service, self._client)

    def check(self, handle: Http) -> bool:
        return True  # a client has no connection that could be stale: httpx looks after its own

    def release(self, handle: Http) -> None:
        pass

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


class AsyncHttpService:
    """Gives `AsyncHttp` handles. Each has a client of its own, since connections belong to an event loop."""

    def __init__(self, name: str, settings: HttpSettings, retry: Retry | None = None) -> None:
        self.service = _Service(name, settings, retry)

    async def open(self) -> None:
        pass

    async def acquire(self) -> AsyncHttp:
        import httpx

        return AsyncHttp(self.service, httpx.AsyncClient(**self.service.options))

    async def check(self, handle: AsyncHttp) -> bool:
        return not handle._client.is_closed

    async def release(self, handle: AsyncHttp) -> None:
        await handle._client.aclose()

    async def close(self) -> None:
        pass


def _client_options(name: str, settings: HttpSettings) -> dict[str, Any]:
    headers, auth = dict(settings.headers), None
    match settings.auth:
        case {"bearer": token, **rest} if not rest:
            headers["Authorization"] = f"Bearer {token}"
        case {"user": user, "password": password, **rest} if not rest:
            auth = (user, password)
        case {"header": header, "key": key, **rest} if not rest:
            headers[header] = key
        case {}:
            if settings.auth:
                raise ResourceError(
                    f"resource {name!r}: auth is {{bearer}}, {{user, password}} or {{header, key}}, "
                    f"not {{{', '.join(settings.auth)}}}"
                )
    return {
        "base_url": settings.base_url,
        "headers": headers,
        "auth": auth,
        "timeout": settings.timeout,
        "verify": settings.verify,
        "follow_redirects": settings.follow_redirects,
    }


def _refused(answer: httpx.Response) -> Exception:
    import httpx

    return httpx.HTTPStatusError(f"answer {answer.status_code}", request=answer.request, response=answer)


def _checked(answer: httpx.Response, check: bool) -> httpx.Response:
    if check and not answer.has_redirect_location and not answer.is_success:
        import httpx

        what = f"{answer.status_code} {answer.reason_phrase} for {answer.request.method} {answer.request.url}"
        raise httpx.HTTPStatusError(what, request=answer.request, response=answer)
    return answer


def retry_after(answer: httpx.Response, now: Callable[[], float] = time.time) -> float | None:
    """Seconds after which the service says to ask again, as a number or as a date (RFC 9110, 10.2.3); None where it says neither."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now())
    except (ValueError, OverflowError):
        return None
