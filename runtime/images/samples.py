"""From what a decoder gives to samples of 8 or 16 bits with a colour space, whatever the file's mode."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ExifTags

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import formats
from lifeiqa.runtime.images.color import (
    ADOBE_RGB_GAMMA,
    ADOBE_RGB_PRIMARIES,
    Encoding,
    coded_encoding,
    from_lab,
    png_encoding,
    power,
    to_srgb,
    with_profile,
)
from lifeiqa.runtime.images.formats import Format
from lifeiqa.runtime.images.jpeg import ColorSpace, decode_jpeg
from lifeiqa.runtime.images.jpeg2000 import codestream, icc_profile
from lifeiqa.runtime.images.tiff import Directory
from lifeiqa.runtime.opencv import cv2

_JPEG_SPACES: dict[str, ColorSpace] = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_PROCESS_LOCK = threading.RLock()
_TRUNCATED = (  # as decoders say it; the last is WebP's
    *("truncated", "cut short", "not enough", "data stream", "unexpected end"),
    *("decoder error -2", "could not create decoder object"),
)


class Samples(NamedTuple):
    """A decoded picture, not yet upright.

    Attributes:
        values: (H, W, C), uint8 or uint16 over their whole range.
        mode: Pillow's name of the colours, L, RGB, CMYK or LAB.
        alpha: (H, W, 1) uint8, opaque at 255; None where there is none.
    """

    values: UInt8Array | npt.NDArray[np.uint16]
    mode: str
    alpha: UInt8Array | None = None


@contextmanager
def decoder_errors(form: Format | None = None) -> Iterator[None]:
    """What a decoder raises becomes an `ImageError`, what it warns of is nobody's concern here.

    Args:
        form: of what is decoded; libtiff alone writes to standard error, which is closed to it meanwhile.

    One thread at a time: warnings and standard error are the whole process's.
    """
    try:
        with _PROCESS_LOCK, warnings.catch_warnings(), _silence() if form is formats.TIFF else nullcontext():
            warnings.simplefilter("ignore")
            yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a dozen decoders raise whatever they meet
        text = _reason(error)
        if any(words in text.lower() for words in _TRUNCATED):
            raise ImageError(f"the picture is damaged or cut short ({text}); copy it again from its source") from error
        advice = "copy it again from its source, or convert it to PNG or JPEG"
        raise ImageError(f"cannot be decoded ({text}); {advice}") from error


def _reason(error: Exception) -> str:
    """One line on what a decoder met."""
    if isinstance(error, PIL.UnidentifiedImageError):  # its message names an object in memory
        return "its header is damaged, or of a kind that is not read"
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


@contextmanager
def _silence() -> Iterator[None]:
    """Sends what is written to the file descriptor of standard error nowhere."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def jpeg_samples(data: bytes, picture: PIL.Image.Image) -> tuple[Samples, str | None]:
    """A JPEG's samples and a note, or None. `picture` has its header."""
    mode = picture.mode if picture.mode in _JPEG_SPACES else "RGB"
    values, note = decode_jpeg(data, _JPEG_SPACES[mode])
    if mode == "CMYK" and "adobe" in picture.info:
        values = 255 - values  # Adobe's are inverted
    return Samples(values, mode), note


def samples_of(picture: PIL.Image.Image, data: bytes, form: Format, page: Directory | None) -> Samples:
    """The samples of a loaded picture.

    Args:
        picture: of any format but JPEG.
        data: its file.
        form: its format.
        page: of a TIFF, its directory.

    Raises:
        ImageError: it has samples of floating point, or of more than 16 bits.
    """
    mode = picture.mode
    if mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.uint16)[:, :, None]
        if page is not None and page.bits < 16:  # Pillow leaves 12 bits as they are
            values = (values * (65535 / ((1 << page.bits) - 1))).round().astype(np.uint16)
        values = 65535 - values if page is not None and page.photometric == 0 else values
        return Samples(values, "L", _keyed(picture, values))
    if mode == "I" and form in (formats.PNG, formats.PNM):
        values = np.asarray(picture).clip(0, 65535).astype(np.uint16)[:, :, None]
        return Samples(values, "L", _keyed(picture, values))
    if mode in ("I", "F"):
        raise ImageError(
            f"holds {'float32' if mode == 'F' else 'int32'} samples; convert it to 8 or 16 bits with the tone mapping "
            "you want"
        )
    if mode in ("CMYK", "LAB"):
        return Samples(np.asarray(picture), mode)
    depth = _depth(data, form, page)
    if picture.has_transparency_data:
        if form is formats.PNG and mode == "L" and depth < 8:  # Pillow spreads the samples, but not the clear one
            picture.info["transparency"] *= 255 // ((1 << depth) - 1)
        both = np.asarray(picture.convert("LA" if mode in ("1", "L", "LA", "La") else "RGBA"))
        found = Samples(both[:, :, :-1], "L" if both.shape[2] == 2 else "RGB", both[:, :, -1:])
        return _deep(data, found, 16) if depth == 16 else found
    values = np.asarray(picture.convert("L" if mode in ("1", "L") else "RGB"))
    values = values.reshape(*values.shape[:2], -1)
    if form is formats.JPEG2000 and depth < 8:  # the decoder shifts them up
        values = (values.astype(np.float32) * (255 / (((1 << depth) - 1) << (8 - depth)))).round().astype(np.uint8)
    found = Samples(values, "L" if values.shape[2] == 1 else "RGB")
    return _deep(data, found, depth if form is formats.JPEG2000 else 16) if depth > 8 else found


