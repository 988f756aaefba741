"""OAuth 2.0 client credentials (RFC 6749, 4.4): a token that is asked for with our own credentials, and again before it ends.

Fields as documented for Benthos. The credentials go to `token_url` by HTTP Basic, which every server of the kind must take (2.3.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Self
from urllib.parse import quote_plus

import msgspec
from pydantic import BeforeValidator, Field, model_validator

from setpoint.flows.component import Fields, one_or_many

EARLY: Final = 10.0
"""Seconds before its end at which a token is not used any more."""
UNTOLD: Final = 300.0
"""Seconds for which a token is used whose end is not told."""
Form = Callable[[str, dict[str, Any], tuple[str, str]], Awaitable[bytes]]


class OAuth2(Fields):
    """Who we are for a server that gives tokens."""

    enabled: bool = False
    client_key: str = ""
    client_secret: str = Field(default="", repr=False)
    token_url: str = ""
    scopes: Annotated[tuple[str, ...], BeforeValidator(one_or_many)] = ()
    endpoint_params: dict[str, Annotated[tuple[str, ...], BeforeValidator(one_or_many)]] = {}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.enabled and not (self.client_key and self.token_url.startswith(("http://", "https://"))):
            raise ValueError("oauth2 needs a client_key and a token_url that begins with https:// or http://")
        return self


class Token(msgspec.Struct):
    """What a server of tokens answers (RFC 6749, 5.1)."""

    access_token: str
    expires_in: float = UNTOLD


class Tokens:
    """The token to be used now. `form` posts a form to a URL with a user and a password, and gives the answer."""

    def __init__(self, fields: OAuth2, form: Form, now: Callable[[], float]) -> None:
        self._fields, self._form, self._now = fields, form, now
        self._token = ""
        self._until = 0.0

    async def current(self) -> str:
        """A token that is good for a while. Raises what `form` raises, and `ValueError` for an answer without a token."""
        if self._token and self._now() < self._until:
            return self._token
        fields = self._fields
        values: dict[str, Any] = {name: list(given) for name, given in fields.endpoint_params.items()}
        values["grant_type"] = "client_credentials"
        if fields.scopes:
            values["scope"] = " ".join(fields.scopes)
        answer = await self._form(
            fields.token_url, values, (quote_plus(fields.client_key), quote_plus(fields.client_secret))
        )
        try:
            token = msgspec.json.decode(answer, type=Token, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ValueError("its answer has no access_token in it") from None
        self._token, self._until = token.access_token, self._now() + max(0.0, token.expires_in - EARLY)
        return self._token

    def forget(self) -> None:
        """The token was refused: the next request has another."""
        self._token = ""

    def secrets(self) -> frozenset[str]:
        """What must not be told to anybody."""
        return frozenset({self._token} - {""})
