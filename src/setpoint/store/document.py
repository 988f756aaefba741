"""The store: what is known of each worker now, and how it came there. Survives the process.

    documents     identity, desired, observed, state: one of each kind a worker; the latest value, with a version
    transitions   the journal
    machines      exported machine definitions by content hash, which stored states refer to

Values come in as typed immutable data and are kept as plain data without secrets (see `setpoint.store.secrets`). Versions are numbers of
changes: each change of any document of a store gets a higher one, and content that equals what is stored changes nothing. A store never
overwrites what another process changed since it last read or wrote it: that document is in conflict, `trouble` says so, and it is left
alone until it was read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, get_args

import msgspec

from setpoint.secrets import without_secrets
from setpoint.store.journal import Journal, Step
from setpoint.store.secrets import NO_SECRETS, redacted

Kind = Literal["identity", "desired", "observed", "state"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MAX_DOCUMENT_BYTES: Final = 1 << 20
"""A document that is larger as JSON is not stored; `trouble` says so."""


class Document(msgspec.Struct, frozen=True):
    """One document as stored. `at` is the wall time of its last change in seconds since the epoch; `version` is 0 until it was written."""

    kind: Kind
    value: Any
    version: int
    at: float


Documents = dict[Kind, Document]
"""The documents of one worker."""


class StoreError(RuntimeError):
    """The store cannot do this; the message says why and what to do."""


class Conflict(StoreError):
    """The stored document is of another version than the one that was to be replaced; read it again, then decide again."""

    def __init__(self, path: str, kind: Kind, version: int) -> None:
        self.path, self.kind, self.version = path, kind, version
        super().__init__(
            f"the {kind} document of {path} has been changed by another process (now version {version}); "
            "read it again, then decide again"
        )


class Store(Journal, Protocol):
    """Where the state of the workers is kept. `put`, `drop`, `append` and `keep_machine` return at once and never raise for the disk."""

    @property
    def alive_at(self) -> float | None:
        """Wall time up to which the previous user of this store is known to have run, within ten seconds; None when there was none."""

    def put(self, path: str, kind: Kind, value: Any, *, at: float, secrets: frozenset[str] = NO_SECRETS) -> None:
        """Keep the value as the latest; the last one before the next writing wins. `value` must not be changed afterwards.

        `secrets` are texts that are left out wherever they stand in it (see `setpoint.secrets.secrets_among`).
        """

    def drop(self, path: str) -> None:
        """The worker is gone for good: so are its documents, whoever wrote them. Its transitions stay, as long as others do."""

    def load(self) -> dict[str, Documents]:
        """All documents by path as they are now, what is waiting to be written included. Ends all conflicts in favour of what is stored.

        A document that cannot be read is left out, and logged.
        """

    def refresh(self, path: str) -> Documents:
        """The documents of one worker as they are now; ends its conflicts in favour of what is stored."""

    def update(self, path: str, kind: Kind, value: Any, *, version: int, secrets: frozenset[str] = NO_SECRETS) -> int:
        """Write now, if the stored version is `version` (0: there is none); the new version.

        Raises `Conflict` when it is another, `StoreError` when it cannot be written.
        """

    def keep_machine(self, hash: str, definition: Mapping[str, Any]) -> None:
        """Keep an exported machine, as it is, as long as a `state` document names it under the key ``hash``, or this store is open."""

    def machine(self, hash: str) -> Mapping[str, Any] | None:
        """The machine with this content hash; None when it is not known, or cannot be read."""

    def typical(self, *, path: str = "", type: str = "") -> Sequence[Step]:
        """How long the steps of this worker, of workers of this type, or of all, took before; the most frequent first.

        From the latest transitions there are; seconds are those spent in the step's source state.
        """

    def trouble(self) -> str:
        """What is the matter with the store now, for people; "" when nothing."""

    def flush(self, timeout: float = 5.0) -> bool:
        """Write all that was put before this call; False when it could not be written within `timeout` seconds."""


def encoded(value: Any, secrets: frozenset[str] = NO_SECRETS) -> str:
    """The value as it is stored: JSON, without secrets, keys in order so that equal content is equal text.

    Raises `StoreError` when it has no such form or is too large.
    """
    try:
        text = _ENCODER.encode(redacted(value, secrets))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an object's own code may raise anything
        raise StoreError(
            f"{type(value).__name__} cannot be stored: {type(error).__name__}: {_brief(error, secrets)}"
        ) from error
    if len(text) > MAX_DOCUMENT_BYTES:
        raise StoreError(f"{len(text)} bytes of {type(value).__name__} are too large to be stored")
    return text.decode()


def in_words(troubles: Sequence[str]) -> str:
    """Several things that are the matter, as one text that stays short."""
    more = [f"and {len(troubles) - 3} more"] if len(troubles) > 3 else []
    return "; ".join([*troubles[:3], *more])


def _brief(error: BaseException, secrets: frozenset[str]) -> str:
    try:
        return without_secrets(str(error), secrets)[:200]
    except Exception:
        return "it does not say why"


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
