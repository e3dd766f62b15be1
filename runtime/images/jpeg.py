"""JPEG (ITU-T T.81): decodes it and tells data that break off or are damaged from harmless oddities.

libjpeg fills what it cannot decode with grey and says so in a warning alone. All warnings are heard here.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
from PIL.JpegImagePlugin import JpegImageFile

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ImageError

ColorSpace = Literal["RGB", "GRAY", "CMYK"]

NO_END = "no end marker"  # said of a file all of whose pixels are there
_END = b"\xff\xd9"
_STRAY = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_MOST_STRAY = 64  # bytes; more that are not padding are coded data left over, which a picture with a hole has
_HOLE, _HOLE_IN_REFINEMENT = 64, 160  # bytes; a refining scan may bring 1000 bits of zero in a row for what is known
_HARMLESS = "Inconsistent progression"  # said of the order of scans, not of what they bring
_PROGRESSIVE = frozenset((0xC2, 0xCA))
_TABLES, _SCAN = 0xC4, 0xDA
_LOOK_AHEAD = 16  # bytes
_UNNAMED_SAMPLING = "subsampling"  # said of sampling factors that TurboJPEG has no name for
_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))


class Segment(NamedTuple):
    """A marker of a JPEG, what follows it, and where it stands."""

    marker: int
    body: bytes
    start: int


def decode_jpeg(data: bytes, colors: ColorSpace) -> tuple[UInt8Array, str | None]:
    """All pixels, (H, W, 1, 3 or 4) uint8, and a note on what is odd about the file, or None.

    Raises:
        ImageError: the data cannot be decoded, are damaged, or end before the picture does.
    """
    data, note = _without_zeros_at_the_end(_with_plain_header(data)), None
    while True:
        warning, pixels = _strictly(data, colors)
        if warning is None or _HARMLESS in warning:
            break
        if "Premature end of JPEG file" in warning and not data.endswith(_END):
            data, note = data + _END, NO_END
        elif (shorter := _without_stray_bytes(data, warning)) is not None:
            data = shorter
        else:
            raise damaged(warning)
    if not _all_scans_are_there(data):
        raise ImageError("the picture is cut short (later scans of a progressive JPEG are missing); copy it again")
    if pixels is None:
        pixels = simplejpeg.decode_jpeg(data, colors, strict=False)
    return pixels, note


def _with_plain_header(data: bytes) -> bytes:
    """The data with nothing before the scans but what their decoding needs, in its usual form.

    The decoder takes stray bytes between segments, an odd version of JFIF or a broken profile for damage.
    """
    header = list(itertools.takewhile(lambda segment: segment.marker not in (_SCAN, _END[1]), segments(data)))
    scans = data.find(b"\xff\xda", header[-1].start + 4 + len(header[-1].body)) if header else -1
    if scans < 0:
        return data
    components = next((body[5] for marker, body, _ in header if marker in _FRAMES and len(body) >= 6), 3)
    parts = [data[:2]]
    for marker, body, _ in header:
        if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
            body = body[:5] + b"\x01" + body[6:]  # of its version
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            kind = 0 if body[11] == 0 else 1 if components == 3 else 2  # YCbCr or YCCK, which it takes others for
            body = body[:11] + bytes((kind,)) + body[12:]
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:  # of applications, comments
            continue
        parts.append(bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body)
    return b"".join(parts) + data[scans:]


def require_whole(data: bytes) -> None:
    """Decodes a JPEG in an eighth of its size, for its warnings alone. Raises `ImageError` for damage."""
    _without_zeros_at_the_end(data)
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        raise damaged(str(error)) from error


def damaged(warning: str) -> ImageError:
    """The error that says what the decoder has seen."""
    reason = warning.removeprefix("Corrupt JPEG data: ")
    return ImageError(f"the picture is damaged or cut short ({reason}); copy it again from its source")


def _strictly(data: bytes, colors: ColorSpace) -> tuple[str | None, UInt8Array | None]:
    """The decoder's last warning and None, or None and the pixels. Raises `ImageError` for what it cannot decode."""
    try:
        return None, simplejpeg.decode_jpeg(data, colors, strict=True)
    except ValueError as error:
        message = str(error)
    if _UNNAMED_SAMPLING in message:
        return _by_pillow(data, colors)
    try:
        simplejpeg.decode_jpeg(data, colors, min_height=1, min_width=1, min_factor=8, strict=False)
    except ValueError as error:
        raise ImageError(f"cannot be decoded ({error}); copy it again from its source") from error
    return message, None


def _by_pillow(data: bytes, colors: ColorSpace) -> tuple[str | None, UInt8Array | None]:
    """As `_strictly`, with an early end as the only warning.

    In place of the end marker, up to which libjpeg would fill a picture, stand as many bytes as it looks ahead.
    """
    end = _end_of(data)
    if end is None:
        return "Premature end of JPEG file", None
    coded = io.BytesIO(data[:end] + bytes(_LOOK_AHEAD))
    try:
        with JpegImageFile(coded) as picture:  # without Pillow's own limit on pixels
            values = np.asarray(picture if colors == "CMYK" else picture.convert("L" if colors == "GRAY" else colors))
    except (OSError, SyntaxError, ValueError) as error:
        if "truncated" in str(error):
            raise damaged(str(error)) from error
        raise ImageError(f"cannot be decoded ({error}); copy it again from its source") from error
    return None, 255 - values if colors == "CMYK" else values.reshape(*values.shape[:2], -1)  # Pillow inverts inks


