"""Picture files made by program: whole, odd and damaged. Encoders are Pillow's and OpenCV's, or written out here."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import PIL.Image

Chromaticities = tuple[float, float, float, float, float, float]  # x, y of red, green and blue; white is D65's

SRGB: Chromaticities = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
DISPLAY_P3: Chromaticities = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
ADOBE_RGB: Chromaticities = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
ORIENTATION = 0x0112


def _picture() -> np.ndarray:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (6, 8, 3)).astype(np.float32)
    smooth = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
    return (smooth + random.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


RGB = _picture()
GREY = np.ascontiguousarray(RGB[:, :, 1])
THREE_GREYS = np.repeat(GREY[:, :, None], 3, axis=2)


def saved(pixels: np.ndarray | PIL.Image.Image, form: str, **options: Any) -> bytes:
    """What Pillow writes."""
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str, *parameters: int) -> bytes:
    """What OpenCV writes of RGB, RGBA or grey pixels."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[-1]) if pixels.ndim == 3 else None
    ordered = pixels if order is None else np.ascontiguousarray(pixels[:, :, order])
    return bytes(cv2.imencode(suffix, ordered, list(parameters))[1])


def cmyk_jpeg(pixels: np.ndarray, quality: int = 95, **options: Any) -> bytes:
    """A CMYK JPEG as Adobe's programs write it, inverted and said so; Pillow writes the same."""
    return saved(PIL.Image.fromarray(pixels).convert("CMYK"), "JPEG", quality=quality, **options)


def exif(**tags: int) -> PIL.Image.Exif:
    """EXIF data with an orientation."""
    data = PIL.Image.Exif()
    data[ORIENTATION] = tags["orientation"]
    return data


# Damage


def hole_of_zeros(data: bytes, at: float = 0.5, length: int = 400) -> bytes:
    start = int(len(data) * at)
    return data[:start] + bytes(length) + data[start + length :]


def hole_removed(data: bytes, at: float = 0.5, length: int = 300) -> bytes:
    start = int(len(data) * at)
    return data[:start] + data[start + length :]


# JPEG


def scan_starts(jpeg: bytes) -> list[int]:
    """Where the SOS markers stand; in coded data no 0xFF is followed by 0xDA."""
    return [at for at in range(len(jpeg) - 1) if jpeg[at : at + 2] == b"\xff\xda"]


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """The JPEG with a segment directly behind its start."""
    return jpeg[:2] + bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def restarts(jpeg: bytes) -> list[int]:
    """Where the restart markers stand."""
    start = scan_starts(jpeg)[0]
    return [at for at in range(start, len(jpeg) - 1) if jpeg[at] == 0xFF and 0xD0 <= jpeg[at + 1] <= 0xD7]


# PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """The PNG with chunks directly behind its IHDR."""
    return png[:33] + b"".join(chunk(*one) for one in chunks) + png[33:]


def gamma_chunk(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


def primaries_chunk(primaries: Chromaticities) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in (*D65, *primaries)))


