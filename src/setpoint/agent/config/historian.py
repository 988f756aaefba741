"""The ``historian`` section: the database that chosen contracts are written to, and variables of templates.

UMH Core's `timescale`, and keys of our own: `sqlite` where no server is wanted, `contracts`, `retention`, `desiredState`. What stands in
`timescale` is known to templates as ``.historian.timescale.host`` and so on.
"""

from __future__ import annotations

import re
from typing import Any, Final

from setpoint.agent.config.bridges import desired
from setpoint.configfile.fields import Fields
from setpoint.services.sql import Place
from setpoint.workers.historian import LEGACY, HistorianSpec, Sqlite, Timescale

_SSL: Final = ("disable", "require", "verify-full")
_CONTRACT: Final = re.compile(r"[_*][A-Za-z0-9_*-]*")
_RETENTION: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST: Final = 1000 * 365 * 86_400


def read_historian(root: Fields) -> tuple[dict[str, Any] | None, HistorianSpec | None]:
    """The variables of templates, with the documented defaults, and the historian that is wanted; None where there is none, or an error."""
    if not root.has("historian"):
        root.get("historian")
        return None, None
    errors = root.place.report.errors
    with root.fields("historian") as historian:
        state = desired(historian, default="active")
        contracts, retention = _contracts(historian), _retention(historian)
        timescale = _timescale(historian) if historian.has("timescale") or not historian.has("sqlite") else None
        sqlite = _sqlite(historian)
        historian.get("timescale")
        if timescale is not None and sqlite:
            place = historian.place.at("sqlite")
            place.error(
                historian.mark_of("sqlite"), "the historian has one database", "keep one of timescale and sqlite"
            )
    variables = None if timescale is None else {"timescale": timescale}
    if root.place.report.errors > errors:
        return variables, None
    return variables, HistorianSpec(
        desired_state=state,
        timescale=None if timescale is None else Timescale(**timescale),
        sqlite=Sqlite(path=sqlite) if sqlite else None,
        contracts=contracts,
        retention_s=retention,
    )


def _timescale(historian: Fields) -> dict[str, Any]:
    with historian.fields("timescale", required="host and password, or sqlite with a path") as timescale:
        values: dict[str, Any] = {
            "host": timescale.text("host", required="a host name or address"),
            "port": timescale.integer("port", default=5432, low=1, high=65535),
            "database": timescale.text("database", default="umh"),
            "username": timescale.text("username", default="umh_owner"),
            "password": timescale.text("password", required="the password"),
            "sslmode": timescale.choice("sslmode", _SSL, default="require"),
        }
        certificates = {key: timescale.text(key) for key in ("sslrootcert", "sslcert", "sslkey")}
        for key in (key for key, value in certificates.items() if value and values["sslmode"] != "verify-full"):
            hint = "set sslmode to verify-full, or remove it"
            timescale.place.at(key).error(timescale.mark_of(key), "certificates only work with verify-full", hint)
    return values | certificates


def _sqlite(historian: Fields) -> str:
    """The path; "" where there is none, or an error."""
    if not historian.has("sqlite"):
        historian.get("sqlite")
        return ""
    with historian.fields("sqlite") as sqlite:
        path = sqlite.text("path", required="the path of a file")
        try:
            if path:
                Place.parse("sqlite", path)
        except ValueError as error:
            sqlite.place.at("path").error(sqlite.mark_of("path"), str(error))
    return path


def _contracts(historian: Fields) -> tuple[str, ...]:
    if not historian.has("contracts"):
        historian.get("contracts")
        return (LEGACY,)
    names = dict.fromkeys(historian.texts("contracts"))
    for name in names:
        if not _CONTRACT.fullmatch(name):
            hint = "write '_historian', '_pump_*', or '*' for all"
            place = historian.place.at("contracts")
            place.error(historian.mark_of("contracts"), f"{name[:60]!r} is no contract: it begins with '_'", hint)
    return tuple(names)


def _retention(historian: Fields) -> float:
    """In seconds; 0 keeps all."""
    text = historian.text("retention", default="0").strip()
    found = _RETENTION.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if (found is None and text != "0") or seconds > _LONGEST:
        place = historian.place.at("retention")
        place.error(
            historian.mark_of("retention"), f"{text[:40]!r} is no time to keep rows", "write '90d', '12w' or '36h'"
        )
        return 0.0
    return float(seconds)
