"""From the definition of a resource to its provider: the built-in types, and the settings that each of them has.

Settings are checked as a whole when a machine is made: one that a type does not have is a fault, with the nearest one that it has.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec

from setpoint.data.definition import Place, ResourceDef, Transactions
from setpoint.data.resources.cache import AsyncRedisProvider, MemoryCache, RedisProvider
from setpoint.data.resources.filesystem import Filesystem
from setpoint.data.resources.holds import Entry
from setpoint.data.resources.http import AsyncHttpService, HttpService, HttpSettings
from setpoint.data.resources.lease import PoolSettings
from setpoint.data.resources.provider import Given, Provider, ResourceError, in_words, is_async
from setpoint.data.resources.queue import MemoryQueue
from setpoint.data.resources.sql import AsyncSqlDatabase, SqlDatabase, in_memory


class _Sql(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str
    isolation_level: str = ""
    echo: bool = False


class _Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str = ""
    ttl: float | None = None
    max_entries: int = 10_000
    prefix: str = ""


class _RedisCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str
    ttl: float | None = None
    prefix: str = ""


class _Queue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_items: int | None = None


class _Folder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    base_path: str
    create: bool = False


def _sql(made: type, settings: _Sql, resource: ResourceDef) -> Provider:
    provider: Provider = made(
        settings.url, isolation_level=settings.isolation_level, timeout=resource.timeout, echo=settings.echo
    )
    return provider


def _cache(settings: _Cache, resource: ResourceDef) -> Provider:
    if settings.url:
        return RedisProvider(settings.url, prefix=settings.prefix, ttl=settings.ttl, timeout=resource.timeout)
    return MemoryCache(ttl=settings.ttl, max_entries=settings.max_entries)


_KINDS: Final[dict[str, tuple[type[Any] | None, Callable[[Any, ResourceDef], Provider]]]] = {
    "database": (_Sql, lambda s, r: _sql(SqlDatabase, s, r)),
    "async_database": (_Sql, lambda s, r: _sql(AsyncSqlDatabase, s, r)),
    "http": (HttpSettings, lambda s, r: HttpService(r.name, s, r.retry)),
    "async_http": (HttpSettings, lambda s, r: AsyncHttpService(r.name, s, r.retry)),
    "cache": (_Cache, _cache),
    "async_cache": (
        _RedisCache,
        lambda s, r: AsyncRedisProvider(s.url, prefix=s.prefix, ttl=s.ttl, timeout=r.timeout),
    ),
    "queue": (_Queue, lambda s, r: MemoryQueue(max_items=s.max_items)),
    "filesystem": (_Folder, lambda s, r: Filesystem(s.base_path, create=s.create)),
    "values": (None, lambda s, r: Given(MappingProxyType(copy.deepcopy(dict(s))))),
}

TYPES: Final = tuple(_KINDS)
"""The built-in types of resources."""

_GIVEN: Final = ("custom", "broker", "llm", "vector_store")
"""Types that name what only the program can give."""

_SHARED: Final = ("cache", "queue", "filesystem", "values")
"""Types whose handles are all the same thing in this process: there are as many as are asked for."""

Fault = tuple[Place, str]


def described(
    resources: Iterable[ResourceDef], providers: Mapping[str, Any], *, transactions: Transactions = "none"
) -> tuple[dict[str, Entry], list[Fault]]:
    """An entry for each resource, and all faults. A name in `providers` that no definition has is a resource as well."""
    entries: dict[str, Entry] = {}
    faults: list[Fault] = []
    for resource in resources:
        try:
            entries[resource.name] = _entry(resource, providers, transactions)
        except (ValueError, TypeError, ResourceError) as error:
            text = str(error) if isinstance(error, ValueError | ResourceError) else in_words(error)
            faults.append((resource.place, f"resource {resource.name!r}: {text}"))
    for name, value in providers.items():
        if name not in entries and not any(name == resource.name for resource in resources):
            try:
                entries[name] = Entry(_provider(name, value), PoolSettings(size=None), transactions)
            except ResourceError as error:
                faults.append((Place(), str(error)))
    return entries, faults


def faults(resources: Iterable[ResourceDef], given: Iterable[str] = ()) -> list[Fault]:
    """What is wrong with these definitions, where the program gives the resources named `given`. Nothing is opened."""
    return described(list(resources), dict.fromkeys(given))[1]


def _entry(resource: ResourceDef, providers: Mapping[str, Any], transactions: Transactions) -> Entry:
    config = dict(resource.config)
    kind = config.pop("transactions", transactions)
    if kind not in get_args(Transactions):
        raise ValueError(f"transactions is one of {', '.join(get_args(Transactions))}, not {kind!r}")
    limits = msgspec.convert({key: config.pop(key) for key in _POOL if key in config}, _Pool)
    settings = _settings(resource, limits)
    if resource.name in providers:
        return Entry(_provider(resource.name, providers[resource.name]), settings, kind)
    provider = _built(resource, config)
    if resource.type in _SHARED and not (resource.type == "cache" and config.get("url")):
        settings = msgspec.structs.replace(settings, size=None)
    if resource.type == "database" and in_memory(config["url"]):
        settings = msgspec.structs.replace(settings, size=1, idle=None, lifetime=None)
    if resource.type == "async_database" and in_memory(config["url"]):
        settings = msgspec.structs.replace(settings, size=1, idle=None, lifetime=None)
    return Entry(provider, settings, kind)


class _Pool(msgspec.Struct, frozen=True, kw_only=True):
    """What the `config` of any resource may say of its pool besides what `ResourceDef` has (seconds; runs that may wait)."""

    idle_timeout: float | None = 300.0
    max_lifetime: float | None = 3600.0
    max_waiting: int | None = None


_POOL: Final = _Pool.__struct_fields__


def _settings(resource: ResourceDef, limits: _Pool) -> PoolSettings:
    check_after = resource.health_check_interval
    return PoolSettings(
        size=resource.pool_size,
        timeout=resource.timeout,
        idle=limits.idle_timeout,
        lifetime=limits.max_lifetime,
        waiting=limits.max_waiting,
        check_after=30.0 if check_after is None else check_after,
        retry=resource.retry,
    )


def _built(resource: ResourceDef, config: dict[str, Any]) -> Provider:
    if resource.type in _GIVEN:
        raise ResourceError(
            f"type {resource.type!r} is given by the program: SimpleFSM(…, resources={{{resource.name!r}: provider}})"
        )
    if resource.type not in _KINDS:
        raise ResourceError(f"there is no type {resource.type!r}{_nearest(resource.type, _KINDS)}")
    schema, make = _KINDS[resource.type]
    if schema is None:
        return make(config, resource)
    known = schema.__struct_fields__
    unknown = [
        f"{key!r} is no setting of type {resource.type}{_nearest(key, known)}" for key in config if key not in known
    ]
    if unknown:
        raise ValueError("; ".join(unknown))
    return make(msgspec.convert(config, schema), resource)


def _provider(name: str, value: Any) -> Provider:
    """What the program gave: a provider, or any other object, which is handed out as it is."""
    provider = value if isinstance(value, Provider) else Given(value)
    is_async(name, provider)
    return provider


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f" (there is: {', '.join(known)})"
