"""Looks at a written page: its parts as text, and as Chromium shows it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from chromium import chromium


class Elements(HTMLParser):
    """Every element with its attributes, and the text of those of some kinds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.title = self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._tag = tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._tag == "title":
            self.title += data

    def of(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag and (not kind or kind in (a.get("class") or "").split())]


def opened(path: Path, scratch: Path, hash_: str = "", timeout_s: float = 60) -> Elements:
    """The page after its program ran, in Chromium; the test is skipped where there is none."""
    done = chromium(scratch, "--dump-dom", "--window-size=1280,900", path.as_uri() + hash_, timeout_s=timeout_s)
    return Elements(done.stdout.decode())


def rows_of(elements: Elements) -> list[dict[str, str | None]]:
    """The rows that the program made."""
    return [a for a in elements.of("div", "row") if a.get("style")]


def shown(elements: Elements) -> str:
    """What the page says about how many rows there are."""
    found = re.search(r"[\d,]+( of [\d,]+)? rows", elements.text)
    return found[0] if found else ""
