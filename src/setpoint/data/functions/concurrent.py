"""Several calls for one record, at the same time, and their answers in one record again.

::

    {name: together, params: {of: ["shop:profile", "shop:orders"]}}                  different calls for the record
    {name: each, params: {of: "shop:price", field: items, at_once: 5}}               the same call for each item of a list

Their parts are transforms like any other. A part that fails ends the others and fails the whole; `each` may put what failed aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from setpoint.data.definition import Function
from setpoint.data.functions.calling import is_async
from setpoint.data.functions.compose import Part, with_context
from setpoint.data.functions.fields import MISSING, fields_of, getter, kind_of, put
from setpoint.data.functions.validators import names
from setpoint.data.modes import deep_copy
from setpoint.data.result import DROP, Several


def together(of: Sequence[Function], *, label: str) -> Function:
    """All functions at once, each on a copy of the record; what each changed is laid over the record.

    Raises `ValueError` for a record of which two changed the same field, to different values. At least one function must be async: others
    would run one after the other, which is what `chain` is for.
    """
    if not any(map(is_async, of)):
        raise ValueError("none of its functions is async, so none could run while another waits: write {chain: […]}")
    parts = [(with_context(part), is_async(part)) for part in of]

    async def at_once(record: Any, context: Any) -> dict[str, Any]:
        given = fields_of(record)
        copies = [deep_copy(given) for _ in parts]
        outs: list[Any] = [None] * len(parts)

        async def run(number: int) -> None:
            call, awaited = parts[number]
            out = call(copies[number], context)
            outs[number] = await out if awaited else out

        await _all(run(number) for number in range(len(parts)))
        return _laid_over(given, [copy if out is None else out for copy, out in zip(copies, outs, strict=True)], label)

    return at_once


def each(
    of: Function,
    *,
    label: str,
    field: str,
    into: str = "",
    item: str = "item",
    also: Sequence[str] = (),
    at_once: int = 10,
    failures: str = "",
) -> Function:
    """The function for each item of the list in `field`, the answers as a list in `into` (the same field by default), in their order.

    An item that is a mapping is the function's record; any other stands in the field `item` of one. `also` are fields of the record that
    each of them has besides, for the time of the call. An async function is called for `at_once` items at a time.

    The first item that fails fails the whole, unless `failures` names a field: then the others go on, and what failed is there, as a list
    of ``{item, type, reason}``. Items that are dropped are left out; one that becomes several is followed by the next. Raises `ValueError`
    for a record without such a list.
    """
    if at_once < 1:
        raise ValueError(f"at_once is a number of calls of at least 1, not {at_once}")
    spread = _Spread(with_context(of), field, into=into or field, item=item, also=names(also), failures=failures)
    spread.at_once = at_once
    return spread.awaited if is_async(of) else spread.plain


class _Spread:
    """What `each` does with one record; see there."""

    at_once = 1

    def __init__(self, call: Part, field: str, *, into: str, item: str, also: Sequence[str], failures: str) -> None:
        self._call, self._field, self._get = call, field, getter(field)
        self._into, self._item, self._also, self._failures = into, item, also, failures

    def plain(self, record: Any, context: Any) -> dict[str, Any]:
        given, items = self._asked(record)
        outs: list[Any] = []
        for value in items:
            mine = self._record(value, given)
            try:
                outs.append(_or(self._call(mine, context), mine))
            except Exception as error:
                outs.append(self._kept(error))
        return self._joined(given, items, outs)

    async def awaited(self, record: Any, context: Any) -> dict[str, Any]:
        given, items = self._asked(record)
        outs: list[Any] = [None] * len(items)
        queue = iter(enumerate(items))

        async def work() -> None:
            for number, value in queue:
                mine = self._record(value, given)
                try:
                    outs[number] = _or(await self._call(mine, context), mine)
                except Exception as error:
                    outs[number] = self._kept(error)

        await _all(work() for _ in range(min(self.at_once, len(items))))
        return self._joined(given, items, outs)

    def _asked(self, record: Any) -> tuple[dict[str, Any], list[Any]]:
        given = fields_of(record)
        items = self._get(given)
        if not isinstance(items, list | tuple):
            what = "is missing" if items is MISSING else f"is {kind_of(items)}, not a list"
            raise ValueError(f"{self._field}: {what}, so there is nothing to go through")
        return given, list(items)

    def _record(self, value: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is called with for one item."""
        if missing := [name for name in self._also if name not in given]:
            raise ValueError(f"{', '.join(missing)}: is missing, so the items of {self._field} cannot have it")
        own = deep_copy(dict(value)) if isinstance(value, Mapping) else {self._item: value}
        return {**{name: given[name] for name in self._also}, **own}

    def _kept(self, error: Exception) -> Exception:
        """The error, to be put aside. Raises it where there is no place for it."""
        if not self._failures:
            raise error
        return error

    def _joined(self, given: dict[str, Any], items: list[Any], outs: list[Any]) -> dict[str, Any]:
        made, failed = [], []
        for value, out in zip(items, outs, strict=True):
            if isinstance(out, Exception):
                failed.append({"item": value, "type": type(out).__name__, "reason": str(out)})
            elif out is not DROP:
                made += [_without(part, self._also) for part in (out if isinstance(out, Several) else [out])]
        put(given, self._into, made)
        if self._failures:
            put(given, self._failures, failed)
        return given


CONCURRENT: Final[Mapping[str, Callable[..., Function]]] = {"together": together, "each": each}


async def _all(work: Iterator[Any]) -> None:
    """Waits for all of them; the first that fails ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for one in work:
                tasks.create_task(one)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def _or(out: Any, mine: Any) -> Any:
    return mine if out is None else out


def _without(out: Any, beside: Sequence[str]) -> Any:
    return {name: value for name, value in out.items() if name not in beside} if isinstance(out, Mapping) else out


def _laid_over(given: dict[str, Any], outs: Sequence[Any], label: str) -> dict[str, Any]:
    """The record with what each of its copies has that it has not, and without what is gone in one of them."""
    made, by = dict(given), dict[str, Any]()
    for out in outs:
        if not isinstance(out, Mapping):
            raise TypeError(f"{label}: a part gave {kind_of(out)}; each must give one record, a mapping of fields")
        for name in [*out, *(name for name in given if name not in out)]:
            value = out.get(name, MISSING)
            if name in given and value is not MISSING and value == given[name]:
                continue
            if name in by and by[name] != value:
                raise ValueError(f"{label}: two parts changed the field {name!r}, to different values")
            by[name] = value
    made.update(by)
    return {name: value for name, value in made.items() if value is not MISSING}
