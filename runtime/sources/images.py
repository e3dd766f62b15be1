"""Decodes a picture file to 8-bit RGB, and refuses one that is broken or cut short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.opencv import cv2

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".avif", ".ppm", ".pgm", ".pnm", ".gif")
)
_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Image:
    """A decoded picture.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        note: what had to be changed to get there (depth, channels, transparency), or None.
    """

    pixels: UInt8Array
    note: str | None = None


def read_image(path: str | Path) -> Image:
    """Reads and decodes a file, see `decode_image`. Raises `ImageError`."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError("no such file") from None
    except MemoryError:
        raise ImageError("the file does not fit into memory; score a smaller copy") from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"not a usable file name: {error}") from error
    return decode_image(data)


def decode_image(data: bytes) -> Image:
    """Decodes an encoded picture of any depth and channel count; the EXIF orientation of a JPEG
    (of no other format) is applied.

    Sixteen bits are reduced to eight, grey is repeated over the channels, transparency is laid on white.

    Raises:
        ImageError: the data is empty, is no picture, or ends before the picture does.
    """
    if not data:
        raise ImageError("the file is empty; copy it again from its source")
    if _ends_early(data):
        raise ImageError("the picture is cut short (no end marker); copy it again from its source")
    # IMREAD_UNCHANGED keeps transparency but ignores EXIF orientation; JPEG has the second and not the first.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if data.startswith(_JPEG) else cv2.IMREAD_UNCHANGED
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded ({error.err}); convert it to PNG or JPEG") from error
    if decoded is None or decoded.size == 0:
        raise ImageError("not a picture that OpenCV can decode; convert it to PNG or JPEG")
    try:
        return _as_image(np.asarray(decoded))
    except (MemoryError, cv2.error):
        raise ImageError(
            f"{decoded.shape[1]}x{decoded.shape[0]} does not fit into memory; score a smaller copy"
        ) from None


def _as_image(decoded: npt.NDArray[np.generic]) -> Image:
    notes = []
    if decoded.dtype == np.uint16:
        decoded = (decoded.astype(np.float32) / 257.0).round().astype(np.uint8)
        notes.append("16 bits reduced to 8")
    elif decoded.dtype != np.uint8:
        raise ImageError(f"holds {decoded.dtype} samples; convert it to 8 or 16 bits with the tone mapping you want")
    pixels = decoded.astype(np.uint8, copy=False)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    if channels in (2, 4):
        alpha = pixels[:, :, -1:]
        if alpha.min() < 255:
            share = alpha.astype(np.float32) / 255.0
            laid = pixels[:, :, :-1] * share + 255.0 * (1.0 - share)
            pixels = laid.round().astype(np.uint8)
            notes.append("transparency laid on white")
        else:
            pixels = pixels[:, :, :-1]
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
        notes.append("grey")
    elif pixels.shape[2] != 3:
        raise ImageError(f"has {channels} channels; convert it to grey, RGB or RGBA")
    return Image(to_rgb(pixels), "; ".join(notes) or None)


def to_rgb(bgr: object) -> UInt8Array:
    """OpenCV's (H, W, 3) BGR, or (H, W) grey, as RGB: in a tenth of the time of a reversed view's copy."""
    code = cv2.COLOR_GRAY2RGB if np.ndim(bgr) == 2 else cv2.COLOR_BGR2RGB  # type: ignore[arg-type]
    return cv2.cvtColor(np.asarray(bgr, np.uint8), code).astype(np.uint8, copy=False)


def ends_early(path: Path) -> bool:
    """Whether a file is empty, or a JPEG, PNG or BMP that is cut short, without decoding it."""
    data = path.read_bytes()
    return not data or _ends_early(data)


def _ends_early(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker (OpenCV would fill in the rest and say nothing), or a BMP its end."""
    if data.startswith(_JPEG):
        return not _jpeg_is_complete(data)
    if data.startswith(b"BM"):
        return len(data) < int.from_bytes(data[2:6], "little")
    return data.startswith(_PNG) and b"IEND\xaeB`\x82" not in data


def _jpeg_is_complete(data: bytes) -> bool:
    """Walks the markers of a JPEG (ITU-T T.81, annex B) until the end of the first picture."""
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker == 0xD9:  # EOI
            return True
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # stuffing, fill, restart: no length follows
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
