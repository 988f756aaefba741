"""Drafts: dicts and lists that may be changed freely while what they were made of stays as it is.

A draft holds its level of the original; a dict or list below is drafted in its turn when it is first reached, by index, by iteration or by
any method that hands it out. So only what was reached is copied, and nothing of the original can be had through the draft. `settled` gives
plain dicts and lists back: a level in which nothing was changed is the original one.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, SupportsIndex

_MISSING = object()


class DraftDict(dict[Any, Any]):
    """A draft of a dict. `origin` is the dict it was made of, `was` what that held then: somebody else may change it meanwhile."""

    __slots__ = ("origin", "was")

    def __init__(self, origin: dict[Any, Any]) -> None:
        super().__init__(origin)
        self.origin, self.was = origin, origin.copy()

    def changed(self) -> bool:
        """Whether anything in it, at any depth, is no longer what it was."""
        if len(self) != len(self.was):
            return True
        for key, value in dict.items(self):
            was = self.was.get(key, _MISSING)
            if value is not was and (not _is_draft(value) or value.origin is not was or value.changed()):
                return True
        return list(dict.keys(self)) != list(self.was)

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        kind = type(value)
        if kind is dict or kind is list:
            value = DraftDict(value) if kind is dict else DraftList(value)
            super().__setitem__(key, value)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  # that would be this method

    def pop(self, key: Any, *default: Any) -> Any:
        if key in self:
            self[key] = self[key]  # drafts it, so that what is handed out is not the original
        return super().pop(key, *default)

    def popitem(self) -> tuple[Any, Any]:
        for key in reversed(self):
            return key, self.pop(key)
        raise KeyError("popitem(): the record is empty")

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()  # overridden so that {**draft} and dict(draft) ask __getitem__

    def items(self) -> ItemsView[Any, Any]:  # type: ignore[override]
        return ItemsView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return ValuesView(self)

    def keys(self) -> KeysView[Any]:  # type: ignore[override]
        return KeysView(self)

    def copy(self) -> dict[Any, Any]:
        return {key: self[key] for key in self}

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return {**self.copy(), **other} if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return {**other, **self.copy()} if isinstance(other, dict) else NotImplemented

    __copy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (settled(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        from setpoint.data.modes import deep_copy

        made: dict[Any, Any] = deep_copy(settled(self))
        return made


class DraftList(list[Any]):
    """A draft of a list. `origin` is the list it was made of, `was` what that held then."""

    __slots__ = ("origin", "was")

    def __init__(self, origin: list[Any]) -> None:
        super().__init__(origin)
        self.origin, self.was = origin, origin.copy()

    def changed(self) -> bool:
        """Whether anything in it, at any depth, is no longer what it was."""
        if len(self) != len(self.was):
            return True
        return any(
            value is not was and (not _is_draft(value) or value.origin is not was or value.changed())
            for value, was in zip(list.__iter__(self), self.was, strict=True)
        )

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        value = super().__getitem__(index)
        kind = type(value)
        if kind is dict or kind is list:
            value = DraftDict(value) if kind is dict else DraftList(value)
            super().__setitem__(index, value)
        return value

    def __iter__(self) -> Iterator[Any]:
        at = 0
        while at < len(self):
            yield self[at]
            at += 1

    def __reversed__(self) -> Iterator[Any]:
        return (self[at] for at in range(len(self) - 1, -1, -1))

    def _draft_all(self) -> None:
        for at in range(len(self)):
            self[at]

    def pop(self, index: SupportsIndex = -1) -> Any:
        if len(self):
            self[index]
        return super().pop(index)

    def sort(self, **how: Any) -> None:
        self._draft_all()
        super().sort(**how)

    def copy(self) -> list[Any]:
        return list(self)

    def __add__(self, other: Any) -> list[Any]:
        return list(self) + other if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> list[Any]:
        return other + list(self) if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return list(self) * times

    __rmul__ = __mul__

    def __imul__(self, times: SupportsIndex) -> DraftList:
        self[:] = list(self) * times
        return self

    __copy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (settled(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        from setpoint.data.modes import deep_copy

        made: list[Any] = deep_copy(settled(self))
        return made


Draft = DraftDict | DraftList


def _is_draft(value: Any) -> bool:
    return isinstance(value, DraftDict | DraftList)


def settled(value: Any, seen: set[int] | None = None) -> Any:
    """The value without drafts: in the draft's place its origin where nothing changed, else a plain dict or list of its content.

    Drafts put into plain containers are found too; each container is visited once, so cyclic values end.
    """
    if _is_draft(value):
        if not value.changed():
            return value.origin
        known = {id(item) for item in (value.was.values() if isinstance(value, DraftDict) else value.was)}
        if isinstance(value, DraftDict):
            return {key: item if id(item) in known else settled(item, seen) for key, item in dict.items(value)}
        return [item if id(item) in known else settled(item, seen) for item in list.__iter__(value)]
    if type(value) is dict or type(value) is list:
        seen = set() if seen is None else seen
        if id(value) not in seen:
            seen.add(id(value))
            _settle_in_place(value, seen)
    return value


def _settle_in_place(container: Any, seen: set[int]) -> None:
    pairs = container.items() if type(container) is dict else enumerate(container)
    for key, item in list(pairs):
        plain = settled(item, seen)
        if plain is not item:
            container[key] = plain
