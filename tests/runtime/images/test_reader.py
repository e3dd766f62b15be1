"""A picture file of any format becomes upright 8-bit sRGB, or an error that says why not."""

import importlib
import random
import struct
import sys
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import (
    DISPLAY_P3,
    GREY,
    P3,
    RGB,
    THREE_GREYS,
    Page,
    by_opencv,
    chunk,
    clear_png,
    deflated,
    exif,
    hole_of_zeros,
    png_header,
    rgb_profile,
    saved,
    tiff,
    with_segment,
)

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import decode_image, read_image
from lifeiqa.runtime.images.reader import is_grey

JPEG = by_opencv(RGB, ".jpg")
PROGRESSIVE = by_opencv(RGB, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
PNG = by_opencv(RGB, ".png")
LOSSLESS = {
    "PNG": saved(RGB, "PNG"),
    "BMP": saved(RGB, "BMP"),
    "TIFF": saved(RGB, "TIFF"),
    "WEBP": saved(RGB, "WEBP", lossless=True),
    "PPM": saved(RGB, "PPM"),
    "JPEG2000": saved(RGB, "JPEG2000"),
}
EVERY = {
    **LOSSLESS,
    "GIF": saved(RGB, "GIF"),
    "AVIF": saved(RGB, "AVIF"),
    "JPEG": JPEG,
    "progressive JPEG": PROGRESSIVE,
    "lossy WebP": saved(RGB, "WEBP"),
    "deflate TIFF": deflated(RGB),
    "LZW TIFF": saved(RGB, "TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": saved(RGB, "TIFF", compression="jpeg"),
    "PNG of 16 bits": by_opencv(RGB.astype(np.uint16) * 257, ".png"),
    "P3 PNG": saved(P3, "PNG", icc_profile=rgb_profile(DISPLAY_P3)),
}


# Range


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_keep_every_pixel_in_rgb_order(form: str) -> None:
    image = decode_image(LOSSLESS[form])
    assert np.array_equal(image.pixels, RGB)
    assert image.note is None
    assert image.pixels.dtype == np.uint8 and image.pixels.flags.c_contiguous


@pytest.mark.parametrize("most", [1, 15, 100, 254, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("plain", [False, True], ids=["binary", "plain"])
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_pnm_of_any_maximum_reaches_the_whole_range(most: int, plain: bool, grey: bool) -> None:
    levels = np.round((GREY if grey else RGB) / 255 * most).astype(np.uint16)
    kind = {(False, False): 6, (False, True): 5, (True, False): 3, (True, True): 2}[plain, grey]
    head = f"P{kind}\n160 120\n{most}\n".encode()
    coded = levels.astype(">u2" if most > 255 else np.uint8).tobytes()
    image = decode_image(head + (" ".join(map(str, levels.ravel())).encode() if plain else coded))
    expected = levels / most * 255
    assert np.abs(image.pixels - (expected[:, :, None] if grey else expected)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_are_reduced_to_eight(suffix: str) -> None:
    deep = RGB.astype(np.uint16) * 257
    image = decode_image(by_opencv(deep, suffix))
    assert np.array_equal(image.pixels, RGB)
    assert image.note == "16 bits reduced to 8"
    image = decode_image(by_opencv(deep[:, :, 1], suffix))
    assert np.array_equal(image.pixels, THREE_GREYS)
    assert image.note == "16 bits reduced to 8; grey"
    half = np.full((120, 160, 1), 65535, np.uint16)
    half[60:] = 0
    image = decode_image(by_opencv(np.concatenate([deep, half], axis=2), suffix))
    assert np.array_equal(image.pixels[:60], RGB[:60])
    assert (image.pixels[60:] == 255).all()
    assert image.note == "16 bits reduced to 8; transparency laid on white"


def test_sixteen_bits_are_rounded_not_cut() -> None:
    values = np.array([[0, 128, 129, 385, 386, 65407, 65535]], np.uint16)
    assert decode_image(by_opencv(values, ".png")).pixels[0, :, 0].tolist() == [0, 0, 1, 1, 2, 255, 255]


@pytest.mark.parametrize("values", [RGB, GREY], ids=["colour", "grey"])
def test_float_samples_are_refused_with_advice(values: np.ndarray) -> None:
    with pytest.raises(ImageError, match="holds float32 samples; convert it to 8 or 16 bits"):
        decode_image(by_opencv(values.astype(np.float32), ".tiff"))


# Transparency and grey


def test_transparency_is_laid_on_white() -> None:
    alpha = np.zeros((120, 160, 1), np.uint8)
    alpha[:40], alpha[40:80] = 255, 128
    image = decode_image(saved(np.concatenate([RGB, alpha], axis=2), "PNG"))
    assert np.array_equal(image.pixels[:40], RGB[:40])
    assert np.abs(image.pixels[40:80] - (RGB[40:80] * (128 / 255) + 127)).max() <= 0.5 + 1e-3
    assert (image.pixels[80:] == 255).all()
    assert image.note == "transparency laid on white"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_sample_of_grey_that_is_clear_is_white_at_every_depth(bits: int) -> None:
    most = (1 << bits) - 1
    row = np.arange(16) % (most + 1) if bits < 16 else 257 * np.arange(16) + 1
    image = decode_image(clear_png(row, bits, row[0]))
    seen = np.round(row * (255 / most))
    assert image.pixels[0, :, 0].tolist() == np.where(row == row[0], 255, seen).tolist()
    assert image.note is not None and "transparency laid on white" in image.note


@pytest.mark.parametrize("bits", [8, 16])
def test_colour_that_is_clear_is_white_at_every_depth(bits: int) -> None:
    unit = 257 if bits == 16 else 1
    row = np.arange(48).reshape(16, 3) * unit + (bits == 16)
    image = decode_image(clear_png(row, bits, row[3]))
    seen = np.arange(48).reshape(16, 3)
    seen[3] = 255
    assert image.pixels[0].tolist() == seen.tolist()


def test_opaque_alpha_changes_nothing() -> None:
    opaque = np.full((120, 160, 1), 255, np.uint8)
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("JPEG2000", {})):
        image = decode_image(saved(np.concatenate([RGB, opaque], axis=2), form, **options))
        assert np.array_equal(image.pixels, RGB)
        assert image.note is None


def with_opaque_alpha() -> PIL.Image.Image:
    return PIL.Image.merge("LA", (PIL.Image.fromarray(GREY), PIL.Image.new("L", (160, 120), 255)))


GREYS = {
    "one channel": saved(GREY, "PNG"),
    "with alpha": saved(with_opaque_alpha(), "PNG"),
    "three equal channels": saved(THREE_GREYS, "PNG"),
    "palette": saved(PIL.Image.fromarray(GREY).convert("P"), "PNG"),
    "GIF": saved(GREY, "GIF"),
    "TIFF": saved(GREY, "TIFF"),
    "WebP": saved(THREE_GREYS, "WEBP", lossless=True),
    "JPEG 2000": saved(GREY, "JPEG2000"),
    "JPEG 2000 with alpha": saved(with_opaque_alpha(), "JPEG2000"),
}


@pytest.mark.parametrize("kind", GREYS)
def test_grey_gets_a_note_however_the_file_stores_it(kind: str) -> None:
    image = decode_image(GREYS[kind])
    assert np.array_equal(image.pixels, THREE_GREYS)
    assert image.note == "grey"


@pytest.mark.parametrize("values", [GREY, THREE_GREYS], ids=["one channel", "three"])
@pytest.mark.parametrize("form", ["JPEG", "AVIF"])
def test_lossy_grey_gets_a_note(form: str, values: np.ndarray) -> None:
    image = decode_image(saved(values, form, quality=98))
    assert np.abs(image.pixels.astype(int) - THREE_GREYS).mean() < 2
    assert image.note == "grey"


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "GIF"])
def test_one_bit_is_black_and_white_and_grey(form: str) -> None:
    bits = PIL.Image.fromarray(GREY).convert("1")
    image = decode_image(saved(bits, form))
    assert np.array_equal(image.pixels[:, :, 0], np.asarray(bits, np.uint8) * 255)
    assert image.note == "grey"


@pytest.mark.parametrize("place", [(0, 0), (77, 91), (119, 159)])
def test_one_coloured_pixel_makes_a_picture_in_colour(place: tuple[int, int]) -> None:
    values = THREE_GREYS.copy()
    assert is_grey(values)
    values[(*place, 2)] ^= 1
    assert not is_grey(values)
    assert decode_image(saved(values, "PNG")).note is None


# Orientation

TURNED = {
    1: None,
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_90,  # against the clock; a viewer turns it back
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_270,
}
TURNABLE = {
    "PNG": ({}, 0),
    "WEBP": ({"lossless": True}, 0),
    "TIFF": ({}, 0),
    "JPEG": ({"quality": 100, "subsampling": 0}, 6),
    "AVIF": ({"quality": 100, "subsampling": "4:4:4"}, 8),
}


@pytest.mark.parametrize("form", TURNABLE)
@pytest.mark.parametrize("orientation", TURNED)
def test_declared_orientation_is_applied_in_every_format(form: str, orientation: int) -> None:
    options, tolerance = TURNABLE[form]
    method = TURNED[orientation]
    upright = PIL.Image.fromarray(RGB)
    stored = upright if method is None else upright.transpose(method)
    data = saved(stored, form, exif=exif(orientation=orientation), **options)
    if form == "AVIF" and orientation in (3, 6, 8):
        assert b"irot" in data
    image = decode_image(data)
    assert image.pixels.shape == RGB.shape
    assert np.abs(image.pixels.astype(int) - RGB).max() <= tolerance
    assert image.note is None


# Several frames


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF", "MPO"])
def test_first_frame_is_taken_and_a_note_counts_the_others(form: str) -> None:
    options = {"WEBP": {"lossless": True}, "AVIF": TURNABLE["AVIF"][0], "MPO": {"quality": 98}}.get(form, {})
    frames = [PIL.Image.fromarray(values) for values in (255 - RGB, np.roll(RGB, 40, axis=1))]
    image = decode_image(saved(RGB, form, save_all=True, append_images=frames, **options))
    assert np.abs(image.pixels.astype(int) - RGB).mean() < {"GIF": 12, "AVIF": 2, "MPO": 5}.get(form, 0.01)
    assert image.note == "2 more pages or frames not looked at"


# Damage

CUT = {name: EVERY[name] for name in ("PNG", "BMP", "PPM", "GIF", "WEBP", "lossy WebP", "AVIF", "P3 PNG")}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("form", CUT)
def test_cut_file_is_refused(form: str, share: float) -> None:
    data = CUT[form]
    assert decode_image(data).pixels.shape == RGB.shape
    with pytest.raises(ImageError, match="copy it again"):
        decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
def test_jpeg_is_refused_wherever_it_is_cut(data: bytes) -> None:
    assert decode_image(data).pixels.shape == RGB.shape
    for end in range(2, len(data) - 12, 29):
        with pytest.raises(ImageError):
            decode_image(data[:end])


def test_jpeg_whose_thumbnail_is_whole_but_whose_picture_is_cut_is_refused() -> None:
    whole = with_segment(JPEG, 0xE1, JPEG)
    assert decode_image(whole).pixels.shape == RGB.shape
    with pytest.raises(ImageError, match="cut short"):
        decode_image(whole[:-100])


def test_png_is_refused_wherever_its_pixels_are_cut() -> None:
    for end in range(1, PNG.rfind(b"IEND") - 12, 397):
        with pytest.raises(ImageError):
            decode_image(PNG[:end])


@pytest.mark.parametrize("kept", [0, 3, 4, 7])
def test_png_whose_end_alone_is_missing_is_scored_with_a_note(kept: int) -> None:
    image = decode_image(PNG[: PNG.rfind(b"IEND") - 4 + kept])
    assert np.array_equal(image.pixels, RGB)
    assert image.note == "no end marker"


def test_png_cut_at_the_very_end_of_its_pixels_is_refused_or_complete() -> None:
    end = PNG.rfind(b"IEND") - 4
    refused = 0
    for lost in range(1, 40):
        try:
            image = decode_image(PNG[: end - lost])
        except ImageError:
            refused += 1
        else:
            assert np.array_equal(image.pixels, RGB)
            assert image.note == "no end marker"
    assert refused > 25


def test_png_with_a_hole_is_refused() -> None:
    for at in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError, match="copy it again"):
            decode_image(hole_of_zeros(PNG, at, 40))


@pytest.mark.parametrize("form", EVERY)
def test_trailing_bytes_do_no_harm(form: str) -> None:
    image = decode_image(EVERY[form] + b"rest" * 50 + bytes(5000))
    assert np.array_equal(image.pixels, decode_image(EVERY[form]).pixels)
    assert image.note == decode_image(EVERY[form]).note


# Limits


def patched(data: bytes, at: int, values: bytes) -> bytes:
    return data[:at] + values + data[at + len(values) :]


def large_jpeg() -> bytes:
    return patched(JPEG, JPEG.find(b"\xff\xc0") + 5, struct.pack(">HH", 60_000, 60_000))


def large_webp() -> bytes:
    data = LOSSLESS["WEBP"]
    return patched(data, data.find(b"VP8L") + 9, struct.pack("<I", 16_382 | (16_382 << 14)))


def large_jpeg2000() -> bytes:
    data = LOSSLESS["JPEG2000"]
    size = struct.pack(">II", 60_000, 60_000)
    return patched(patched(data, data.find(b"ihdr") + 4, size), data.find(b"\xff\x4f\xff\x51") + 8, size)


TOO_LARGE = {
    "PNG": png_header(60_000, 60_000),
    "TIFF": tiff(Page(np.zeros((1, 1, 3), np.uint8), {256: 60_000, 257: 60_000, 278: 60_000})),
    "JPEG": large_jpeg(),
    "WebP": large_webp(),
    "JPEG 2000": large_jpeg2000(),
    "GIF": patched(EVERY["GIF"], 6, struct.pack("<HH", 60_000, 60_000)),
    "BMP": patched(LOSSLESS["BMP"], 18, struct.pack("<ii", 60_000, 60_000)),
    "PPM": b"P6 60000 60000 255\n" + bytes(99),
}


@pytest.mark.parametrize("form", TOO_LARGE)
def test_header_of_a_huge_picture_is_refused_at_once_and_without_memory(form: str) -> None:
    side = 16_383 if form == "WebP" else 60_000
    start = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=rf"{side}x{side} pixels are more than the 200 million .* --max-pixels"):
            decode_image(TOO_LARGE[form])
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("form", EVERY)
def test_limit_on_pixels_is_what_is_asked_for(form: str) -> None:
    assert decode_image(EVERY[form], max_pixels=160 * 120).pixels.shape == RGB.shape
    with pytest.raises(ImageError, match=r"160x120 pixels are more than the 0\.019199 million allowed"):
        decode_image(EVERY[form], max_pixels=160 * 120 - 1)


