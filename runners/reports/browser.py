"""A page opened in headless Chromium, over the pipe of its DevTools protocol."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners.errors import UsageError

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and answers on 4.
_PLACE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_PATIENCE_S = 120.0


def find_browser() -> str | None:
    """The path of a Chromium; None where none is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """A page and what it said.

    complaints: console errors and warnings, and exceptions. requested: addresses that it asked
    for, its own left out.
    """

    address: str
    _to: int
    _from: int
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    _session: str | None = None
    _count: int = 0
    _rest: bytes = b""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol. Raises UsageError when it fails or takes too long."""
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        _send(self._to, json.dumps(message).encode() + b"\0")
        give_up = time.monotonic() + _PATIENCE_S
        while True:
            told = self._next(give_up)
            if told.get("id") == number:
                if "error" in told:
                    raise UsageError(f"Chromium: {method}: {told['error'].get('message')}")
                return dict(told["result"])
            self._note(told)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page; promises are awaited. Raises UsageError."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            said = (details.get("exception") or {}).get("description") or details.get("text")
            raise UsageError(f"{self.address}: {str(said).splitlines()[0]}")
        return found["result"].get("value")

    def resize(self, width: int, height: int) -> None:
        """Give the page another size, in CSS pixels, and let it draw itself anew."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.settle()

    def settle(self) -> None:
        """Wait for two frames: the first lays out, the second has painted it."""
        frames = "requestAnimationFrame(() => requestAnimationFrame(() => done(true)))"
        self.evaluate(f"new Promise(done => {frames})")

    def _next(self, give_up: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, give_up - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise UsageError(
                    "Chromium went away"
                    if ready
                    else f"Chromium said nothing for {_PATIENCE_S:g} s"
                )
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method"), event.get("params") or {}
        if method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(a.get("value")) for a in about["args"]))
        elif method == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            said = (details.get("exception") or {}).get("description")
            self.complaints.append(str(said or details["text"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            address = about["request"]["url"]
            if address != self.address and not address.startswith(("data:", "blob:")):
                self.requested.append(address)


@contextlib.contextmanager
def opened(
    file: Path, width: int = 1200, height: int = 900, *, dark: bool = False
) -> Iterator[Page]:
    """A local page, loaded and drawn. Raises UsageError where there is no Chromium."""
    browser = find_browser()
    if browser is None:
        raise UsageError(
            f"no Chromium here ({', '.join(NAMES)}); install one, such as apt install chromium"
        )
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        _running(browser, home) as (to, back),
    ):
        page = Page(file.absolute().as_uri(), to, back)
        _open(page, width, height, dark=dark)
        yield page
        with contextlib.suppress(UsageError, OSError):
            page._session = None
            page.call("Browser.close")


@contextlib.contextmanager
def _running(browser: str, home: str) -> Iterator[tuple[int, int]]:
    """(descriptor to write commands to, descriptor to read answers from)."""
    reads, to = _pipe()
    back, writes = _pipe()

    place = [sys.executable, "-I", "-S", "-c", _PLACE, str(reads), str(writes)]
    process = subprocess.Popen(
        [*place, browser, *_FLAGS, f"--user-data-dir={home}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(reads, writes),
    )
    os.close(reads)
    os.close(writes)
    try:
        yield to, back
    finally:
        os.close(to)
        os.close(back)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are out of the way of 3 and 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]


def _send(to: int, message: bytes) -> None:
    try:
        while message:
            message = message[os.write(to, message) :]
    except BrokenPipeError:
        raise UsageError("Chromium went away") from None


def _open(page: Page, width: int, height: int, *, dark: bool) -> None:
    target = page.call("Target.createTarget", url="about:blank")["targetId"]
    page._session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        page.call(f"{domain}.enable")
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.call("Emulation.setEmulatedMedia", features=scheme)
    page.resize(width, height)
    page.call("Page.navigate", url=page.address)
    page.evaluate(
        "new Promise(done => document.readyState === 'complete' ? done(true) :"
        " addEventListener('load', () => done(true)))"
    )
    page.settle()


def screenshot(page: Page) -> bytes:
    """A PNG of the whole page."""
    import base64

    size = page.call("Page.getLayoutMetrics")["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    found = page.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    return base64.b64decode(found["data"])
