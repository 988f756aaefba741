"""Durable state of both runtimes."""

from setpoint.store.document import (
    KINDS,
    Conflict,
    Document,
    Documents,
    Kind,
    Store,
    StoreError,
)
from setpoint.store.journal import Journal, MemoryJournal, Step, Transition
from setpoint.store.memory import MemoryStore
from setpoint.store.schema import NewerSchema, NotAStore
from setpoint.store.secrets import redacted
from setpoint.store.sqlite import SqliteStore

__all__ = [
    "KINDS",
    "Conflict",
    "Document",
    "Documents",
    "Journal",
    "Kind",
    "MemoryJournal",
    "MemoryStore",
    "NewerSchema",
    "NotAStore",
    "SqliteStore",
    "Step",
    "Store",
    "StoreError",
    "Transition",
    "redacted",
]