def clear_png(row: np.ndarray, bits: int, clear: np.ndarray) -> bytes:
    """A PNG of one row, (W,) grey or (W, 3), of samples of 1 to 16 bits, one of which is clear (tRNS)."""
    samples = row.reshape(-1)
    packed = np.packbits((samples[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()
    header = struct.pack(">IIBBBBB", len(row), 1, bits, 0 if row.ndim == 1 else 2, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"tRNS", np.atleast_1d(clear).astype(">u2").tobytes()),
        (b"IDAT", zlib.compress(b"\0" + packed)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is of this size, and holds a few bytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


# TIFF


class Page(NamedTuple):
    """One picture of a TIFF.

    Attributes:
        values: (H, W) or (H, W, C); stored as they are, in the file's byte order.
        tags: further tags, or other values for those that are written anyhow.
        compress: of a strip's bytes; None stores them as they are. `compression` is how the file numbers it.
        strips: how many to part the rows into.
        below: pages that this one names as its own (SubIFDs).
    """

    values: np.ndarray
    tags: Mapping[int, int | bytes | tuple[int, ...]] = {}
    compress: Callable[[bytes], bytes] | None = None
    compression: int = 8
    strips: int = 1
    below: tuple[Page, ...] = ()


def tiff(*pages: Page, order: str = "<", big: bool = False, loop: bool = False) -> bytes:
    """A TIFF of these pages; with `loop`, the last one names the first as the next."""
    file = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42))
    file += struct.pack(f"{order}HHQ", 8, 0, 0) if big else bytes(4)
    pointer = 8 if big else 4
    first = None
    for page in pages:
        start, following = _append(file, page, order, big)
        struct.pack_into(f"{order}{'Q' if big else 'I'}", file, pointer, start)
        first, pointer = first or start, following
    if loop:
        struct.pack_into(f"{order}{'Q' if big else 'I'}", file, pointer, first)
    return bytes(file)


def _append(file: bytearray, page: Page, order: str, big: bool) -> tuple[int, int]:
    """Writes a page; where its directory is, and where that names the next."""
    values = page.values
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    rows = -(-height // page.strips)
    offsets, lengths = list[int](), list[int]()
    for top in range(0, height, rows):
        strip = values[top : top + rows].astype(values.dtype.newbyteorder(order)).tobytes()
        strip = page.compress(strip) if page.compress else strip
        offsets.append(len(file))
        lengths.append(len(strip))
        file += strip
    tags: dict[int, int | bytes | tuple[int, ...]] = {
        256: width,
        257: height,
        258: (values.dtype.itemsize * 8,) * channels,
        259: page.compression if page.compress else 1,
        262: 2 if channels >= 3 else 1,
        273: tuple(offsets),
        277: channels,
        278: rows,
        279: tuple(lengths),
        **page.tags,
    }
    if channels > 3 and 338 not in tags and tags[262] == 2:
        tags[338] = (0,) * (channels - 3)
    if page.below:
        tags[330] = tuple(_append(file, one, order, big)[0] for one in page.below)
    room, entries = (8 if big else 4), b""
    for tag, value in sorted(tags.items()):
        many = (value,) if isinstance(value, int) else value
        kind, form = (7, "B") if isinstance(value, bytes) else (3, "H") if max(many) < 1 << 16 else (4, "I")
        if tag in (256, 257, 273, 279, 330):
            kind, form = 4, "I"
        body = struct.pack(f"{order}{len(many)}{form}", *many)
        if len(body) > room:
            file += bytes(len(file) % 2)
            place = struct.pack(f"{order}{'Q' if big else 'I'}", len(file))
            file += body
        else:
            place = body.ljust(room, b"\0")
        entries += struct.pack(f"{order}HH{'Q' if big else 'I'}", tag, kind, len(many)) + place
    file += bytes(len(file) % 2)
    start = len(file)
    file += struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + entries + bytes(room)
    return start, len(file) - room


def deflated(values: np.ndarray, strips: int = 4, **tags: Any) -> bytes:
    """A TIFF with strips of deflate data."""
    return tiff(Page(values, compress=zlib.compress, strips=strips, **tags))


# Colour


def to_light(samples: np.ndarray) -> np.ndarray:
    """From 8-bit sRGB (IEC 61966-2-1)."""
    v = samples / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def from_light(light: np.ndarray) -> np.ndarray:
    """To sRGB in 0-1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(0, None) ** (1 / 2.4) - 0.055)


def to_xyz(primaries: Chromaticities, white: tuple[float, float] = D65) -> np.ndarray:
    """The matrix from light of these colours to XYZ."""
    xy = np.array([*primaries, *white]).reshape(4, 2)
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy[:, 0] - xy[:, 1]) / xy[:, 1]])
    return np.asarray(xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3]))


def in_space(rgb: np.ndarray, primaries: Chromaticities, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """8-bit sRGB as samples in 0-1 of another colour space, whose `curve` leads from light to samples."""
    light = to_light(rgb) @ (np.linalg.inv(to_xyz(primaries)) @ to_xyz(SRGB)).T
    return curve(light.clip(0, 1))


def bytes_of(samples: np.ndarray) -> np.ndarray:
    """Samples in 0-1 as 8 bits."""
    return (samples * 255).round().astype(np.uint8)


P3 = bytes_of(in_space(RGB, DISPLAY_P3, from_light))


def rgb_profile(primaries: Chromaticities) -> bytes:
    """An ICC profile (version 2) of three colours and sRGB's curve."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    whites = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in (D65, D50)]
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ whites[1]) / (bradford @ whites[0])) @ bradford
    columns = (adapt @ to_xyz(primaries)).T
    curve = _curve((to_light(np.arange(1024) / 1023 * 255) * 65535).round().astype(">u2"))
    tags = {b"wtpt": _xyz(whites[1])}
    for name, column in zip(b"rgb", columns, strict=True):
        tags[bytes([name]) + b"XYZ"] = _xyz(column)
        tags[bytes([name]) + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey, whose light is the sample to the power of `gamma`."""
    white = np.array([D50[0] / D50[1], 1, (1 - D50[0] - D50[1]) / D50[1]])
    return _profile(b"GRAY", {b"wtpt": _xyz(white), b"kTRC": _curve(np.array([round(gamma * 256)], ">u2"))})


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _curve(values: np.ndarray) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">I", values.size) + values.tobytes()


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"made by program\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78), **tags}
    tags[b"cprt"] = b"text\0\0\0\0" + text
    place, table, bodies = 132 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        table += name + struct.pack(">II", place + len(bodies), len(body))
        bodies += padded
    size = place + len(bodies)
    head = struct.pack(">I4sI4s4s4s", size, b"", 0x02100000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + bodies


# ISO boxes: AVIF and JPEG 2000


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def with_profile_box(jp2: bytes, profile: bytes) -> bytes:
    """The JPEG 2000 with its colour box replaced by one that holds an ICC profile."""
    header = jp2.find(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", jp2, header)
    body = jp2[header + 8 : header + length]
    at = body.find(b"colr") - 4
    (old,) = struct.unpack_from(">I", body, at)
    body = body[:at] + box(b"colr", b"\x02\0\0" + profile) + body[at + old :]
    return jp2[:header] + box(b"jp2h", body) + jp2[header + length :]


def with_depth(jp2: bytes, depth: int, components: int) -> bytes:
    """The JPEG 2000 with another depth in its headers; its samples have to be coded about the middle of its own."""
    data = bytearray(jp2)
    data[data.find(b"ihdr") + 14] = depth - 1
    size = data.find(b"\xff\x4f\xff\x51")
    for component in range(components):
        data[size + 42 + 3 * component] = depth - 1
    return bytes(data)
