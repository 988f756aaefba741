"""The ``historian`` section: where time series are kept in a database, and variables of templates."""

from __future__ import annotations

from typing import Any, Final

from setpoint.agent.config.settings import NOT_YET
from setpoint.configfile.fields import Fields

_SSL: Final = ("disable", "require", "verify-full")


def read_historian(root: Fields) -> dict[str, Any] | None:
    """The historian as variables of templates (``.historian.timescale.host``), with the documented defaults."""
    if not root.has("historian"):
        root.get("historian")
        return None
    with (
        root.fields("historian") as historian,
        historian.fields("timescale", required="host and password") as timescale,
    ):
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
    root.place.at("historian").warning(root.mark_of("historian"), f"{NOT_YET}, apart from the variables of templates")
    return {"timescale": values | certificates}
