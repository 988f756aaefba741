"""The topic browser: what every topic of the namespace says now, who writes it, how often, and what it said before.

`Browser` follows the log of a broker and keeps an `Index` up to date: for each topic its last values as the bytes they were written as,
when they were written, its metadata and its rate. `Query` says which topics are meant, and `tree` shows them by their places. Nothing is
decoded until somebody asks, and nothing is kept without a bound.
"""

from setpoint.namespace.browser.following import Browser, Status
from setpoint.namespace.browser.index import HELD_BYTES, LIMITS, Entry, Index, Limits, loaded
from setpoint.namespace.browser.query import Query, QueryError
from setpoint.namespace.browser.tree import Node, contract_of, tree

__all__ = [
    "HELD_BYTES",
    "LIMITS",
    "Browser",
    "Entry",
    "Index",
    "Limits",
    "Node",
    "Query",
    "QueryError",
    "Status",
    "contract_of",
    "loaded",
    "tree",
]
