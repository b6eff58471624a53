"""A headless Chromium of this machine, driven by Playwright, and reports opened in it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-component-update", "--disable-sync")
"""As root it has no sandbox; and it asks nobody but the page's server."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "desktop": {"viewport": {"width": 1160, "height": 860}},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
    "dark": {"viewport": {"width": 1160, "height": 860}, "color_scheme": "dark"},
    "print": {"viewport": {"width": 794, "height": 1123}},  # A4
    "scripts off": {"viewport": {"width": 1160, "height": 860}, "java_script_enabled": False},
}
"""How a report is opened: the options of a context of Playwright's."""
SEVERE = ("serious", "critical")
PATIENCE = 300_000.0
"""Milliseconds for a page to show what it should: it is never reached where all is well, however busy the machine."""


READ = 2_000.0
"""Milliseconds for which a page is looked at before something is typed: then its texts are ready to be searched."""


class NoBrowser(Exception):
    """Chromium is not installed: apt-get update && apt-get install -y chromium"""


def program() -> str | None:
    """Where this machine has a browser."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises NoBrowser where the machine has none."""
    if (path := program()) is None:
        raise NoBrowser(NoBrowser.__doc__)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*QUIET])
        try:
            yield browser
        finally:
            browser.close()


class OpenedReport:
    """A report in a page of its own, and all that the browser complained of or asked for meanwhile."""

    def __init__(
        self, browser: Browser, path: Path, way: str = "desktop", *, fragment: str = "", first: str = ""
    ) -> None:
        """`first`: a script that the browser runs before those of the page."""
        self.page: Page = browser.new_context(**WAYS[way]).new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.add_init_script(first)
        self.complaints: list[str] = []
        address = path.resolve().as_uri()
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on(
            "request",
            lambda asked: (
                None if asked.url.split("#")[0] == address else self.complaints.append(f"asked for {asked.url}")
            ),
        )
        if way == "print":
            self.page.emulate_media(media="print")
        self.page.goto(address + fragment)
        if way != "scripts off":
            self.page.locator("#hits-list li, #list-problem:not([hidden])").first.wait_for(state="attached")

    def close(self) -> None:
        self.page.context.close()

    def severe_findings(self) -> list[str]:
        """What axe-core finds that keeps people from using the page."""
        script = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.page.evaluate(script)  # by the browser's own door: the page's policy stays as it is
        found = self.page.evaluate("axe.run(document, {preload: false, resultTypes: ['violations']})")
        return [
            f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:120]}"
            for one in found["violations"]
            if one["impact"] in SEVERE
            for node in one["nodes"]
        ]

    def first_paint(self) -> float:
        """Milliseconds from the navigation to the first text on the screen."""
        told = "performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)"
        deadline = monotonic() + PATIENCE / 1000
        while not (times := self.page.evaluate(told)) and monotonic() < deadline:
            self.page.wait_for_timeout(50)  # by Playwright's clock: a page without scripts has none
        return float(times[0]) if times else math.inf

    def keystrokes(self, text: str) -> list[float]:
        """Milliseconds from each key pressed in the search to the painted list, as the browser counts them."""
        self.page.evaluate(_COUNT_KEYS)
        self.page.locator("input[name=q]").focus()
        self.page.wait_for_timeout(READ)
        before = self.hits
        for letter in text:
            self.page.keyboard.type(letter)
            self.page.wait_for_timeout(150)
        assert self.hits != before, f"the search for {text!r} changed nothing: {before}"
        return [float(one) for one in self.page.evaluate("window.keysTaken")] or [_LEAST]

    @property
    def hits(self) -> str:
        """How many rows the list has, in its own words; or why it has none."""
        said = self.page.locator("#hits:visible, #list-problem:visible").all_inner_texts()
        return " ".join(said)


_LEAST = 16.0  # milliseconds: shorter events are not told, which is the least that may be asked for
_COUNT_KEYS = """() => {
  window.keysTaken = [];
  new PerformanceObserver(list => list.getEntries().forEach(one => window.keysTaken.push(one.duration)))
    .observe({type: "event", durationThreshold: 16});
}"""
