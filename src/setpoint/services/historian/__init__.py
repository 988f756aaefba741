"""The tables that the historian keeps in a database, and what writes them, for PostgreSQL, TimescaleDB and SQLite.

    topics         id, topic, and what it is made of: location, contract, path, name
    values_number  topic_id, time, value: numbers, and truth values as 1 and 0. One a topic and time: the last one written stays
    values_text    the same for texts
    documents      topic_id, time, position, payload: what is no time series. `position` is its place in the namespace's log
    rejected       what could not be kept: time, topic, reason and payload
    readings       a view over the first three

Each row has a key that does not depend on when it was written, and is written over where it is there already: a batch that is written twice
leaves what one writing leaves. In PostgreSQL they are in the schema ``historian``. Where the extension TimescaleDB is installed in the
database, the tables with a time become hypertables when they are made.
"""

from setpoint.services.historian.history import History
from setpoint.services.historian.readings import Place, Readings, Rejected

__all__ = ["History", "Place", "Readings", "Rejected"]