def test_limit_can_be_raised_above_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    assert decode_image(PNG, max_pixels=1_000_000).pixels.shape == RGB.shape
    assert PIL.Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(ImageError):
        decode_image(b"\x89PNG\r\n\x1a\n" + bytes(99))
    assert PIL.Image.MAX_IMAGE_PIXELS == 1000


def test_png_that_inflates_beyond_its_size_takes_no_memory() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100, 100, 8, 2, 0, 0, 0))
    more = chunk(b"IDAT", zlib.compress(bytes(64 << 20)))
    tracemalloc.start()
    try:
        assert decode_image(b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IEND", b"")).note == "grey"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# Formats that need another package


def test_heif_is_read_where_its_reader_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    for orientation in (1, 6):
        method = TURNED[orientation]
        stored = PIL.Image.fromarray(RGB)
        stored = stored if method is None else stored.transpose(method)
        data = saved(stored, "HEIF", quality=95, exif=exif(orientation=orientation).tobytes())
        image = decode_image(data)
        assert image.pixels.shape == RGB.shape
        assert np.abs(image.pixels.astype(int) - RGB).mean() < 6
        for share in (0.02, 0.5, 0.99):
            with pytest.raises(ImageError, match="copy it again"):
                decode_image(data[: int(len(data) * share)])


def test_jpeg_xl_is_read_where_its_reader_is_installed() -> None:
    pytest.importorskip("pillow_jxl")
    data = saved(RGB, "JXL", lossless=True)
    assert np.array_equal(decode_image(data).pixels, RGB)
    for share in (0.02, 0.5, 0.99):
        with pytest.raises(ImageError, match="copy it again") as caught:
            decode_image(data[: int(len(data) * share)])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "module", "message"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pillow_heif", "HEIF, .*pip install pillow-heif"),
        (b"\xff\x0a\xfa\x1f", "pillow_jxl", "JPEG XL, .*pip install pillow-jxl-plugin"),
    ],
)
def test_missing_reader_is_named_with_what_to_install(
    head: bytes, module: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError):
        importlib.import_module(module)
    with pytest.raises(ImageError, match=message):
        decode_image(head + bytes(500))


