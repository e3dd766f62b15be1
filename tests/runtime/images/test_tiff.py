"""TIFF: the full picture among several, damage, and samples of other kinds."""

import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import PIL.Image
import pytest
import simplejpeg
from picture_files import (
    GREY,
    RGB,
    THREE_GREYS,
    Page,
    by_opencv,
    deflated,
    hole_of_zeros,
    saved,
    tiff,
)

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import decode_image
from lifeiqa.runtime.images.tiff import full_picture

HALF, SMALL = np.ascontiguousarray(RGB[::2, ::2]), np.ascontiguousarray(RGB[::4, ::4])
OTHER = 255 - RGB
FULL = Page(RGB)
REDUCED, OLD_REDUCED, MASK = {254: 1}, {255: 2}, {254: 4}
MORE = "more pages or frames not looked at"
NOISE = np.random.default_rng(1).integers(0, 256, (120, 160, 2), dtype=np.uint8)
OPAQUE = np.full((120, 160), 255, np.uint8)
DEEP = RGB.astype(np.uint16) * 257


def apart(values: np.ndarray) -> bytes:
    """A TIFF with each channel as a picture of its own."""
    height, width, channels = values.shape
    stacked = np.ascontiguousarray(values.transpose(2, 0, 1)).reshape(-1, width)
    bits = (values.dtype.itemsize * 8,) * channels
    return tiff(Page(stacked, {257: height, 258: bits, 262: 2, 277: channels, 278: height, 284: 2}, strips=channels))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deep", [False, True])
def test_both_byte_orders_are_read(order: str, deep: bool) -> None:
    image = decode_image(tiff(Page(DEEP if deep else RGB), order=order))
    assert np.array_equal(image.pixels, RGB)
    assert image.note == ("16 bits reduced to 8" if deep else None)


def test_bigtiff_is_read() -> None:
    assert np.array_equal(decode_image(tiff(FULL, big=True)).pixels, RGB)
    image = decode_image(tiff(Page(SMALL, REDUCED), FULL, big=True))
    assert np.array_equal(image.pixels, RGB)


ONE_PICTURE = {
    "flagged preview first": tiff(Page(SMALL, REDUCED), FULL),
    "preview with the old flag first": tiff(Page(SMALL, OLD_REDUCED), FULL),
    "preview without a flag first": tiff(Page(SMALL), FULL),
    "full picture below a flagged preview": tiff(Page(SMALL, REDUCED, below=(FULL,))),
    "full picture below a preview without a flag": tiff(Page(SMALL, below=(FULL,))),
    "pyramid without flags": tiff(FULL, Page(HALF), Page(SMALL)),
    "pyramid without flags, smallest first": tiff(Page(SMALL), Page(HALF), FULL),
    "pyramid below the picture": tiff(Page(RGB, below=(Page(HALF, REDUCED), Page(SMALL, REDUCED)))),
    "mask behind the picture": tiff(FULL, Page(GREY, MASK)),
    "directory that names itself as the next": tiff(FULL, loop=True),
    "pointer to the next directory missing": tiff(FULL)[:-4],
}


@pytest.mark.parametrize("case", ONE_PICTURE)
def test_full_picture_is_taken_and_its_copies_are_no_pages(case: str) -> None:
    image = decode_image(ONE_PICTURE[case])
    assert np.array_equal(image.pixels, RGB)
    assert image.note is None


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (tiff(FULL, Page(OTHER)), 1),
        (tiff(FULL, Page(OTHER), Page(OTHER), Page(OTHER)), 3),
        (tiff(FULL, FULL, FULL, FULL), 3),
        (tiff(FULL, Page(np.zeros((90, 300, 3), np.uint8))), 1),
        (tiff(FULL, Page(OTHER), loop=True), 1),
    ],
    ids=["two", "four", "four alike", "another shape", "loop"],
)
def test_first_page_is_taken_and_a_note_counts_the_others(data: bytes, more: int) -> None:
    image = decode_image(data)
    assert np.array_equal(image.pixels, RGB)
    assert image.note == f"{more} {MORE}"


def test_page_that_names_itself_as_its_own_is_read_once() -> None:
    data = tiff(Page(RGB, below=(Page(HALF, REDUCED),)))
    own = full_picture(data).directory.offset
    entry = data.find(b"\x4a\x01\x04\x00", own)
    ring = data[: entry + 8] + own.to_bytes(4, "little") + data[entry + 12 :]
    assert full_picture(ring).further == 0
    assert np.array_equal(decode_image(ring).pixels, RGB)


@pytest.mark.parametrize("photometric", [32803, 34892])
@pytest.mark.parametrize("below", [False, True])
def test_camera_raw_is_refused_with_advice_on_its_preview(photometric: int, below: bool) -> None:
    sensor = Page(GREY.astype(np.uint16), {262: photometric})
    data = tiff(Page(SMALL, REDUCED, below=(sensor,))) if below else tiff(sensor)
    with pytest.raises(ImageError, match=r"exiftool -b -PreviewImage FILE > preview\.jpg"):
        decode_image(data)


