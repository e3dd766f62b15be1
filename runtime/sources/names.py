"""File names as text: those that are none can be told apart, and read back."""

from __future__ import annotations

import os
import re

_BACKSLASH_OF_ITS_OWN = re.compile(rb"\\(?=x[0-9a-fA-F]{2})")
_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")


def as_bytes(name: str) -> bytes:
    """The bytes of a name as the operating system has it, in whatever locale."""
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:  # text from elsewhere that this locale has no bytes for
        return name.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> str:
    """The name, as the operating system takes it, that consists of these bytes."""
    try:
        return os.fsdecode(data)
    except UnicodeDecodeError:  # Windows, whose names are text
        return data.decode("utf-8", "surrogateescape")


def printable(name: str) -> str:
    r"""A name as text: bytes that are not UTF-8 as `\xNN`, and a backslash that would look like one of them as `\x5c`.

    Control characters stay: every format of results has its own way to write them.
    """
    return _BACKSLASH_OF_ITS_OWN.sub(rb"\\x5c", as_bytes(name)).decode("utf-8", "backslashreplace")


def from_printable(text: str) -> str:
    """The inverse of `printable`."""
    data = text.encode("utf-8", "surrogateescape")
    return from_bytes(_ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), data))