def _without_stray_bytes(data: bytes, warning: str) -> bytes | None:
    """The data without bytes that the decoder passed over before the end marker, None where there are none such.

    Where the picture is whole, what is left decodes without a word.
    """
    found = _STRAY.search(warning)
    end = _end_of(data)
    if not found or end is None or end < (count := int(found[1])):
        return None
    if count > _MOST_STRAY:
        padding = data[end - 1 : end]
        if data[end - count : end] != padding * count:
            return None
        count = end - len(data[:end].rstrip(padding)) - 2  # all of it: some may have been taken for the picture
    return data[: end - count] + data[end:]


def _without_zeros_at_the_end(data: bytes) -> bytes:
    """The data without zeros that fill up the last scan. Raises `ImageError` for a hole of zeros in coded data.

    The decoder takes zeros for a picture, and says nothing where as many blocks come of them as of what was there.
    """
    if bytes(_HOLE) not in data:
        return data
    frame, symbols, most, begin = 0, dict[int, int](), None, 0
    for marker, body, start in itertools.chain(segments(data), [Segment(_END[1], b"", len(data))]):
        if most is not None:
            coded = data[begin:start]
            kept = coded.rstrip(b"\0")
            filled = len(coded) - len(kept) >= most
            if bytes(most) in kept or (filled and marker != _END[1]):
                raise damaged("a hole of zeros")
            if filled:
                return data[: begin + len(kept) + 2] + data[start:]
        most, begin = None, start + 4 + len(body)
        if marker in _FRAMES:
            frame = marker
        elif marker == _TABLES:
            symbols |= _symbols_of_zeros(body)
        elif marker == _SCAN and body and frame in (0xC0, 0xC1, 0xC2):
            most = _fewest_zeros_of_a_hole(body, frame in _PROGRESSIVE, symbols)
    return data


def _symbols_of_zeros(body: bytes) -> dict[int, int]:
    """Of each Huffman table in a segment, the symbol whose code is zeros: the first (T.81, C.2)."""
    found, at = dict[int, int](), 0
    while at + 17 < len(body):
        found[body[at]] = body[at + 17]
        at += 17 + sum(body[at + 1 : at + 17])
    return found


def _fewest_zeros_of_a_hole(header: bytes, progressive: bool, symbols: Mapping[int, int]) -> int | None:
    """How many bytes of zeros no picture has in this scan; None where they may stand for an even area."""
    count = header[0]
    tables = header[2 : 1 + 2 * count : 2]
    first, _, bits = header[1 + 2 * count : 4 + 2 * count].ljust(3, b"\0")
    if progressive and first == 0:
        even = bits >> 4 > 0 or all(symbols.get(table >> 4, 0) <= 1 for table in tables)
    else:  # the end of a block, or of a run of blocks
        ends = [symbols.get(0x10 | (table & 15), 0) for table in tables]
        even = all(symbol & 15 == 0 and symbol != 0xF0 for symbol in ends)
    return None if even else _HOLE_IN_REFINEMENT if bits >> 4 else _HOLE


def segments(data: bytes) -> Iterator[Segment]:
    """The markers of the first picture in the file, up to its end. Ends without an EOI where that is missing."""
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # stuffing, fill, restart: no length follows
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield Segment(marker, b"" if marker == _END[1] else data[at + 4 : at + 2 + length], at)
        if marker == _END[1]:
            return
        at += 2 + length


def has_end(data: bytes) -> bool:
    """Whether the first picture of a JPEG has its end marker."""
    return _end_of(data) is not None


def _end_of(data: bytes) -> int | None:
    """Where the end marker of the first picture stands; None where that is missing."""
    return next((segment.start for segment in segments(data) if segment.marker == _END[1]), None)


def _all_scans_are_there(data: bytes) -> bool:
    """Whether the scans of a progressive JPEG bring every coefficient to its last bit (T.81, G.1.1.1).

    True of any other JPEG, whose scans are not looked at.
    """
    missing = dict[int, set[int]]()
    for segment in segments(data):
        body = segment.body
        if segment.marker in _FRAMES and len(body) >= 6:
            if segment.marker not in _PROGRESSIVE:
                return True
            missing = {body[k]: set(range(64)) for k in range(6, min(len(body), 6 + 3 * body[5]), 3)}
        elif segment.marker == _SCAN and len(body) >= 4:
            count = body[0]
            first, last, bits = body[1 + 2 * count : 4 + 2 * count].ljust(3, b"\xff")
            if bits & 15 == 0:
                for component in body[1 : 1 + 2 * count : 2]:
                    missing.get(component, set()).difference_update(range(first, last + 1))
    return not any(missing.values())


def ends_early(path: Path) -> bool:
    """Whether a file is empty, or a JPEG, PNG or BMP that is cut short, without decoding it."""
    data = path.read_bytes()
    if data.startswith(b"\xff\xd8"):
        return not has_end(data)
    if data.startswith(b"BM"):
        return len(data) < int.from_bytes(data[2:6], "little")
    return not data or (data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND\xaeB`\x82" not in data)
