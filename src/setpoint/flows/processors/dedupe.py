"""`dedupe`: lets a message pass whose key was not seen before, as far back as its cache remembers; drops the others.

    cache_resources: [{label: seen, memory: {default_ttl: 10m, max_entries: 100000}}]
    …
    - dedupe: {cache: seen, key: '${! json("id") }'}

Fields as documented for Benthos. A message whose key cannot be evaluated fails; with `drop_on_err` it is dropped. The cache is in memory:
it begins empty with the flow, so that a message which was not delivered before a crash is not taken for a double after it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, PlainValidator, ValidationInfo

from setpoint.flows.bloblang import World
from setpoint.flows.component import Context, MessageError, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.interpolation import Interpolated
from setpoint.flows.scope import MemoryCache, named, scope_of


def _key(text: str) -> str:
    if Interpolated(text).fixed:
        raise ValueError(
            "the key is the same for every message: write for example '${! content() }' or '${! json(\"id\") }'"
        )
    return text


def _cache(label: object, info: ValidationInfo) -> MemoryCache:
    return named(scope_of(info).caches, label, "cache")


class Dedupe:
    """Drops doubles."""

    class Fields(ComponentFields):
        cache: Annotated[Any, PlainValidator(_cache)]
        key: Annotated[str, AfterValidator(_key)]
        drop_on_err: bool = False

    def __init__(self, fields: Fields, context: Context) -> None:
        self._cache: MemoryCache = fields.cache
        self._key = Interpolated(fields.key, World(context.clock, context.random))
        self._drops = fields.drop_on_err
        self._now = context.now

    def __call__(self, msg: Msg) -> Msg | None:
        """The message, or None for a double. Raises `MessageError`."""
        try:
            key = self._key(msg)
        except MessageError as error:
            if self._drops:
                return None
            raise MessageError(f"its key cannot be evaluated: {error}") from error
        return msg if self._cache.add(key, self._now()) else None
