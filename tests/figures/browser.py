"""Headless Chromium, driven over its own pipe: no driver, no port, no network."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = (
    "NO BROWSER: the report page was not looked at. Install the Debian package chromium "
    "(apt-get install chromium)"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
LONGEST_S = 60


class Browser:
    """A page in a window of its own; `log` is what it wrote to the console, and its errors."""

    def __init__(self, folder: Path) -> None:
        self.log: list[str] = []
        self._folder = folder
        self._numbers = itertools.count(1)
        self._rest = b""

    def __enter__(self) -> Browser:
        ours_in, self._write = os.pipe()
        self._read, ours_out = os.pipe()
        words = [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={self._folder / 'profile'}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{ours_in} 4>&{ours_out}', "bash", *words],
            pass_fds=(ours_in, ours_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"HOME": str(self._folder), "PATH": "/usr/bin:/bin"},
        )
        os.close(ours_in)
        os.close(ours_out)
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._session = {}
            self.call("Browser.close")
            self._process.wait(timeout=20)
        except (OSError, subprocess.TimeoutExpired, AssertionError):
            self._process.kill()
            self._process.wait()
        finally:
            os.close(self._read)
            os.close(self._write)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._note(answer)
        raise AssertionError(f"the browser does not answer {method}")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser has gone"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.log.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.log.append(str(params["args"]))
            case "Log.entryAdded":
                self.log.append(str(params["entry"]))

    def open(self, file: Path, width: int = 1280, *, dark: bool = False, at: str = "") -> None:
        """Load a page in a window of `width` pixels; `at`: what follows `#` in its address."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=file.as_uri() + (f"#{at}" if at else ""))
        self.wait_for("document.readyState === 'complete'")

    def wait_for(self, expression: str) -> None:
        """Until `expression` is true in the page."""
        end = time.monotonic() + LONGEST_S
        while not self.run(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """What `expression` comes to in the page."""
        done = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def settle(self) -> None:
        """Until the page has drawn what it was asked for: two frames."""
        frames = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(1))))"
        self.run(frames)

    def middle_of(self, selector: str) -> tuple[float, float]:
        """Where an element is, once it was scrolled to."""
        self.settle()
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        return x, y

    def click(self, selector: str) -> None:
        """A click with the mouse."""
        x, y = self.middle_of(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def hover(self, x: float, y: float) -> None:
        """The mouse at a place of the window."""
        for dx in (0, 1):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + dx, y=y)
        self.settle()

    def press(self, key: str, text: str = "") -> None:
        """A key."""
        codes = {"Enter": 13, "Tab": 9, " ": 32, "ArrowRight": 39, "ArrowLeft": 37}
        more = {"text": text} if text else {}
        code = codes.get(key, ord(key[0]))
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **(more if kind == "keyDown" else {}),
            )

    def screenshot(self, file: Path) -> None:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))
