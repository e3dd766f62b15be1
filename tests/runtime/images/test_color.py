"""Colour: profiles, gamma, primaries and code points are brought to sRGB, whichever format holds them."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import PIL.Image
import pytest
from picture_files import (
    ADOBE_RGB,
    DISPLAY_P3,
    GREY,
    P3,
    RGB,
    SRGB,
    THREE_GREYS,
    by_opencv,
    bytes_of,
    cmyk_jpeg,
    gamma_chunk,
    grey_profile,
    in_space,
    primaries_chunk,
    rgb_profile,
    saved,
    to_light,
    with_chunks,
)
from PIL import ImageCms

from lifeiqa.runtime.images import decode_image

TO_P3, TO_SRGB, JUNK = rgb_profile(DISPLAY_P3), rgb_profile(SRGB), b"junk" * 50
UNUSABLE = "colour profile cannot be used"
CODED_P3 = (b"cICP", bytes((12, 13, 0, 1)))
CODED_SRGB = (b"cICP", bytes((1, 13, 0, 1)))
# Formats that hold a profile, with the options that keep most of the picture.
LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}
NEARLY = {"JPEG": {"quality": 100, "subsampling": 0}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
HOLDERS = {**LOSSLESS, **NEARLY}
every_holder = pytest.mark.parametrize("form", HOLDERS)
LINEAR = bytes_of(to_light(RGB))
ADOBE = bytes_of(in_space(RGB, ADOBE_RGB, lambda light: light ** (256 / 563)))


def off(data: bytes, expected: np.ndarray = RGB) -> float:
    """The mean difference in levels, 99 where any is more than what eight bits of the file's own colours cannot say."""
    difference = np.abs(decode_image(data).pixels.astype(int) - expected)
    return 99.0 if difference.max() > 35 else float(difference.mean())


@every_holder
def test_profile_with_other_primaries_is_converted(form: str) -> None:
    most = 0.4 if form in LOSSLESS else 1.5
    assert off(saved(P3, form, icc_profile=TO_P3, **HOLDERS[form])) < most
    assert off(saved(P3, form, **HOLDERS[form])) > 5


@every_holder
def test_profile_of_srgb_changes_no_pixel(form: str) -> None:
    without = decode_image(saved(RGB, form, **HOLDERS[form]))
    by_lcms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (TO_SRGB, by_lcms):
        image = decode_image(saved(RGB, form, icc_profile=profile, **HOLDERS[form]))
        assert np.array_equal(image.pixels, without.pixels)
        assert image.note is None


