"""The page and its files, served from memory."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def router() -> APIRouter:
    """``/`` is the page, ``/assets/NAME`` its files; a browser that has a file already is told so (ETag, RFC 9110)."""
    served = {
        file.name: file.read_bytes() for file in files(__package__).joinpath("assets").iterdir() if file.is_file()
    }
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in served.items()}
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def page(request: Request) -> Response:
        return answer("index.html", request)

    @routes.get("/assets/{name}")
    async def asset(name: str, request: Request) -> Response:
        return answer(name, request)

    def answer(name: str, request: Request) -> Response:
        if name not in served:
            raise HTTPException(404, "Not Found")
        headers = {"ETag": tags[name], "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        media_type = MEDIA_TYPES[name[name.rindex(".") :]]
        return Response(served[name], media_type=media_type, headers=headers)

    return routes
