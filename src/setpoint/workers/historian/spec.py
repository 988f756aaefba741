"""What is wanted of the historian: which database, which contracts, for how long."""

from __future__ import annotations

import re
from typing import Final, Literal, Self
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator

from setpoint.machine import Setting
from setpoint.services.sql import Place

IDLE_WINDOW = Setting("idle_window_s", 30.0)
START_TIMEOUT = Setting("start_timeout_s", 30.0)
LEGACY: Final = "_historian"
"""The contract whose messages are meant for a historian by its name."""


class Timescale(BaseModel):
    """A PostgreSQL, with or without TimescaleDB. Certificates are files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1)
    port: int = Field(default=5432, ge=1, le=65535)
    database: str = "umh"
    username: str = "umh_owner"
    password: str = Field(default="", repr=False)
    sslmode: Literal["disable", "require", "verify-full"] = "require"
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""

    def place(self) -> Place:
        """As a database to connect to."""
        login = quote(self.username, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        files = {"sslrootcert": self.sslrootcert, "sslcert": self.sslcert, "sslkey": self.sslkey}
        options = {"sslmode": self.sslmode, **{key: value for key, value in files.items() if value}}
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        dsn = f"postgresql://{login}@{host}:{self.port}/{quote(self.database, safe='')}?{urlencode(options, quote_via=quote)}"
        return Place("postgres", dsn, f"PostgreSQL {self.host}:{self.port}/{self.database}")


class Sqlite(BaseModel):
    """A file, where no server is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)

    def place(self) -> Place:
        """As a database to connect to. What is committed is on the disk (synchronous = FULL), and readers hold up nobody (WAL)."""
        made = Place.parse("sqlite", self.path)
        return Place(
            "sqlite", made.dsn, made.shown, made.file, ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")
        )


class HistorianSpec(BaseModel):
    """Exactly one database. `contracts` are those that are written, with ``*`` for any part of a name; without any the database is only
    watched. `retention_s`: what is older is deleted; 0 keeps all. Seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    desired_state: Literal["active", "stopped"] = "active"
    timescale: Timescale | None = None
    sqlite: Sqlite | None = None
    contracts: tuple[str, ...] = (LEGACY,)
    retention_s: float = Field(default=0.0, ge=0)
    idle_window_s: float = Field(default=IDLE_WINDOW.default, ge=0)
    start_timeout_s: float = Field(default=START_TIMEOUT.default, gt=0)
    error_window_s: float = Field(default=60.0, ge=0)

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if (self.timescale is None) == (self.sqlite is None):
            raise ValueError("expected one database: timescale or sqlite")
        return self

    def place(self) -> Place:
        """The database."""
        return (self.timescale or self.sqlite or Sqlite(path="unreachable")).place()

    def topics(self) -> list[str]:
        """The topics of its contracts, as patterns. The contract is the first segment that begins with ``_``."""
        return [rf"umh\.v1\.(?:[^_.][^.]*\.)+{_glob(contract)}\." for contract in self.contracts]

    def group(self) -> str:
        """Its consumer group: one for each database, so that another one gets what the namespace still has."""
        place = self.place()
        return f"setpoint-historian {place}"


def _glob(contract: str) -> str:
    return "[^.]*".join(map(re.escape, contract.split("*")))
