"""JPEG 2000 (ITU-T T.800): what its decoder does not say of depth, profile and damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lifeiqa.runtime.errors import ImageError

_CODESTREAM = b"\xff\x4f\xff\x51"
_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_HOLE = 64  # bytes; coded data have no such run of zeros where no more packets than this can be empty


class Codestream(NamedTuple):
    """What the main header says.

    Attributes:
        depth: bits of a sample of the first component.
        packets: of a tile at most, where the precincts are as large as can be; None where they are not.
    """

    depth: int
    packets: int | None


def codestream(data: bytes) -> Codestream:
    """Reads the main header (A.5.1, A.6.1). Raises `ImageError` where it is not there or cut short."""
    at = data.find(_CODESTREAM)
    coding = data.find(b"\xff\x52", at)
    if at < 0 or coding < 0 or len(data) < max(at + 43, coding + 10):
        raise ImageError("the picture is damaged or cut short (no JPEG 2000 header); copy it again from its source")
    components = int.from_bytes(data[at + 40 : at + 42], "big")
    style, layers, levels = data[coding + 4], int.from_bytes(data[coding + 6 : coding + 8], "big"), data[coding + 9]
    packets = None if style & 1 else layers * (levels + 1) * components
    return Codestream((data[at + 42] & 127) + 1, packets)


def require_no_hole(data: bytes) -> None:
    """Raises `ImageError` for a run of zeros that coded data do not have: the decoder takes it for a picture."""
    empty = codestream(data).packets
    start, end = data.find(b"\xff\x93"), data.rfind(b"\xff\xd9")  # what follows the end is no part of it
    if empty is not None and bytes(max(_HOLE, empty + 8)) in data[start : end if end > start else len(data)]:
        raise ImageError("the picture is damaged (a hole of zeros); copy it again from its source")


def icc_profile(data: bytes) -> bytes | None:
    """The profile in a colour specification box (I.5.3.3), None where there is none."""
    if not data.startswith(_SIGNATURE):
        return None
    header = next((body for kind, body in _boxes(data) if kind == b"jp2h"), b"")
    for kind, body in _boxes(header):
        if kind == b"colr" and body[:1] in (b"\x02", b"\x03"):
            return body[3:]
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = len(data) if length == 0 else at + length
        if end <= at:
            return
        yield kind, data[at + head : end]
        at = end
