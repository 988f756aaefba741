"""What a URL of an end says: who to ask, what for, and the fields of a component in its query.

    mqtt://user:password@broker:1883/plant/+/temperature?qos=1&client_id=loader&tls.skip_cert_verify=true

A key of the query is a field of the component as its section in a flow's configuration has it, a dot leads into a nested one, and a key
that is given several times is a list. A ``#`` is a character like any other, because topics contain it; ``%23`` is one as well. Options in
the program stand for the same, and win.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from setpoint.flows.component import Fields
from setpoint.flows.config import FlowConfigError, parse

STAND_IN: Final = {"input": {"generate": {"mapping": "root = {}"}}, "output": {"drop": {}}}
"""The other end, where only one of a flow's two is of interest."""


class Where(NamedTuple):
    """A URL in its parts, unquoted. `server` is the host and, where it is given, the port: ``broker:1883``.

    Of a URL without a host, `path` is all that stands before the query.
    """

    scheme: str
    server: str
    user: str
    password: str
    path: str
    query: dict[str, Any]

    def taken(self, defaults: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The query in two: what is among these keys, completed by their values, and the rest."""
        rest = dict(self.query)
        return {key: rest.pop(key, default) for key, default in defaults.items()}, rest


def where(url: str, options: Mapping[str, Any], *, host: bool = True) -> Where:
    """The parts of a URL, with a `host` or without. Raises `ValueError` for a host or a port that is none."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    if not host:
        return Where(scheme, "", "", "", unquote(place), {**_query(query), **options})
    server, _, path = place.partition("/")
    try:
        split = urlsplit(f"//{server}")
        port = split.port
    except ValueError as error:
        raise ValueError(f"{scheme}://…: no host and port: {error}") from None
    name = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname or ""
    return Where(
        scheme,
        f"{name}:{port}" if port else name,
        unquote(split.username or ""),
        unquote(split.password or ""),
        unquote(path),
        {**_query(query), **options},
    )


def _query(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in filter(None, text.split("&")):
        key, _, value = pair.partition("=")
        key, value = unquote(key), unquote(value)  # a + is a +: topics contain it
        found[key] = [*_list(found[key]), value] if key in found else value
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Keys with dots as mappings in mappings. Raises `ValueError` where a key is a value and a mapping at once."""
    made: dict[str, Any] = {}
    for key, value in flat.items():
        *way, last = key.split(".")
        inside = made
        for part in way:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise ValueError(f"{key} goes into {part}, which has a value of its own")
        inside[last] = value
    return made


def checked(role: str, kind: str, given: Mapping[str, Any]) -> Fields:
    """The checked fields of a component; `role` is ``input`` or ``output``. Raises `ValueError` with everything that is wrong with them."""
    try:
        config = parse({**STAND_IN, role: {kind: given}})
    except FlowConfigError as error:
        prefix = f"{role}.{kind}."
        raise ValueError("; ".join(str(problem).removeprefix(prefix) for problem in error.problems)) from None
    return (config.input if role == "input" else config.output).fields
