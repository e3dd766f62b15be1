"""Decodes a picture file to what a viewer shows of it, in 8-bit sRGB, and refuses one that is broken or cut short."""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ExifTags

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import formats, jpeg2000, tiff
from lifeiqa.runtime.images.formats import Format
from lifeiqa.runtime.images.jpeg import NO_END
from lifeiqa.runtime.images.samples import (
    decoder_errors,
    encoding_of,
    exif_value,
    in_srgb,
    jpeg_samples,
    profile_of,
    samples_of,
)
from lifeiqa.runtime.limits import MAX_PIXELS

# By name alone, for tools that make or gather pictures; whatever is scored is told by its content.
IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .gif .heic .heif .j2k .jfif .jp2 .jpe .jpeg .jpg .jxl .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
PLUGINS = {  # Pillow's names; of what it reads, these formats alone: others have a history of faults, or no signature
    formats.JPEG: "JPEG",
    formats.PNG: "PNG",
    formats.GIF: "GIF",
    formats.BMP: "BMP",
    formats.TIFF: "TIFF",
    formats.WEBP: "WEBP",
    formats.JPEG2000: "JPEG2000",
    formats.PNM: "PPM",
    formats.AVIF: "AVIF",
    formats.HEIF: "HEIF",
    formats.JPEGXL: "JXL",
}
EXTRA_READERS = {  # module and package: HEIF needs licences in some countries, JPEG XL is rare
    formats.HEIF: ("pillow_heif", "pillow-heif"),
    formats.JPEGXL: ("pillow_jxl", "pillow-jxl-plugin"),
}
_LIMIT_LOCK = threading.Lock()


@dataclass(frozen=True)
class Image:
    """A decoded picture.

    Attributes:
        pixels: (H, W, 3) uint8 sRGB, upright.
        note: what had to be changed to get there (depth, channels, transparency), what is odd about the file, and what
            of it was not looked at; or None.
    """

    pixels: UInt8Array
    note: str | None = None


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Image:
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
    return decode_image(data, max_pixels, path.suffix)


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, suffix: str = "") -> Image:
    """Decodes an encoded picture.

    The orientation that the file declares is applied; samples of any depth and range are brought to 8 bits; profiles
    and gamma are converted to sRGB; grey is repeated over the channels; transparency is laid on white. Of several
    pages or frames the first is taken, and the full picture where a preview stands before it.

    Args:
        data: the whole file.
        max_pixels: a picture of more is refused before it is decoded.
        suffix: of its name; most camera raw files are told by it alone.

    Raises:
        ImageError: the data is empty, is no picture, too large, damaged, or ends before the picture does.
    """
    if not data:
        raise ImageError("the file is empty; copy it again from its source")
    form = formats.identify(data[: formats.HEAD_BYTES], suffix)
    if form is None or form.family in ("video", "other"):
        kind = "not a picture" if form is None else f"{form.name}, not a picture"
        raise ImageError(f"{kind} that can be read; convert it to PNG or JPEG")
    if form == formats.RAW:
        raise ImageError(tiff.RAW_ADVICE)
    try:
        return _decode(data, form, max_pixels)
    except MemoryError:
        raise ImageError("does not fit into memory; score a smaller copy") from None


def _decode(data: bytes, form: Format, max_pixels: int) -> Image:
    notes = list[str | None]()
    page = None
    if form is formats.TIFF:
        data, page, further = tiff.full_picture(data)
    elif form is formats.JPEG2000:
        jpeg2000.require_no_hole(data)
    elif form is formats.PNG and b"IEND" not in data[-1024:] and b"IEND" not in data:
        notes.append(NO_END)
    with _opened(data, form) as picture:
        if picture.width * picture.height > max_pixels:
            raise ImageError(
                f"{picture.width}x{picture.height} pixels are more than the {max_pixels / 1e6:g} million allowed; "
                "score a smaller copy, or raise --max-pixels"
            )
        if page is not None:
            tiff.require_whole(data, page)
        if form is formats.JPEG:
            samples, note = jpeg_samples(data, picture)
            notes.append(note)
        with decoder_errors(form):
            if page is None:
                further = getattr(picture, "n_frames", 1) - 1
            if form is not formats.JPEG:
                picture.load()
                samples = samples_of(picture, data, form, page)
            turn = exif_value(picture, ExifTags.Base.Orientation) or 1
            encoding = encoding_of(picture, data, form)
        if further > 0:
            notes.append(f"{further} more pages or frames not looked at")
        profile = profile_of(picture, data, form)
    if samples.values.dtype == np.uint16:
        notes.append("16 bits reduced to 8")
    values, note = in_srgb(samples, encoding, profile)
    notes.append(note)
    if samples.alpha is not None and samples.alpha.min() < 255:
        values = laid_on_white(values, samples.alpha)
        notes.append("transparency laid on white")
    if is_grey(values):
        notes.append("grey")
        values = np.broadcast_to(values[:, :, :1], (*values.shape[:2], 3))
    return Image(np.ascontiguousarray(_upright(values, turn)), "; ".join(filter(None, notes)) or None)


@contextmanager
def _opened(data: bytes, form: Format) -> Iterator[PIL.Image.Image]:
    """The file with its header read. Raises `ImageError` where that is broken, or its reader is not installed."""
    if form in EXTRA_READERS:
        register(form)
    with decoder_errors(form), _without_pillows_limit():
        picture = PIL.Image.open(io.BytesIO(data), formats=[PLUGINS[form]])
    with picture:
        yield picture


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow's own limit on pixels is for the whole process, and an error only from twice its value on."""
    with _LIMIT_LOCK:
        before, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = before


def register(form: Format) -> None:
    """Makes Pillow know a format of `EXTRA_READERS`. Raises `ImageError` where its package is not installed."""
    module, package = EXTRA_READERS[form]
    try:
        reader = importlib.import_module(module)
    except ImportError:
        raise ImageError(f"{form.name}, which needs another package: pip install {package}") from None
    if module == "pillow_heif":
        reader.register_heif_opener()


def _upright(values: UInt8Array, turn: int) -> UInt8Array:
    """Applies an EXIF orientation, 1 to 8; any other is none."""
    if turn in (5, 6, 7, 8):
        values = values.transpose(1, 0, 2)
    if turn in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if turn in (2, 3, 6, 7) else values


def laid_on_white(values: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    """(H, W, C) where `alpha`, (H, W, 1), is 255, white where it is 0."""
    share = alpha.astype(np.float32) / 255.0
    return np.asarray(values * share + 255.0 * (1.0 - share)).round().astype(np.uint8)


def is_grey(values: UInt8Array) -> bool:
    """Whether all channels of (H, W, C) are the same."""
    if values.shape[2] == 1:
        return True
    for part in (values[::16, ::16], values):  # a look at some is enough for nearly all pictures with colour
        if (part[:, :, 0] != part[:, :, 1]).any() or (part[:, :, 1] != part[:, :, 2]).any():
            return False
    return True
