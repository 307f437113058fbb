"""A real browser that opens a page and tells what it made of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OFFLINE = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
_HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
_LIMIT_S = 60
# What the page looks like from inside, written where the dump shows it.
_LOOK = """<script>addEventListener("load", () => {
 const box = (one) => (({top, bottom, left, right}) => ({top, bottom, left, right}))(one.getBoundingClientRect());
 const colour = getComputedStyle(document.body);
 document.body.dataset.seen = JSON.stringify({
  title: document.title, width: innerWidth, page: document.documentElement.scrollWidth,
  verdicts: [...document.querySelectorAll(".verdict")].map((one) => ({...box(one), text: one.textContent})),
  images: [...document.images].map((one) => ({...box(one), width: one.naturalWidth, alt: one.alt})),
  loaded: performance.getEntriesByType("resource").map((one) => one.name),
  text: colour.color, back: colour.backgroundColor});
});</script>"""


def look(page: Path, *, width: int = 1280, dark: bool = False) -> dict[str, Any]:
    """Open a page in headless Chromium and return what it looks like there: boxes in pixels, what was loaded, colours.

    Skips the test where there is no Chromium.
    """
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip("No browser to open the page in: apt-get install chromium")
    watched = page.with_name(f"watched-{page.name}")
    watched.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{_LOOK}</body>"), encoding="utf-8")
    profile = page.parent / f"browser-{width}-{dark}"
    flags = [*_HEADLESS, *_OFFLINE, f"--user-data-dir={profile}", f"--window-size={width},900"]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [browser, *flags, "--dump-dom", watched.as_uri()], capture_output=True, text=True, timeout=_LIMIT_S, check=True
    )
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stderr
    found: dict[str, Any] = json.loads(unescape(seen[1]))
    return found