# Standard error and threads


def with_noise(data: bytes) -> bytes:
    start = len(data) // 3
    return data[:start] + bytes(value ^ 0x5A for value in data[start : start + 200]) + data[start + 200 :]


DAMAGED = {
    name: [
        *(hole_of_zeros(data, at, 100) for at in (0.05, 0.3, 0.6, 0.9)),
        data[: len(data) * 2 // 3],
        with_noise(data),
    ]
    for name, data in EVERY.items()
}


def no_error_but(data: bytes) -> None:
    """Decodes; only an `ImageError` of one line may come of it."""
    try:
        image = decode_image(data)
    except ImageError as error:
        assert str(error) and "\n" not in str(error)
        assert "object at 0x" not in str(error)
    else:
        assert image.pixels.ndim == 3 and image.pixels.shape[2] == 3


@pytest.mark.parametrize("name", DAMAGED)
def test_nothing_is_written_to_standard_error(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    for data in DAMAGED[name]:
        no_error_but(data)
    assert capfd.readouterr() == ("", "")


def test_threads_get_the_pixels_that_one_gets(capfd: pytest.CaptureFixture[str]) -> None:
    files = [*EVERY.values()] * 3
    expected = [decode_image(data) for data in EVERY.values()] * 3
    broken = [data for some in DAMAGED.values() for data in some]
    limit = PIL.Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        hopeless = [pool.submit(no_error_but, data) for data in broken]
        found = list(pool.map(decode_image, files))
        for one in hopeless:
            one.result()
    for image, alone in zip(found, expected, strict=True):
        assert np.array_equal(image.pixels, alone.pixels)
        assert image.note == alone.note
    assert limit == PIL.Image.MAX_IMAGE_PIXELS
    assert capfd.readouterr() == ("", "")


# Anything at all


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", PNG[:33], b"RIFF0000WEBP", b"II*\x00", b"BM"]))
def test_hostile_bytes_raise_nothing_but_image_error(tail: bytes, head: bytes) -> None:
    no_error_but(head + tail)


@pytest.mark.parametrize("form", EVERY)
def test_mutated_files_raise_nothing_but_image_error(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = EVERY[form]
    others = [data for name, data in EVERY.items() if name != form]

    @settings(max_examples=40, deadline=None)
    @given(st.randoms(use_true_random=False), st.sampled_from(["header", "anywhere", "cut", "swapped", "inserted"]))
    def mutate(chance: random.Random, kind: str) -> None:
        data = bytearray(whole)
        if kind in ("header", "anywhere"):
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(400 if kind == "header" else len(data))] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del data[chance.randrange(len(data)) :]
        elif kind == "inserted":
            at = chance.randrange(len(data))
            data[at:at] = chance.randbytes(chance.randint(1, 40))
        else:
            length = chance.choice((4, 16, 100, 700))
            data[:length] = chance.choice(others)[:length]
        try:
            decode_image(bytes(data), max_pixels=2_000_000)
        except ImageError as error:
            assert str(error) and "\n" not in str(error)

    mutate()
    assert capfd.readouterr() == ("", "")


# Files


def test_missing_file_folder_and_text_each_say_what_is_wrong(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, message in (
        (tmp_path / "none.jpg", "no such file"),
        (tmp_path, "cannot be read"),
        (text, "not a picture"),
        (empty, "empty"),
        (Path("a\0b.jpg"), "not a usable file name"),
    ):
        with pytest.raises(ImageError, match=message):
            read_image(path)


def test_content_counts_and_the_suffix_does_not(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(PNG)
    assert np.array_equal(read_image(path).pixels, RGB)
    with pytest.raises(ImageError, match="--max-pixels"):
        read_image(path, max_pixels=100)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_broken_exif_costs_no_picture(form: str) -> None:
    data = saved(RGB, form, exif=b"no Exif at all", lossless=True)
    np.testing.assert_array_equal(decode_image(data).pixels, RGB)
