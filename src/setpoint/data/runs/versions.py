"""Which version of a machine a run belongs to, and how it moves to another.

A definition has a hash of everything in it but places. A run goes on with the definition it began with, whose text is kept beside it. It
moves to another version only by a declared *migration*: names of states of the old version to names of states of the new one (``state`` in
the main network, else ``network:state``); states that are called the same need no entry. A record that stands between two states can always
be moved. One that stands in the middle of a state (it was split there, or is inside a network that the state pushed it into) can only if
that state is the same in both versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from setpoint.data.context import Frame, Progress, Token
from setpoint.data.definition import Definition, StateDef
from setpoint.data.plan import Plan
from setpoint.data.runs.errors import NotMigrated

Migration = Mapping[str, str]


def fingerprint(definition: Definition) -> tuple[str, str]:
    """The hash of a definition and its text; no text where it holds Python objects that no file can name."""
    from setpoint.data.config import ConfigError, to_json
    from setpoint.data.config.export import bare

    try:
        text = to_json(definition)
    except ConfigError:
        shape = msgspec.to_builtins(bare(definition), enc_hook=_name, str_keys=True)
        return _hash(json.dumps(shape, sort_keys=True, default=str)), ""
    return _hash(text), text


def migrated(progress: Progress, new: Plan, migration: Migration, *, old: Definition | None) -> Progress:
    """The run as one of the new plan. `old` is the definition it stands in, where that is known. Raises `NotMigrated` with all reasons."""
    mover = _Mover(new, migration, old)
    tokens, waiting, failed = (
        tuple(map(mover.token, some)) for some in (progress.tokens, progress.waiting, progress.failed)
    )
    moved = msgspec.structs.replace(progress, tokens=tokens, waiting=waiting, failed=failed)
    if mover.faults:
        raise NotMigrated(
            f"run {progress.run} cannot move to machine {new.definition.name!r}: {'; '.join(mover.faults)}"
        )
    return moved


class _Mover:
    """Moves tokens, and collects why some cannot be."""

    def __init__(self, new: Plan, migration: Migration, old: Definition | None) -> None:
        self._new, self._migration, self._old = new, migration, old
        self.faults: list[str] = []

    def token(self, token: Token) -> Token:
        network, state = self._place(token.network, token.state)
        before = token.before and self.token(token.before)
        moved = msgspec.structs.replace(
            token, network=network, state=state, frames=tuple(map(self._frame, token.frames)), before=before
        )
        if (network, state) not in self._new.numbers:
            self.faults.append(
                f"it stands in {_label(token.network, token.state)}, and there is no {_label(network, state)}"
            )
            return moved
        row = self._new.row_of(moved)
        if token.step == 0 and token.arc < 0:
            return moved
        if self._is_same(token.network, token.state, moved):
            return moved
        if token.arc >= 0 or not self._all_done(token):
            self.faults.append(
                f"it stands in the middle of {_label(token.network, token.state)}, which is another one now"
            )
        return msgspec.structs.replace(moved, step=len(row.steps) or 1, since=token.since if row.later else 0.0)

    def _frame(self, frame: Frame) -> Frame:
        network, state = self._place(frame.network, frame.state)
        moved = msgspec.structs.replace(frame, network=network, state=state)
        if (network, state) not in self._new.numbers or not self._is_same(frame.network, frame.state, moved):
            where = _label(frame.network, frame.state)
            self.faults.append(f"it is in a network that {where} pushed it into, and that state is another one now")
        return moved

    def _place(self, network: str, state: str) -> tuple[str, str]:
        main = self._new.definition.main_network
        was_main = self._old is None or network == self._old.main_network
        target = self._migration.get(f"{network}:{state}") or (self._migration.get(state) if was_main else None)
        if target is None:
            return (main if was_main else network), state
        where, colon, name = target.rpartition(":")
        return (where, name) if colon else (main if was_main else network, name)

    def _is_same(self, network: str, state: str, moved: Token | Frame) -> bool:
        from setpoint.data.config.export import bare

        before = self._state(self._old, network, state)
        after = self._state(self._new.definition, moved.network, moved.state)
        return before is not None and after is not None and bare(before) == bare(after)

    def _all_done(self, token: Token) -> bool:
        """Whether all functions of the state have been through with the record; what waits is always done with them."""
        state = self._state(self._old, token.network, token.state)
        if token.since or state is None:
            return bool(token.since)
        gates = len(state.pre_validators) + (state.schema is not None)
        return token.step >= (gates + len(state.transforms) + len(state.validators) or 1)

    @staticmethod
    def _state(definition: Definition | None, network: str, state: str) -> StateDef | None:
        networks = definition.networks if definition else ()
        return next(
            (one for each in networks if each.name == network for one in each.states if one.name == state), None
        )


def _label(network: str, state: str) -> str:
    return f"{network}:{state}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _name(value: Any) -> str:
    """A Python object by its name; what has none, by its type."""
    name = getattr(value, "__qualname__", "") or type(value).__qualname__
    return f"{getattr(value, '__module__', '')}:{name}"