def _keyed(picture: PIL.Image.Image, values: npt.NDArray[np.uint16]) -> UInt8Array | None:
    """What one sample of grey that is clear says of alpha (PNG's tRNS, 11.3.2.1); None where there is none."""
    key = picture.info.get("transparency")
    return np.where(values == key, 0, 255).astype(np.uint8) if isinstance(key, int) else None


def _depth(data: bytes, form: Format, page: Directory | None) -> int:
    """Bits of a sample in the file; 8 where they need no care."""
    if form is formats.JPEG2000:
        return codestream(data).depth
    return data[24] if form is formats.PNG else page.bits if page is not None else 8


def encoding_of(picture: PIL.Image.Image, data: bytes, form: Format) -> Encoding | None:
    """What the file says of its colours other than by a profile; None for sRGB, and where a profile counts more."""
    if form is formats.PNG:
        codes = _png_codes(data)
        if codes is not None:
            return coded_encoding(*codes)
        if "icc_profile" in picture.info or "srgb" in picture.info:
            return None
        points = picture.info.get("chromaticity")
        return png_encoding(picture.info.get("gamma"), None if points is None else (*points[2:], *points[:2]))
    if "icc_profile" in picture.info:
        return None
    if form in (formats.AVIF, formats.HEIF):
        at = data.find(b"colrnclx")
        if 0 <= at <= len(data) - 12:
            return coded_encoding(*(int(code) for code in np.frombuffer(data[at + 8 : at + 12], ">u2")))
        return None
    uncalibrated = exif_value(picture, ExifTags.Base.ColorSpace, ExifTags.IFD.Exif) == 0xFFFF
    adobe = uncalibrated and exif_value(picture, 1, ExifTags.IFD.Interop) == "R03"  # DCF 2.0
    return power(ADOBE_RGB_GAMMA, ADOBE_RGB_PRIMARIES) if adobe else None


def exif_value(picture: PIL.Image.Image, tag: int, directory: int | None = None) -> Any:
    """A value of the Exif block; None where it has no such, or cannot be read: the pixels are none the worse."""
    try:
        exif = picture.getexif()
        return (exif if directory is None else exif.get_ifd(directory)).get(tag)
    except Exception:  # a dozen types, for a block of any bytes
        return None


def profile_of(picture: PIL.Image.Image, data: bytes, form: Format) -> bytes | None:
    """The file's ICC profile; None where it has none, and where code points count more (PNG, 11.3.2.6)."""
    if form is formats.JPEG2000:
        return icc_profile(data)
    if form is formats.PNG and _png_codes(data) is not None:
        return None
    return picture.info.get("icc_profile")


def _png_codes(data: bytes) -> tuple[int, int] | None:
    """Primaries and transfer of a PNG's cICP, None where it has none."""
    head = data[: data.find(b"IDAT")]
    at = head.find(b"cICP")
    return (head[at + 4], head[at + 5]) if 0 <= at <= len(head) - 8 else None


def in_srgb(samples: Samples, encoding: Encoding | None, profile: bytes | None) -> tuple[UInt8Array, str | None]:
    """The samples as (H, W, 1 or 3) uint8 sRGB, and a note, or None."""
    if encoding is not None and samples.mode in ("L", "RGB"):
        return to_srgb(samples.values, encoding), encoding.note
    values, mode = _eight_bits(samples.values), samples.mode
    converted, note = None, None
    if profile is not None or mode not in ("L", "RGB"):
        size = (values.shape[1], values.shape[0])
        image = PIL.Image.frombuffer(mode, size, np.ascontiguousarray(values), "raw", mode, 0, 1)
        if profile is not None:
            converted, note = with_profile(image, profile)
        if converted is None and mode == "LAB":
            converted = from_lab(image)
        elif converted is None and mode == "CMYK":
            converted = image.convert("RGB")
    return values if converted is None else np.asarray(converted), note


def _eight_bits(values: UInt8Array | npt.NDArray[np.uint16]) -> UInt8Array:
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return values.astype(np.uint8, copy=False)


def _deep(data: bytes, shallow: Samples, depth: int) -> Samples:
    """The same picture with all its bits, which Pillow has of grey alone. What OpenCV reads otherwise is left as it is.

    Args:
        data: the file.
        shallow: as Pillow reads it.
        depth: bits of a sample, more than 8, at most 16.
    """
    if shallow.mode != "RGB":
        return shallow
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != shallow.values.shape[:2]:
        return shallow
    if decoded.ndim != 3 or decoded.shape[2] not in (3, 4):
        return shallow
    values = np.asarray(decoded, np.uint16)[:, :, 2::-1]
    if depth < 16:
        values = (values.astype(np.float32) * (65535 / ((1 << depth) - 1))).round().clip(0, 65535).astype(np.uint16)
    off = (values >> 8).astype(np.uint8) - shallow.values  # modulo 256: Pillow's JPEG 2000 rounds white up to black
    alpha = shallow.alpha
    if alpha is not None and decoded.shape[2] == 4:  # Pillow compares a clear colour with 8 of 16 bits
        alpha = _eight_bits(np.asarray(decoded, np.uint16)[:, :, 3:])
    return Samples(values, "RGB", alpha) if ((off + 1) <= 2).mean() > 0.99 else shallow
