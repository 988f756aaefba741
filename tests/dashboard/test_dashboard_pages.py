"""The page as it is served: complete, cacheable, and unable to load or run anything that is not its own."""

import asyncio
import re
from importlib.resources import files
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from setpoint.dashboard import router

ASSETS = {
    file.name: file.read_text() for file in files("setpoint.dashboard").joinpath("assets").iterdir() if file.is_file()
}


def ask(path: str, **headers: str) -> Any:
    async def main() -> Any:
        app = FastAPI(openapi_url=None)
        app.include_router(router())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(main())


def test_the_page_and_everything_it_names_are_served() -> None:
    """Every file that the page or a script of it refers to is there, with its media type."""
    page = ask("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    named = set(re.findall(r"/assets/([\w.]+)", page.text))
    for text in ASSETS.values():
        named |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert named == set(ASSETS) - {"index.html"}
    for name in named:
        assert ask(f"/assets/{name}").status_code == 200


def test_the_policy_allows_its_own_files_only() -> None:
    """No inline script, no other origin, no frame around it, no form."""
    policy = ask("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", ASSETS["index.html"])


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_no_file_refers_to_another_host(name: str) -> None:
    """The page works on a machine without internet and tells nobody that it is open."""
    hosts = re.findall(r"(?:https?:)?//[\w.-]+", re.sub(r'xmlns="[^"]*"', "", ASSETS[name]))
    assert [host for host in hosts if not host.startswith("// ") and "." in host] == []


@pytest.mark.parametrize("name", sorted(name for name in ASSETS if name.endswith(".js")))
def test_no_script_reads_text_as_markup_or_code(name: str) -> None:
    """What comes from machines is shown as text; nothing on the page can turn it into elements or run it."""
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc", ASSETS[name]
    )


def test_a_browser_that_has_a_file_is_told_so() -> None:
    """The second load costs no bytes, and a new version is seen at once."""
    tag = ask("/assets/app.js").headers["etag"]
    again = ask("/assets/app.js", **{"if-none-match": tag})
    assert again.status_code == 304
    assert again.content == b""
    assert ask("/assets/app.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "..%2f__init__.py", "%2e%2e/pages.py", "../pages.py", ""])
def test_nothing_else_is_served(name: str) -> None:
    """Only the files of the page; no path leads out of them."""
    assert ask(f"/assets/{name}").status_code == 404


def _luminance(colour: str) -> float:
    """Relative luminance of ``#rgb`` or ``#rrggbb`` (WCAG 2.2)."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    linear = [
        (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for c in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_contrast(theme: str) -> None:
    """Text on its ground reaches 4.5 to 1 in both themes (WCAG 2.2, AA), pills, bars and hovered rows included."""
    light, dark = re.findall(r":root \{(.*?)\}", ASSETS["style.css"], re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", light + (dark if theme == "dark" else "")))
    pairs = [(phase, f"{phase}-bg") for phase in ("healthy", "degraded", "failed", "moving", "stopped")]
    pairs += [(text, ground) for text in ("ink", "soft") for ground in ("card", "ground", "hover", "chosen")]
    pairs += [
        ("accent", "card"),
        ("accent", "chosen"),
        *((phase, "card") for phase in ("healthy", "degraded", "failed", "moving", "stopped")),
    ]
    for text, ground in pairs:
        darker, lighter = sorted((_luminance(colours[text]), _luminance(colours[ground])))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)
