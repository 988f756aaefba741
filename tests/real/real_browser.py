"""A browser without a screen, driven over the WebDriver protocol (W3C WebDriver 2) by the chromedriver of the system."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def missing() -> str:
    """Why there is no browser to test with; "" when there is one."""
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        return "no chromium is installed: apt-get install chromium chromium-driver"
    return "" if shutil.which("chromedriver") else "no chromedriver is installed: apt-get install chromium-driver"


class Browser:
    """One page."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client, self._session = client, session

    def _do(self, command: str, **body: Any) -> Any:
        answer = self._client.post(f"/session/{self._session}/{command}", json=body)
        value = answer.json()["value"]
        assert answer.is_success, value
        return value

    def open(self, url: str) -> None:
        self._do("url", url=url)

    def js(self, script: str, *arguments: Any) -> Any:
        """What a script returns; its arguments are ``arguments[0]`` and so on."""
        return self._do("execute/sync", script=script, args=list(arguments))

    def text(self, selector: str) -> str:
        """The visible text of an element; "" when there is none."""
        return str(self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def click(self, selector: str) -> None:
        self.js("document.querySelector(arguments[0]).click()", selector)

    def press(self, key: str) -> None:
        """Press a key, as a hand would."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._do("actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def until(self, condition: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Wait until a condition holds; returns its value."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s; the page says: {self.text('body')[:2000]}")

    def screenshot(self, file: Path) -> None:
        value = self._client.get(f"/session/{self._session}/screenshot").json()["value"]
        file.write_bytes(base64.b64decode(value))

    def log(self) -> list[dict[str, Any]]:
        """What the page complained of on its console, policy violations and failed requests included."""
        return list(self._do("se/log", type="browser"))


@contextmanager
def browser(size: str = "1440,900", *flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own, for as long as it is needed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    profile = tempfile.mkdtemp()
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    session = ""
    try:
        _await(client)
        options = {"args": [*FLAGS, f"--user-data-dir={profile}", f"--window-size={size}", *flags]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
        session = answer["sessionId"]
        yield Browser(client, session)
    finally:
        if session:
            client.delete(f"/session/{session}")
        client.close()
        driver.terminate()
        driver.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _await(client: httpx.Client) -> None:
    for _ in range(200):
        try:
            client.get("/status")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("chromedriver did not start within 10 s")
