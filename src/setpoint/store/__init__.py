"""Durable state of both runtimes."""

from setpoint.store.journal import Journal, MemoryJournal, Transition
from setpoint.store.sqlite import SqliteJournal

__all__ = ["Journal", "MemoryJournal", "SqliteJournal", "Transition"]
