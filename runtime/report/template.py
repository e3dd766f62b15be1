"""Pages as one file each that needs nothing else: they share a head and a style."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources

import lifeiqa
from lifeiqa.runtime.report.markup import safe, storable

_HEAD = """<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
{scripts}base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="lifeiqa {version}">
<style>
{css}</style>"""


def fill(template: str, parts: Mapping[str, str], style: str = "", script: str = "") -> str:
    """Fills a template: `{{head}}`, `{{version}}` and `{{script}}`, and each other `{{name}}` from `parts`.

    The page says to the browser that no program but `script` may run and nothing may be loaded, so that even markup
    that slipped through somewhere would do nothing.

    Args:
        template: HTML.
        parts: HTML by name.
        style: CSS behind that which all pages share.
        script: JavaScript.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    version = safe(lifeiqa.__version__)
    head = _HEAD.format(
        scripts=f"script-src 'sha256-{digest}'; " if script else "",
        version=version,
        css=read("lifeiqa.runtime.report", "page.css") + style,
    )
    known = {**parts, "head": head, "version": version, "script": script}
    return storable(re.sub(r"\{\{(\w+)\}\}", lambda found: known[found[1]], template))


def read(package: str, name: str) -> str:
    """A text file of a package."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
