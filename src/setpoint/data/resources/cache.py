"""A cache: values by key, each for a while. In memory, shared by all runs of this process; or in Redis (extra ``setpoint[redis]``).

In memory a value is kept as it is, not copied: whoever changes what was got changes it for all. At most `max_entries` are kept; the one
that was not used for longest goes first. In Redis values are JSON, under ``prefix`` + key, and Redis decides what goes when it is full.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from setpoint.data.resources.provider import ResourceError

_MISSING: Final = object()


class MemoryCache:
    """The handle, and the provider: one for the whole process, safe to use from threads. `ttl` is in seconds; None is for ever."""

    def __init__(
        self, *, ttl: float | None = None, max_entries: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if max_entries < 1:
            raise ValueError(f"a cache keeps at least one entry, not {max_entries}")
        self._ttl, self._max, self._clock = ttl, max_entries, clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[Any, float]] = OrderedDict()

    def get(self, key: str, default: Any = None) -> Any:
        """The value under the key; `default` where there is none, or its time is over."""
        with self._lock:
            value, until = self._entries.get(key, (_MISSING, 0.0))
            if value is _MISSING:
                return default
            if self._clock() >= until:
                del self._entries[key]
                return default
            self._entries.move_to_end(key)
            return value

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value, for `ttl` seconds (the cache's own where None)."""
        seconds = self._ttl if ttl is None else ttl
        with self._lock:
            self._entries[key] = (value, math.inf if seconds is None else self._clock() + seconds)
            self._entries.move_to_end(key)
            while len(self._entries) > self._max:
                self._entries.popitem(last=False)

    def get_or(self, key: str, make: Callable[[], Any], ttl: float | None = None) -> Any:
        """The value under the key; where there is none, what `make` gives, kept. Two at once may both make it."""
        value = self.get(key, _MISSING)
        if value is _MISSING:
            value = make()
            self.set(key, value, ttl)
        return value

    def delete(self, key: str) -> bool:
        """Forget a key; False where it was not there."""
        with self._lock:
            return self._entries.pop(key, None) is not None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def open(self) -> None:
        pass

    def acquire(self) -> MemoryCache:
        return self

    def check(self, handle: MemoryCache) -> bool:
        return True

    def release(self, handle: MemoryCache) -> None:
        pass

    def close(self) -> None:
        self.clear()


class RedisCache:
    """The handle: a connection to Redis, in the hands of one run."""

    def __init__(self, client: Any, *, prefix: str, ttl: float | None) -> None:
        self.client, self._prefix, self._ttl = client, prefix, ttl

    def get(self, key: str, default: Any = None) -> Any:
        """The value under the key; `default` where there is none."""
        return _decoded(self.client.get(self._prefix + key), default)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value that has a JSON form, for `ttl` seconds (the cache's own where None)."""
        self.client.set(
            self._prefix + key, msgspec.json.encode(value), px=_milliseconds(self._ttl if ttl is None else ttl)
        )

    def get_or(self, key: str, make: Callable[[], Any], ttl: float | None = None) -> Any:
        """The value under the key; where there is none, what `make` gives, kept."""
        value = self.get(key, _MISSING)
        if value is _MISSING:
            value = make()
            self.set(key, value, ttl)
        return value

    def delete(self, key: str) -> bool:
        """Forget a key; False where it was not there."""
        return bool(self.client.delete(self._prefix + key))


class AsyncRedisCache:
    """`RedisCache` for async functions: the same methods, awaited."""

    def __init__(self, client: Any, *, prefix: str, ttl: float | None) -> None:
        self.client, self._prefix, self._ttl = client, prefix, ttl

    async def get(self, key: str, default: Any = None) -> Any:
        """See `RedisCache.get`."""
        return _decoded(await self.client.get(self._prefix + key), default)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """See `RedisCache.set`."""
        seconds = self._ttl if ttl is None else ttl
        await self.client.set(self._prefix + key, msgspec.json.encode(value), px=_milliseconds(seconds))

    async def delete(self, key: str) -> bool:
        """See `RedisCache.delete`."""
        return bool(await self.client.delete(self._prefix + key))


class RedisProvider:
    """Gives `RedisCache` handles for a URL such as ``redis://host:6379/0``."""

    def __init__(self, url: str, *, prefix: str = "", ttl: float | None = None, timeout: float = 30.0) -> None:
        self._url, self._prefix, self._ttl, self._timeout = url, prefix, ttl, timeout

    def open(self) -> None:
        _redis()

    def acquire(self) -> RedisCache:
        client = _redis().Redis.from_url(self._url, **_options(self._timeout))
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
        return RedisCache(client, prefix=self._prefix, ttl=self._ttl)

    def check(self, handle: RedisCache) -> bool:
        return bool(handle.client.ping())

    def release(self, handle: RedisCache) -> None:
        handle.client.close()

    def close(self) -> None:
        pass


class AsyncRedisProvider:
    """Gives `AsyncRedisCache` handles."""

    def __init__(self, url: str, *, prefix: str = "", ttl: float | None = None, timeout: float = 30.0) -> None:
        self._url, self._prefix, self._ttl, self._timeout = url, prefix, ttl, timeout

    async def open(self) -> None:
        _redis()

    async def acquire(self) -> AsyncRedisCache:
        client = _redis().asyncio.Redis.from_url(self._url, **_options(self._timeout))
        try:
            await client.ping()
        except BaseException:
            await client.aclose()
            raise
        return AsyncRedisCache(client, prefix=self._prefix, ttl=self._ttl)

    async def check(self, handle: AsyncRedisCache) -> bool:
        return bool(await handle.client.ping())

    async def release(self, handle: AsyncRedisCache) -> None:
        await handle.client.aclose()

    async def close(self) -> None:
        pass


def _redis() -> Any:
    try:
        import redis.asyncio
    except ImportError as error:
        raise ResourceError("a cache in Redis needs its client: pip install 'setpoint[redis]'") from error
    return redis


def _options(timeout: float) -> dict[str, Any]:
    return {"socket_timeout": timeout, "socket_connect_timeout": timeout}


def _decoded(raw: bytes | None, default: Any) -> Any:
    return default if raw is None else msgspec.json.decode(raw)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds * 1000))
