"""TIFF: finds the picture among previews, reduced copies and further pages (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images.jpeg import require_whole as require_whole_jpeg

RAW_ADVICE = (
    "raw data of a camera, which need developing first; score the JPEG of the same shot, or its embedded preview: "
    "exiftool -b -PreviewImage FILE > preview.jpg"
)
_MAX_DIRECTORIES, _MAX_ENTRIES, _MAX_VALUES = 4096, 4096, 1 << 20
_MAX_NUMBERS = 1 << 22  # in all directories; they may lie on one another, so that a small file has very many
_WIDTH, _HEIGHT, _SUBFILE, _OLD_SUBFILE, _BITS, _PHOTOMETRIC, _SUB_DIRECTORIES = 256, 257, 254, 255, 258, 262, 330
_COMPRESSION, _PLANAR, _SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES = 259, 284, 277, 339, 347
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_PARTS = (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES)
_LAYOUT = (_COMPRESSION, _PLANAR, _SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES, _BITS, _PHOTOMETRIC)
_READ = frozenset((_WIDTH, _HEIGHT, _SUBFILE, _OLD_SUBFILE, _SUB_DIRECTORIES, *_LAYOUT, *_PARTS))
_DEFLATE, _JPEG, _LZW = (8, 32946), 7, 5
_LZW_HOLE = 32  # bytes of zeros; coded data do not repeat a code
_NUMBERS = {2: "int", 3: "float", 5: "complex int", 6: "complex float"}
_SENSOR = (32803, 34892)  # photometric interpretations of camera raw: colour filter array, linear raw
_SIZES = {1: 1, 3: 2, 4: 4, 7: 1, 13: 4, 16: 8, 18: 8}
_FORMS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}


class Directory(NamedTuple):
    """One picture in the file.

    Attributes:
        offset: of its directory, in bytes.
        width, height: in pixels.
        reduced: whether it is said to be a smaller copy, or a mask, of another.
        bits: of its first sample.
        photometric: how samples are to be read; 0 is grey with white at 0.
        apart: whether each channel is stored as a picture of its own.
        numbers: what samples are: uint, int or float.
        compression: as the file numbers it.
        parts: offset and length in bytes of each strip or tile.
        tables: what the JPEG data of all parts share, b"" where there is nothing.
    """

    offset: int
    width: int
    height: int
    reduced: bool
    bits: int
    photometric: int
    apart: bool
    numbers: str
    compression: int
    parts: tuple[tuple[int, int], ...]
    tables: bytes


class Found(NamedTuple):
    """The file's picture.

    Attributes:
        data: the file with that picture first.
        directory: what is known of it.
        further: how many more pages there are.
    """

    data: bytes
    directory: Directory
    further: int


def full_picture(data: bytes) -> Found:
    """Puts the full picture first: not a preview that stands before it, but the first of several pages.

    Raises:
        ImageError: the directories cannot be read, or the picture is a camera's raw data.
    """
    try:
        layout = _Layout(data)
        chain, below = layout.directories()
    except (struct.error, IndexError, OverflowError) as error:
        raise ImageError("the picture is cut short or damaged (TIFF directory); copy it again") from error
    chain, below = ([d for d in some if d.width and d.height] for some in (chain, below))
    everything = [*chain, *below]
    if any(d.photometric in _SENSOR for d in everything):
        raise ImageError(RAW_ADVICE)
    if not everything:
        raise ImageError("holds no picture; copy it again from its source")
    pages, inside = ([d for d in some if not d.reduced] for some in (chain, below))
    first = pages[0] if pages else max(everything, key=_area)
    copies = [d for d in (*pages, *inside) if _is_larger_copy(d, first)]
    chosen = max(copies, key=_area, default=first)
    if chosen.numbers != "uint" or chosen.bits > 16:
        kind = f"{chosen.numbers}{chosen.bits}"
        raise ImageError(f"holds {kind} samples; convert it to 8 or 16 bits with the tone mapping you want")
    if chosen.apart and chosen.bits > 8:  # Pillow and OpenCV take such for noise
        raise ImageError(f"holds channels of {chosen.bits} bits stored apart; convert it to PNG")
    further = [d for d in pages if d is not chosen and not _is_larger_copy(chosen, d)]
    return Found(layout.starting_at(chosen.offset), chosen, len(further))


def require_whole(data: bytes, directory: Directory) -> None:
    """Raises `ImageError` for damage that a decoder of TIFF does not look for: checksums, JPEG data that break off."""
    for offset, length in directory.parts:
        part = data[offset : offset + length]
        if directory.compression in _DEFLATE:
            _check_deflate(part)
        elif directory.compression == _JPEG and part[:2] == b"\xff\xd8":
            require_whole_jpeg(directory.tables[:-2] + part[2:] if directory.tables else part)
        elif directory.compression == _LZW and bytes(_LZW_HOLE) in part:
            raise ImageError("the picture is damaged (a hole of zeros); copy it again from its source")


def _check_deflate(part: bytes) -> None:
    decoder, rest = zlib.decompressobj(), part
    try:
        while rest and not decoder.eof:
            decoder.decompress(rest, 1 << 20)
            rest = decoder.unconsumed_tail
    except zlib.error as error:
        raise ImageError(f"the picture is damaged or cut short ({error}); copy it again from its source") from error
    if not decoder.eof:
        raise ImageError("the picture is cut short (a strip is incomplete); copy it again from its source")


def _area(directory: Directory) -> int:
    return directory.width * directory.height


def _is_larger_copy(one: Directory, other: Directory) -> bool:
    """Whether `one` shows what `other` does in more pixels: sides at least 1.5 times as long, and the same shape."""
    across, down = one.width / other.width, one.height / other.height
    return across >= 1.5 and abs(across / down - 1) <= 1.5 / min(other.width, other.height) + 0.01


class _Layout:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = data[2:4] in (b"+\x00", b"\x00+")
        self.left = _MAX_NUMBERS

    def starting_at(self, offset: int) -> bytes:
        """The file, with another of its directories named first."""
        at, form = (8, "Q") if self.big else (4, "I")
        head = struct.pack(f"{self.order}{form}", offset)
        return self.data[:at] + head + self.data[at + len(head) :]

    def directories(self) -> tuple[list[Directory], list[Directory]]:
        """Those of the chain, and those that they name as belonging to them."""
        chain, below, seen = list[Directory](), list[Directory](), set[int]()
        (offset,) = self._numbers("Q" if self.big else "I", 8 if self.big else 4, 1)
        while offset and offset not in seen and len(seen) < _MAX_DIRECTORIES:
            seen.add(offset)
            directory, inside, following = self._directory(offset)
            chain.append(directory)
            for other in inside:
                if other and other not in seen and len(seen) < _MAX_DIRECTORIES:
                    seen.add(other)
                    below.append(self._directory(other)[0])
            offset = following
        return chain, below

    def _directory(self, offset: int) -> tuple[Directory, tuple[int, ...], int]:
        count_form, count_size, entry_size, pointer = ("Q", 8, 20, "Q") if self.big else ("H", 2, 12, "I")
        (count,) = self._numbers(count_form, offset, 1)
        count = min(count, _MAX_ENTRIES)
        at, values = offset + count_size, dict[int, tuple[int, ...]]()
        for entry in range(at, at + count * entry_size, entry_size):
            tag, kind = self._numbers("H", entry, 2)
            if tag in _READ and tag not in values:
                values[tag] = self._values(entry, kind)
        end = at + count * entry_size
        try:
            (following,) = self._numbers(pointer, end, 1)
        except struct.error:
            following = 0
        offsets = values.get(_STRIPS, values.get(_TILES, ()))
        lengths = values.get(_STRIP_BYTES, values.get(_TILE_BYTES, ()))
        one = {tag: v[0] for tag, v in values.items() if v}
        directory = Directory(
            offset,
            one.get(_WIDTH, 0),
            one.get(_HEIGHT, 0),
            bool(one.get(_SUBFILE, 0) & 5) or one.get(_OLD_SUBFILE) == 2,
            one.get(_BITS, 1),
            one.get(_PHOTOMETRIC, -1),
            one.get(_PLANAR) == 2 and one.get(_SAMPLES, 1) > 1,
            _NUMBERS.get(one.get(_SAMPLE_FORMAT, 1), "uint"),
            one.get(_COMPRESSION, 1),
            tuple(zip(offsets, lengths, strict=False)),
            bytes(n & 0xFF for n in values.get(_JPEG_TABLES, ())),
        )
        return directory, values.get(_SUB_DIRECTORIES, ()), following

    def _values(self, entry: int, kind: int) -> tuple[int, ...]:
        if kind not in _SIZES:
            return ()
        (count,) = self._numbers("Q" if self.big else "I", entry + 4, 1)
        count, at, room = min(count, _MAX_VALUES), entry + (12 if self.big else 8), 8 if self.big else 4
        if count * _SIZES[kind] > room:
            (at,) = self._numbers("Q" if self.big else "I", at, 1)
        return self._numbers(_FORMS[kind], at, count)

    def _numbers(self, form: str, at: int, count: int) -> tuple[int, ...]:
        self.left -= count
        if self.left < 0:
            raise IndexError
        return struct.unpack_from(f"{self.order}{count}{form}", self.data, at)
