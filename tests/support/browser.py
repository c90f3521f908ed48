"""A real browser without a window, for the tests of the report: Debian's Chromium, driven by Playwright.

The synchronous interface of Playwright has a running event loop in its thread. Close it before an asynchronous test.
"""

from __future__ import annotations

import base64
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_BROWSER = "no chromium (package chromium)"
"""Reason of a skipped test."""
_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
_COLORS = """
async (data) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  return Array.from({ length: pixels.length / 4 }, (_, at) => Array.from(pixels.slice(4 * at, 4 * at + 3)));
}
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser and end it."""
    with sync_playwright() as playwright:
        # Root has no sandbox. The pages of the tests are local files.
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


class OpenPage:
    """A page of a file, with everything that must not happen: requests, errors, violations of its policy."""

    def __init__(self, browser: Browser, *, width: int = 1280, height: int = 900, theme: str = "light") -> None:
        self._context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
        self.requests: list[str] = []
        self.messages: list[str] = []
        self._context.route("**/*", self._decide)
        self.page: Page = self._context.new_page()
        self.page.add_init_script(_VIOLATIONS)
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        self.page.on("dialog", self._refuse)
        self._allowed = ""

    def open(self, file: Path) -> Page:
        """Load the file from disk. Each other request is recorded and aborted."""
        self._allowed = file.as_uri()
        self.page.goto(self._allowed)
        return self.page

    def check(self) -> None:
        """Raise AssertionError if the page has sent a request, logged a message or violated its policy."""
        assert self.requests == []
        assert self.messages == []
        assert self.page.evaluate("violations") == []

    def close(self) -> None:
        """Close the page."""
        self._context.close()

    def _decide(self, route: Any) -> None:
        if route.request.url == self._allowed:
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def _refuse(self, dialog: Any) -> None:
        self.messages.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def colors(browser: Browser, png: bytes) -> list[tuple[int, int, int]]:
    """Return the color of each pixel of a picture."""
    page = browser.new_page()
    try:
        return [tuple(pixel) for pixel in page.evaluate(_COLORS, base64.b64encode(png).decode())]
    finally:
        page.close()
