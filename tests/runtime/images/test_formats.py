"""Formats are told by their first bytes; a suffix decides over camera raw alone."""

import struct

import pytest
from picture_files import RGB, Page, saved, tiff

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import decode_image, formats
from lifeiqa.runtime.images.formats import HEAD_BYTES, identify


def media(major: bytes, *compatible: bytes) -> bytes:
    """The head of an ISO base media file."""
    return struct.pack(">I", 16 + 4 * len(compatible)) + b"ftyp" + major + bytes(4) + b"".join(compatible) + b"mdat"


HEADS = [
    (b"\xff\xd8\xff\xe0", "JPEG", "picture"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "picture"),
    (b"GIF87a", "GIF", "picture"),
    (b"GIF89a", "GIF", "picture"),
    (b"BM" + bytes(12) + b"\x28\0\0\0", "BMP", "picture"),
    (b"BM" + bytes(12) + b"\x7c\0\0\0", "BMP", "picture"),
    (b"BM" + bytes(12) + b"\x0c\0\0\0", "BMP", "picture"),
    (b"II*\0\x08\0\0\0", "TIFF", "picture"),
    (b"MM\0*\0\0\0\x08", "TIFF", "picture"),
    (b"II+\0\x08\0\0\0", "TIFF", "picture"),
    (b"MM\0+\0\x08\0\0", "TIFF", "picture"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "WebP", "picture"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "picture"),
    (b"\xff\x4f\xff\x51", "JPEG 2000", "picture"),
    (b"P1\n2 2\n", "PNM", "picture"),
    (b"P5 2 2 255\n", "PNM", "picture"),
    (b"P6#made by program\n2 2 255\n", "PNM", "picture"),
    (media(b"avif", b"mif1", b"miaf"), "AVIF", "picture"),
    (media(b"avis", b"avif"), "AVIF", "picture"),
    (media(b"mif1", b"miaf", b"avif"), "AVIF", "picture"),
    (media(b"heic", b"mif1"), "HEIF", "picture"),
    (media(b"mif1", b"heic"), "HEIF", "picture"),
    (media(b"mif1", b"miaf"), "HEIF", "picture"),
    (b"\xff\x0a\xfa\x1f", "JPEG XL", "picture"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "picture"),
    (b"II*\0\x10\0\0\0CR\x02\0", "camera raw", "raw"),
    (b"IIRO\x08\0", "camera raw", "raw"),
    (b"IIU\0\x18\0", "camera raw", "raw"),
    (b"FUJIFILMCCD-RAW 0201", "camera raw", "raw"),
    (b"FOVb", "camera raw", "raw"),
    (b"\0MRM", "camera raw", "raw"),
    (media(b"crx ", b"isom"), "camera raw", "raw"),
    (media(b"isom", b"mp41"), "MP4", "video"),
    (media(b"qt  "), "MP4", "video"),
    (b"RIFF\0\0\0\0AVI LIST", "AVI", "video"),
    (b"\x1aE\xdf\xa3", "Matroska", "video"),
    (b"FLV\x01", "Flash video", "video"),
    (b"0&\xb2u\x8ef\xcf\x11", "Windows Media", "video"),
    (b"\0\0\x01\xba", "MPEG", "video"),
    ((b"G" + bytes(187)) * 3, "MPEG transport stream", "video"),
    (b"8BPS", "Photoshop", "other"),
    (b"%PDF-1.7", "PDF", "other"),
    (b"%!PS", "PostScript", "other"),
    (b"\x76\x2f\x31\x01", "OpenEXR", "other"),
    (b"#?RADIANCE\n", "Radiance HDR", "other"),
    (b"\0\0\x01\0\x01\0", "icon", "other"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'>", "SVG", "other"),
    (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg>", "SVG", "other"),
]


@pytest.mark.parametrize(("head", "name", "family"), HEADS, ids=[f"{name} {n}" for n, (_, name, _) in enumerate(HEADS)])
def test_format_is_told_by_the_first_bytes_whatever_the_suffix(head: bytes, name: str, family: str) -> None:
    for suffix in ("", ".jpg", ".txt"):
        form = identify(head, suffix)
        assert form is not None
        assert (form.name, form.family) == (name, family)
        assert identify(head.ljust(HEAD_BYTES, b"\x20"), suffix) == form


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"B",
        b"BM",
        b"BM is a firm that makes pictures and much else.",
        b"P",
        b"P5",
        b"P56 is a road.",
        b"P7\nWIDTH 2\n",
        b"P5, please.",
        b"GIF",
        b"II*",
        b"II is a numeral",
        b"MM are two",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\xff\xd8",
        b"<?xml version='1.0'?><html>",
        b"Great, text: G",
        b"a,b,c\n1,2,3\n",
        bytes(HEAD_BYTES),
    ],
)
def test_prose_and_fragments_are_no_picture(head: bytes) -> None:
    assert identify(head) is None
    with pytest.raises(ImageError, match=r"not a picture|empty"):
        decode_image(head)


@pytest.mark.parametrize("suffix", [".nef", ".NEF", ".arw", ".cr2", ".dng", ".ORF", ".rw2", ".pef", ".3fr"])
def test_suffix_of_a_camera_makes_raw_of_a_tiff_container_alone(suffix: str) -> None:
    assert identify(b"II*\0\x08\0\0\0", suffix) is formats.RAW
    assert identify(b"MM\0*\0\0\0\x08", suffix) is formats.RAW
    assert identify(b"\xff\xd8\xff\xe0", suffix) is formats.JPEG
    assert identify(b"\x89PNG\r\n\x1a\n", suffix) is formats.PNG
    with pytest.raises(ImageError, match=r"raw data of a camera.*exiftool -b -PreviewImage"):
        decode_image(tiff(Page(RGB)), suffix=suffix)
    assert decode_image(saved(RGB, "PNG"), suffix=suffix).pixels.shape == RGB.shape


@pytest.mark.parametrize(("head", "name", "family"), [one for one in HEADS if one[2] != "picture"], ids=str)
def test_what_is_not_scored_is_refused_by_name(head: bytes, name: str, family: str) -> None:
    message = "raw data of a camera" if family == "raw" else f"{name}, not a picture that can be read"
    with pytest.raises(ImageError, match=message):
        decode_image(head)