@pytest.mark.parametrize("orientation", range(9, 12))
def test_unknown_orientation_is_none(orientation: int) -> None:
    assert np.array_equal(decode_image(tiff(Page(RGB, {274: orientation}))).pixels, RGB)


# Damage


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_cut_file_is_refused_with_its_directory_first_or_last(share: float) -> None:
    for data in (
        saved(RGB, "TIFF"),
        by_opencv(RGB, ".tiff"),
        tiff(FULL),
        deflated(RGB),
        saved(RGB, "TIFF", compression="jpeg"),
    ):
        with pytest.raises(ImageError, match="cut short"):
            decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("length", [100, 400])
@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw", "jpeg"])
def test_hole_of_zeros_is_refused(compression: str, at: float, length: int) -> None:
    data = saved(RGB, "TIFF", compression=compression)
    assert decode_image(data).note is None
    with pytest.raises(ImageError, match="damaged"):
        decode_image(hole_of_zeros(data, at, length))


def test_short_hole_in_lzw_data_is_refused_where_the_decoder_says_nothing() -> None:
    data = saved(RGB, "TIFF", compression="tiff_lzw")
    with pytest.raises(ImageError, match="a hole of zeros"):
        decode_image(hole_of_zeros(data, 0.5, 40))


@pytest.mark.parametrize("at", [0.7, 0.8])
def test_hole_in_a_jpeg_strip_is_refused_where_the_decoder_says_nothing(at: float) -> None:
    strip = hole_of_zeros(by_opencv(RGB, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90), at, 300)
    simplejpeg.decode_jpeg(strip, strict=True)
    data = tiff(Page(RGB, {262: 6, 530: (2, 2)}, compress=lambda _: strip, compression=7))
    with pytest.raises(ImageError, match="a hole of zeros"):
        decode_image(data)


def test_strip_of_deflate_data_with_a_wrong_checksum_is_refused() -> None:
    def wrong(strip: bytes) -> bytes:
        return zlib.compress(strip)[:-1] + b"\0"

    with pytest.raises(ImageError, match="incorrect data check"):
        decode_image(tiff(Page(RGB, compress=wrong, strips=3)))


@pytest.mark.parametrize("lost", [1, 20, 2000])
def test_incomplete_strip_of_deflate_data_is_refused(lost: int) -> None:
    with pytest.raises(ImageError, match="cut short"):
        decode_image(tiff(Page(RGB, compress=lambda strip: zlib.compress(strip)[:-lost], strips=3)))


def test_jpeg_strip_that_ends_early_is_refused() -> None:
    strip = saved(RGB, "JPEG", quality=90)
    for kept, whole in ((strip, True), (strip[:-1000] + b"\xff\xd9", False), (strip[:2000] + strip[2300:], False)):
        data = tiff(Page(RGB, {262: 6, 530: (2, 2)}, compress=lambda _, kept=kept: kept, compression=7))
        if whole:
            assert np.abs(decode_image(data).pixels.astype(int) - RGB).mean() < 5
        else:
            with pytest.raises(ImageError, match="premature end of data segment"):
                decode_image(data)


def test_zeros_of_an_even_picture_are_no_hole() -> None:
    even = np.zeros((500, 500, 3), np.uint8)
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        assert decode_image(saved(even, "TIFF", compression=compression)).pixels.max() <= 1


def test_directory_outside_the_file_is_refused() -> None:
    data = tiff(FULL)
    for offset in (len(data), len(data) * 2, 0xFFFFFFFF):
        with pytest.raises(ImageError, match="TIFF directory"):
            decode_image(data[:4] + offset.to_bytes(4, "little") + data[8:])
    with pytest.raises(ImageError, match="holds no picture"):
        decode_image(data[:4] + bytes(4) + data[8:])


def lying_on_one_another(count: int) -> bytes:
    """A chain of directories of so many entries each, every one 12 bytes behind the one before."""
    data = bytearray(b"II*\0\x08\0\0\0" + bytes(24 * count + 100))
    for start in range(8, 8 + 24 * count, 12):
        struct.pack_into("<H", data, start, count)
    for start in range(8, 8 + 12 * count, 12):
        struct.pack_into("<I", data, start + 2 + 12 * count, start + 12)
    return bytes(data)


def same_tag_again_and_again(count: int) -> bytes:
    """A directory with so many entries, each of a million values."""
    entries = struct.pack("<HHII", 273, 4, 1 << 20, 0) * count
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4 << 20)


