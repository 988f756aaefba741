"""A schema registry (Redpanda's, on port 8081, or Confluent's): JSON schemas registered as wanted, and nobody else's touched.

Each schema that is registered here carries a mark in its text (``$comment``), so that the registry itself says whose it is, also after this
program was set up anew. Several programs that share a registry have a mark each, by their names. Schemas are compared by content, the mark
aside: what somebody else registered and is as wanted will do. A subject is changed or deleted only if its latest schema carries the mark;
one without it belongs to somebody else, is left alone and listed.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from setpoint.services.redpanda.admin import TIMEOUT, AdminError, Http, said

MARK: Final = "registered by setpoint"
_NOT_FOUND: Final = (40401, 40402, 40403)
"""Error codes of the schema registry API: subject, version or schema not found."""


class RegistryError(AdminError):
    """The schema registry did not do what was asked: says which subject, and what it answered."""


class SchemasReport(msgspec.Struct, frozen=True):
    """What one look found and did: subjects by what became of them, and why some were refused."""

    registered: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def fault(self) -> str:
        """Why not all is as wanted, or nothing."""
        return "; ".join(self.refused)


class Schemas(Http):
    """The client of one registry. `owner` is the name under which its schemas are marked, where others register in it as well."""

    def __init__(
        self,
        url: str,
        *,
        owner: str = "",
        timeout: float = TIMEOUT,
        user: str = "",
        password: str = "",
        verify: bool | str | ssl.SSLContext = True,
    ) -> None:
        super().__init__(url, timeout=timeout, user=user, password=password, verify=verify)
        self._mark = f"{MARK} for {owner}" if owner else MARK

    async def fault(self) -> str:
        """Why the registry cannot be used, or nothing: it must answer, with whatever status below 500."""
        try:
            status, data = await self.ask("GET", "/subjects")
        except AdminError as error:
            return str(error)
        return "" if status < 500 else f"{self.url}/subjects answered {status}: {said(data)}"

    async def keep(self, wanted: Mapping[str, Mapping[str, Any]]) -> SchemasReport:
        """Have these subjects with these JSON schemas, and no others of ours. Raises `AdminError` where the registry cannot be asked."""
        there = set(await self.json("GET", "/subjects") or ())
        registered: list[str] = []
        changed: list[str] = []
        refused: list[str] = []
        for subject, schema in wanted.items():
            now = await self._latest(subject) if subject in there else None
            marked = {**schema, "$comment": self._mark}
            if _content(now) == schema:
                continue
            if now is not None and not self._ours(now):
                refused.append(f"{subject}: somebody else has registered another schema; it is left alone")
            elif reason := await self._register(subject, marked):
                refused.append(f"{subject}: {reason}")
            else:
                (registered if now is None else changed).append(subject)
        removed, foreign = await self._clear(sorted(there - wanted.keys()))
        return SchemasReport(*map(tuple, (registered, changed, removed, foreign, refused)))

    async def _clear(self, unwanted: list[str]) -> tuple[list[str], list[str]]:
        """Deletes what is ours; the others are somebody else's."""
        removed, foreign = [], []
        for subject in unwanted:
            if self._ours(await self._latest(subject)):
                await self._delete(subject)
                removed.append(subject)
            else:
                foreign.append(subject)
        return removed, foreign

    def _ours(self, schema: Any) -> bool:
        return isinstance(schema, dict) and schema.get("$comment") == self._mark

    async def _latest(self, subject: str) -> Any:
        """The latest schema of a subject as data, None where there is none; a schema that is not JSON as its text."""
        status, data = await self.ask("GET", f"/subjects/{quote(subject, safe='')}/versions/latest")
        if status == 404:
            return None
        if status != 200:
            raise RegistryError(f"{self.url}: {subject} answered {status}: {said(data)}")
        try:
            text = msgspec.json.decode(data)["schema"]
            return msgspec.json.decode(text) if text.lstrip().startswith("{") else text
        except (msgspec.DecodeError, TypeError, KeyError, AttributeError) as error:
            raise RegistryError(f"{self.url}: {subject} answered what is no schema: {said(data)}") from error

    async def _register(self, subject: str, schema: Mapping[str, Any]) -> str:
        """Registers a version; why the registry refuses it, or nothing."""
        body = {"schemaType": "JSON", "schema": msgspec.json.encode(schema).decode()}
        status, data = await self.ask("POST", f"/subjects/{quote(subject, safe='')}/versions", body=body)
        if status == 409:
            return f"not compatible with what is registered: {_message(data)}"
        return "" if status == 200 else f"answered {status}: {_message(data)}"

    async def _delete(self, subject: str) -> None:
        status, data = await self.ask("DELETE", f"/subjects/{quote(subject, safe='')}")
        if status not in (200, 404):
            raise RegistryError(f"{self.url}: {subject} could not be deleted: {status}: {_message(data)}")


def _content(schema: Any) -> Any:
    """A schema without anybody's mark."""
    if isinstance(schema, dict) and str(schema.get("$comment")).startswith(MARK):
        return {key: value for key, value in schema.items() if key != "$comment"}
    return schema


def _message(data: bytes) -> str:
    try:
        return str(msgspec.json.decode(data)["message"])
    except (msgspec.DecodeError, TypeError, KeyError):
        return said(data)
