"""What the access log says of each page: python report.py access.log

The lines go into a table, each once: run it again when the log has grown, and only the new ones are read. The sums are the database's.
"""

import sqlite3
import sys
from pathlib import Path

from setpoint.data.fsm import SimpleFSM
from setpoint.data.stream import StreamReport, open_source

HERE = Path(__file__).parent
TABLE = """
CREATE TABLE IF NOT EXISTS requests (
    host TEXT, user TEXT, time TEXT, method TEXT, path TEXT, query TEXT, status INTEGER, bytes INTEGER, referrer TEXT, agent TEXT
)"""
PAGES = """
SELECT path, count(*) AS requests, coalesce(sum(bytes), 0) AS bytes, sum(status >= 400) AS errors, max(time) AS latest
FROM requests GROUP BY path
"""


def report(log: str, database: str = "log.db") -> tuple[StreamReport, StreamReport]:
    """What came of reading the log, and of making `pages/well.csv` and `pages/look_at.csv`."""
    with sqlite3.connect(database) as connection:
        connection.execute(TABLE)
    url = f"sqlite:///{database}"
    lines = SimpleFSM(HERE / "log.yaml").process_stream(
        log, f"{url}#requests", resume=True, dead_letters="no-requests.jsonl"
    )
    pages = SimpleFSM(HERE / "pages.yaml").process_stream(
        open_source(url, query=PAGES, key="path"), "pages/{state}.csv"
    )
    return lines, pages


if __name__ == "__main__":
    lines, pages = report(sys.argv[1])
    print(f"{lines.read} new lines, {sum(lines.failed.values())} of them no requests; {pages.read} pages")