def test_profile_within_rounding_of_srgb_changes_no_pixel() -> None:
    profile = rgb_profile((0.6403, 0.33, 0.30, 0.6003, 0.15, 0.06))
    spaces = (ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"))
    converted = ImageCms.profileToProfile(PIL.Image.fromarray(RGB), *spaces)
    assert not np.array_equal(np.asarray(converted), RGB)
    assert np.array_equal(decode_image(saved(RGB, "PNG", icc_profile=profile)).pixels, RGB)


@every_holder
def test_junk_for_a_profile_is_left_out_with_a_note(form: str) -> None:
    image = decode_image(saved(RGB, form, icc_profile=JUNK, **HOLDERS[form]))
    assert np.array_equal(image.pixels, decode_image(saved(RGB, form, **HOLDERS[form])).pixels)
    assert image.note == UNUSABLE


def test_profile_is_used_beside_transparency_and_sixteen_bits() -> None:
    half = np.full(GREY.shape, 255, np.uint8)
    half[60:] = 0
    image = decode_image(saved(np.dstack([P3, half]), "PNG", icc_profile=TO_P3))
    assert np.abs(image.pixels[:60].astype(int) - RGB[:60]).mean() < 0.4
    assert (image.pixels[60:] == 255).all()
    deep = np.round(in_space(RGB, DISPLAY_P3, lambda light: light ** (1 / 2.2)) * 65535).astype(np.uint16)
    coded = (b"iCCP", saved(P3, "PNG", icc_profile=TO_P3).split(b"iCCP")[1])
    length = int.from_bytes(saved(P3, "PNG", icc_profile=TO_P3).split(b"iCCP")[0][-4:], "big")
    image = decode_image(with_chunks(by_opencv(deep, ".png"), (coded[0], coded[1][:length])))
    assert np.abs(image.pixels.astype(int) - RGB).mean() < 2


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_grey_profile_is_converted(form: str) -> None:
    darker = bytes_of(to_light(GREY) ** (1 / 1.8))
    options = {"quality": 100} if form == "JPEG" else {}
    image = decode_image(saved(darker, form, icc_profile=grey_profile(1.8), **options))
    assert np.abs(image.pixels.astype(int) - THREE_GREYS).max() <= 4
    assert np.abs(darker.astype(int) - GREY).max() > 8
    assert image.note == "grey"


def test_rgb_profile_on_grey_is_used_and_grey_profile_on_rgb_is_not() -> None:
    image = decode_image(saved(GREY, "PNG", icc_profile=TO_P3))
    assert np.array_equal(image.pixels, THREE_GREYS) and image.note == "grey"
    image = decode_image(saved(RGB, "PNG", icc_profile=grey_profile(1.8)))
    assert np.array_equal(image.pixels, RGB) and image.note == UNUSABLE


# PNG's own chunks


def test_gamma_of_one_is_converted_in_eight_and_sixteen_bits() -> None:
    assert off(with_chunks(saved(LINEAR, "PNG"), gamma_chunk(1.0))) < 0.5
    deep = np.round(to_light(RGB) * 65535).astype(np.uint16)
    for values, expected in ((deep, RGB), (deep[:, :, 1], THREE_GREYS)):
        image = decode_image(with_chunks(by_opencv(values, ".png"), gamma_chunk(1.0)))
        assert np.array_equal(image.pixels, expected)


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma_chunk(0.45455)],
        [gamma_chunk(0.45455), primaries_chunk(SRGB)],
        [(b"sRGB", b"\0"), gamma_chunk(1.0)],
        [gamma_chunk(0)],
        [gamma_chunk(1000)],
        [primaries_chunk((0, 0, 0, 0, 0, 0))],
        [primaries_chunk((0.3, 0.3, 0.3, 0.3, 0.3, 0.3))],
        [(b"cICP", b"")],
        [CODED_SRGB, gamma_chunk(1.0), primaries_chunk(DISPLAY_P3)],
    ],
    ids=str,
)
def test_what_is_srgb_or_makes_no_sense_changes_no_pixel(chunks: list[tuple[bytes, bytes]]) -> None:
    image = decode_image(with_chunks(saved(RGB, "PNG"), *chunks))
    assert np.array_equal(image.pixels, RGB)
    assert image.note is None


@pytest.mark.parametrize("chunks", [[], [gamma_chunk(0.45455)]], ids=["alone", "with gamma"])
def test_primaries_are_converted(chunks: list[tuple[bytes, bytes]]) -> None:
    assert off(with_chunks(saved(P3, "PNG"), *chunks, primaries_chunk(DISPLAY_P3))) < 0.4


def test_profile_counts_more_than_gamma() -> None:
    data = with_chunks(saved(P3, "PNG", icc_profile=TO_P3), gamma_chunk(1.0), primaries_chunk(ADOBE_RGB))
    assert off(data) < 0.4


def test_code_points_count_more_than_gamma_and_profile() -> None:
    assert off(with_chunks(saved(P3, "PNG"), CODED_P3, gamma_chunk(1.0))) < 0.4
    assert off(with_chunks(saved(P3, "PNG", icc_profile=TO_SRGB), CODED_P3)) < 0.4
    image = decode_image(with_chunks(saved(RGB, "PNG", icc_profile=TO_P3), CODED_SRGB))
    assert np.array_equal(image.pixels, RGB)
    assert decode_image(with_chunks(saved(RGB, "PNG", icc_profile=JUNK), CODED_SRGB)).note is None


