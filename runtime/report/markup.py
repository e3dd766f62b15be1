"""Pieces of HTML that several parts of the page use. Every text of others goes through `safe`."""

from __future__ import annotations

import html
import re

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # HTML has no way to write them


def safe(text: str) -> str:
    """Text for an element or a quoted attribute. Control characters that HTML cannot hold become U+FFFD."""
    return _UNSEEN.sub("\ufffd", html.escape(text)).replace("\r", "&#13;")


def storable(text: str) -> str:
    """Text that a UTF-8 file can hold, whatever it was read from."""
    return text.encode("utf-8", "replace").decode("utf-8")


def file_name(source: str) -> str:
    """A path whose folder gives way first where there is little room; a click selects all of it."""
    cut = max(source.rfind("/"), source.rfind("\\")) + 1
    folder = f'<span class="folder">{safe(source[:cut])}</span>' if cut else ""
    return f'<p class="path" title="{safe(source)}">{folder}<span class="file">{safe(source[cut:])}</span></p>'


def grade_mark(grade: str | None) -> str:
    """The grade's colour and name; nothing where there is none."""
    return f'<span class="grade {grade}">{grade}</span>' if grade else ""


def number(count: int) -> str:
    """A count with its thousands apart."""
    return f"{count:,}"
