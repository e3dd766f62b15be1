"""What kind of file it is, by its first bytes: a suffix may say anything."""

from __future__ import annotations

from typing import Literal, NamedTuple

HEAD_BYTES = 512  # of a file are enough to tell its format

Family = Literal["picture", "raw", "video", "other"]


class Format(NamedTuple):
    """A file format.

    Attributes:
        name: as people call it, such as "JPEG".
        family: "picture": read here, HEIF and JPEG XL where their extra is installed; "raw": of a camera's sensor;
            "video"; "other": known, but nothing that is scored.
    """

    name: str
    family: Family


JPEG = Format("JPEG", "picture")
PNG = Format("PNG", "picture")
GIF = Format("GIF", "picture")
BMP = Format("BMP", "picture")
TIFF = Format("TIFF", "picture")
WEBP = Format("WebP", "picture")
JPEG2000 = Format("JPEG 2000", "picture")
PNM = Format("PNM", "picture")
AVIF = Format("AVIF", "picture")
HEIF = Format("HEIF", "picture")
JPEGXL = Format("JPEG XL", "picture")
RAW = Format("camera raw", "raw")

# Suffixes that cameras give to TIFF containers of raw data.
_RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .dcr .dng .erf .fff .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef .rw2 .rwl .sr2 .srf .srw"
    " .x3f".split()
)
_VIDEO: Family = "video"
_PREFIXES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"IIU\x00", RAW),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"FOVb", RAW),
    (b"\x00MRM", RAW),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", JPEG2000),
    (b"\xff\x4f\xff\x51", JPEG2000),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", JPEGXL),
    (b"\xff\x0a", JPEGXL),
    (b"8BPS", Format("Photoshop", "other")),
    (b"%PDF", Format("PDF", "other")),
    (b"%!PS", Format("PostScript", "other")),
    (b"\x76\x2f\x31\x01", Format("OpenEXR", "other")),
    (b"#?RADIANCE", Format("Radiance HDR", "other")),
    (b"\x00\x00\x01\x00", Format("icon", "other")),
    (b"icns", Format("icon", "other")),
    (b"\x1aE\xdf\xa3", Format("Matroska", _VIDEO)),
    (b"FLV\x01", Format("Flash video", _VIDEO)),
    (b"0&\xb2u\x8ef\xcf\x11", Format("Windows Media", _VIDEO)),
    (b"\x00\x00\x01\xba", Format("MPEG", _VIDEO)),
    (b"\x00\x00\x01\xb3", Format("MPEG", _VIDEO)),
)
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_BMP_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))


def identify(head: bytes, suffix: str = "") -> Format | None:
    """The format of a file, None where it is none that is known.

    Args:
        head: its first `HEAD_BYTES` bytes, or fewer.
        suffix: of its name, such as ".NEF": most raw files are TIFF containers, told apart by this alone.
    """
    found = _by_content(head)
    if found is TIFF and (head[8:10] == b"CR" or suffix.lower() in _RAW_SUFFIXES):
        return RAW
    return found


def _by_content(head: bytes) -> Format | None:
    for prefix, form in _PREFIXES:
        if head.startswith(prefix):
            return form
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"AVI ": Format("AVI", _VIDEO)}.get(head[8:12])
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b"\t\n\v\f\r #" and len(head) > 2:
        return PNM
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return Format("MPEG transport stream", _VIDEO)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<svg", b"<?xml")) and b"<svg" in head:
        return Format("SVG", "other")
    return None


def _iso_media(head: bytes) -> Format:
    """By the brands of an ISO base media file (ISO/IEC 14496-12, 4.3): the major one, then the compatible ones."""
    length = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)) - 3, 4))]
    if brands[0] == b"crx ":
        return RAW
    for brand in brands:
        if brand in (b"avif", b"avis"):
            return AVIF
        if brand in _HEIF_BRANDS:
            return HEIF
    if brands[0] in (b"mif1", b"msf1", b"mif2"):
        return HEIF
    return Format("MP4", _VIDEO)