def test_high_dynamic_range_is_clipped_at_white_with_a_note() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (8, 1, 3))
    for transfer, white in ((16, 0.58), (18, 0.75)):
        image = decode_image(with_chunks(saved(ramp, "PNG"), (b"cICP", bytes((9, transfer, 0, 1)))))
        assert image.note == "high dynamic range clipped at white; grey"
        first = int((image.pixels[0, :, 0] == 255).argmax())
        assert abs(first / 255 - white) < 0.02
        assert (np.diff(image.pixels[0, :, 0].astype(int)) >= 0).all()


# EXIF and AVIF


@pytest.mark.parametrize(("form", "options"), [("JPEG", NEARLY["JPEG"]), ("WEBP", {"lossless": True})], ids=str)
def test_adobe_rgb_by_exif_alone_is_converted(form: str, options: dict[str, object]) -> None:
    def exif(color_space: int, rule: str) -> PIL.Image.Exif:
        data = PIL.Image.Exif()
        data.get_ifd(0x8769).update({0xA001: color_space, 0xA005: {1: rule}})
        return data

    assert off(saved(ADOBE, form, exif=exif(0xFFFF, "R03"), **options)) < 1
    for color_space, rule in ((1, "R03"), (0xFFFF, "R98")):
        data = saved(RGB, form, exif=exif(color_space, rule), **options)
        assert np.array_equal(decode_image(data).pixels, decode_image(saved(RGB, form, **options)).pixels)


def recoded(avif: bytes, primaries: int, transfer: int) -> bytes:
    """The AVIF with other code points; Pillow writes those of sRGB."""
    assert avif.count(b"colrnclx\0\1\0\r") == 1
    return avif.replace(b"colrnclx\0\1\0\r", b"colrnclx" + bytes((0, primaries, 0, transfer)))


def test_code_points_of_avif_are_converted() -> None:
    assert off(recoded(saved(P3, "AVIF", **NEARLY["AVIF"]), 12, 13)) < 1.5
    assert off(recoded(saved(LINEAR, "AVIF", **NEARLY["AVIF"]), 1, 8)) < 2
    assert "high dynamic range" in str(decode_image(recoded(saved(RGB, "AVIF"), 9, 16)).note)


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_avif_of_any_depth_reaches_the_whole_range(depth: int) -> None:
    if not cv2.haveImageWriter("picture.avif"):
        pytest.skip("OpenCV was built without AVIF")
    values = RGB if depth == 8 else np.round(RGB / 255 * ((1 << depth) - 1)).astype(np.uint16)
    data = by_opencv(values, ".avif", cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100)
    assert np.abs(decode_image(data).pixels.astype(int) - RGB).max() <= 1


# CMYK and Lab


def not_inverted(pixels: np.ndarray) -> bytes:
    """A CMYK JPEG without Adobe's segment, whose inks are as they are."""
    inks = PIL.Image.fromarray(pixels).convert("CMYK")
    inverted = PIL.Image.frombytes("CMYK", inks.size, bytes(255 - value for value in inks.tobytes()))
    data = saved(inverted, "JPEG", quality=100)
    start = data.find(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


@pytest.mark.parametrize(
    "make",
    [lambda p: cmyk_jpeg(p, 100), not_inverted, lambda p: saved(PIL.Image.fromarray(p).convert("CMYK"), "TIFF")],
    ids=["JPEG by Adobe", "JPEG", "TIFF"],
)
def test_cmyk_is_converted_the_right_way_round(make: Callable[[np.ndarray], bytes]) -> None:
    data = make(RGB)
    assert off(data) < 1
    assert decode_image(data).note is None


def test_profile_of_other_colours_on_cmyk_gets_a_note() -> None:
    data = saved(PIL.Image.fromarray(RGB).convert("CMYK"), "TIFF", icc_profile=TO_SRGB)
    assert off(data) < 1
    assert decode_image(data).note == UNUSABLE


def test_lab_is_converted() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.applyTransform(PIL.Image.fromarray(RGB), ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    assert image is not None
    assert off(saved(image, "TIFF")) < 1.5