@pytest.mark.parametrize("data", [lying_on_one_another(4096), same_tag_again_and_again(4096)], ids=["chain", "tag"])
def test_directories_made_to_take_long_are_given_up(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(ImageError):
        decode_image(data)
    assert time.process_time() - start < 4


def test_bomb_is_refused_before_its_strips_are_inflated() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    size = {256: 60_000, 257: 60_000, 278: 60_000}
    data = tiff(Page(np.zeros((1, 1, 3), np.uint8), size, compress=lambda _: bomb))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"60000x60000 pixels are more than .* raise --max-pixels"):
            decode_image(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# Samples


@pytest.mark.parametrize(
    ("channels", "extra"),
    [(1, {338: (0,)}), (1, {}), (2, {338: (0, 0)})],
    ids=["unspecified", "unsaid", "two unspecified"],
)
def test_extra_channels_that_are_no_alpha_are_ignored(channels: int, extra: dict[int, tuple[int, ...]]) -> None:
    image = decode_image(tiff(Page(np.dstack([RGB, NOISE[:, :, :channels]]), extra)))
    assert np.array_equal(image.pixels, RGB)
    assert image.note is None


def test_sixteen_bits_with_an_extra_channel_are_read() -> None:
    image = decode_image(tiff(Page(np.dstack([DEEP, DEEP[:, :, ::-1][:, :, :1]]), {338: (0,)})))
    assert np.array_equal(image.pixels, RGB)


def test_grey_with_an_extra_channel_is_read() -> None:
    image = decode_image(tiff(Page(np.dstack([GREY, NOISE[:, :, :1]]), {338: (0,)})))
    assert np.array_equal(image.pixels, THREE_GREYS)


def test_alpha_is_laid_on_white_and_what_follows_it_is_ignored() -> None:
    half = OPAQUE.copy()
    half[60:] = 0
    image = decode_image(tiff(Page(np.dstack([RGB, half]), {338: (2,)})))
    assert np.array_equal(image.pixels[:60], RGB[:60])
    assert (image.pixels[60:] == 255).all()
    assert image.note == "transparency laid on white"
    image = decode_image(tiff(Page(np.dstack([RGB, OPAQUE, NOISE[:, :, :1]]), {338: (2, 0)})))
    assert np.array_equal(image.pixels, RGB)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_min_is_white_is_turned_round(dtype: type[np.unsignedinteger]) -> None:
    most = np.iinfo(dtype).max
    image = decode_image(tiff(Page((most - GREY.astype(dtype) * (most // 255)).astype(dtype), {262: 0})))
    assert np.array_equal(image.pixels, THREE_GREYS)


def test_channels_stored_apart_are_read_with_eight_bits_and_refused_with_sixteen() -> None:
    assert np.array_equal(decode_image(apart(RGB)).pixels, RGB)
    with pytest.raises(ImageError, match="channels of 16 bits stored apart; convert it to PNG"):
        decode_image(apart(DEEP))


@pytest.mark.parametrize(
    ("dtype", "sample_format", "name"),
    [
        (np.float32, 3, "float32"),
        (np.float64, 3, "float64"),
        (np.float16, 3, "float16"),
        (np.int32, 2, "int32"),
        (np.uint32, 1, "uint32"),
        (np.int16, 2, "int16"),
        (np.int8, 2, "int8"),
    ],
)
def test_samples_of_no_known_range_are_refused_by_name(dtype: type[np.generic], sample_format: int, name: str) -> None:
    for values in (GREY, RGB):
        count = 1 if values.ndim == 2 else 3
        with pytest.raises(ImageError, match=f"holds {name} samples; convert it to 8 or 16 bits"):
            decode_image(tiff(Page((values // 2).astype(dtype), {339: (sample_format,) * count})))


def test_one_bit_is_read() -> None:
    bits = PIL.Image.fromarray(GREY).convert("1")
    for tags in ({}, {"tiffinfo": {262: 0}}):
        image = decode_image(saved(bits, "TIFF", **tags))
        assert np.array_equal(image.pixels[:, :, 0], np.asarray(bits, np.uint8) * 255)


def test_offsets_and_tables_that_no_file_has_are_errors() -> None:
    far = b"II+\x00\x08\x00\x00\x00" + (1 << 63).to_bytes(8, "little") + bytes(64)
    with pytest.raises(ImageError, match="TIFF directory"):
        full_picture(far)
    assert full_picture(tiff(Page(RGB, {347: 70000}))).directory.tables == bytes([70000 & 0xFF])


@pytest.mark.parametrize("compress", [None, zlib.compress], ids=["plain", "deflate"])
def test_twelve_bits_use_the_whole_range(compress: Callable[[bytes], bytes] | None) -> None:
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
    samples = (ramp.astype(np.uint32) * 4095 // 255).astype(">u2")
    bits = np.unpackbits(samples.view(np.uint8).reshape(64, 96, 2), axis=2)
    packed = np.packbits(bits[:, :, 4:].reshape(64, -1), axis=1)  # (64, 144), two samples in three bytes
    data = tiff(Page(packed, {256: 96, 258: 12}, compress))
    pixels = decode_image(data).pixels
    assert np.abs(pixels.astype(int) - ramp[:, :, None]).max() <= 1
