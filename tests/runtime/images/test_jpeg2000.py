"""JPEG 2000: the range of samples, damage that its decoder does not see, and the profile in its header."""

import struct

import cv2
import numpy as np
import PIL.Image
import pytest
from picture_files import (
    DISPLAY_P3,
    GREY,
    P3,
    RGB,
    SRGB,
    THREE_GREYS,
    by_opencv,
    hole_of_zeros,
    hole_removed,
    rgb_profile,
    saved,
    with_depth,
    with_profile_box,
)

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import decode_image
from lifeiqa.runtime.images.jpeg2000 import codestream, icc_profile

JP2 = saved(RGB, "JPEG2000")
BARE = saved(RGB, "JPEG2000", no_jp2=True)
LOSSY = saved(RGB, "JPEG2000", irreversible=True, quality_layers=[20])
WHITE = np.full((600, 600, 3), 255, np.uint8)


def with_bits(values: np.ndarray, depth: int) -> bytes:
    """A JPEG 2000 of this depth: coded with 8 or 16, and samples moved to the middle of those."""
    room = 8 if depth < 8 else 16
    samples = np.round(values / 255 * ((1 << depth) - 1)) + (1 << (room - 1)) - (1 << (depth - 1))
    if room == 8:
        data = saved(samples.astype(np.uint8), "JPEG2000")
    else:
        data = by_opencv(samples.astype(np.uint16), ".jp2", cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)
    return with_depth(data, depth, 1 if values.ndim == 2 else 3)


@pytest.mark.parametrize("data", [JP2, BARE], ids=["in boxes", "bare codestream"])
def test_lossless_file_keeps_every_pixel(data: bytes) -> None:
    image = decode_image(data)
    assert np.array_equal(image.pixels, RGB)
    assert image.note is None


@pytest.mark.parametrize("depth", [1, 4, 7])
@pytest.mark.parametrize("grey", [False, True])
def test_fewer_than_eight_bits_reach_the_whole_range(depth: int, grey: bool) -> None:
    values, expected = (GREY, THREE_GREYS) if grey else (RGB, RGB)
    most = (1 << depth) - 1
    image = decode_image(with_bits(values, depth))
    assert np.abs(image.pixels.astype(int) - np.round(np.round(expected / 255 * most) / most * 255)).max() <= 1


@pytest.mark.parametrize("depth", [10, 12, 16])
@pytest.mark.parametrize("grey", [False, True])
def test_more_than_eight_bits_reach_the_whole_range(depth: int, grey: bool) -> None:
    values, expected = (GREY, THREE_GREYS) if grey else (RGB, RGB)
    image = decode_image(with_bits(values, depth))
    assert np.abs(image.pixels.astype(int) - expected).max() <= 2
    assert image.note == ("16 bits reduced to 8; grey" if grey else "16 bits reduced to 8")


@pytest.mark.parametrize("depth", [12, 16])
def test_pure_white_of_many_bits_stays_white(depth: int) -> None:
    part = RGB.copy()
    part[:30] = 255
    for values in (part, np.full_like(RGB, 255)):
        image = decode_image(with_bits(values, depth))
        assert image.pixels[:30].min() >= 254
        assert np.abs(image.pixels.astype(int) - values).max() <= 2


def test_sixteen_bits_of_grey_by_pillow_are_read() -> None:
    deep = PIL.Image.fromarray(GREY.astype(np.uint16) * 257)
    assert np.array_equal(decode_image(saved(deep, "JPEG2000")).pixels, THREE_GREYS)


def test_header_says_depth_and_packets() -> None:
    assert codestream(JP2).depth == 8
    assert codestream(with_bits(RGB, 12)).depth == 12
    layers = saved(RGB, "JPEG2000", quality_layers=[30, 20, 10], num_resolutions=4)
    assert codestream(layers).packets == 3 * 4 * 3
    assert codestream(saved(RGB, "JPEG2000", precinct_size=(64, 64))).packets is None
    for data in (b"", JP2[:100], JP2[: JP2.find(b"\xff\x52") + 8]):
        with pytest.raises(ImageError, match="no JPEG 2000 header"):
            codestream(data)


# Damage


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("data", [JP2, BARE, LOSSY, with_bits(RGB, 16)], ids=["in boxes", "bare", "lossy", "16 bits"])
def test_cut_file_is_refused(data: bytes, share: float) -> None:
    with pytest.raises(ImageError, match="cut short"):
        decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("data", [JP2, BARE, LOSSY], ids=["in boxes", "bare", "lossy"])
def test_hole_is_refused(data: bytes, at: float) -> None:
    assert decode_image(data).note is None
    with pytest.raises(ImageError, match="a hole of zeros"):
        decode_image(hole_of_zeros(data, at, 120)[: len(data)])
    with pytest.raises(ImageError, match="cut short"):
        decode_image(hole_removed(data, at, 120))


def test_second_half_of_zeros_is_refused() -> None:
    with pytest.raises(ImageError, match="a hole of zeros"):
        decode_image(JP2[: len(JP2) // 2] + bytes(len(JP2) // 2))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality_layers": [40, 20, 10, 5, 1]},
        {"quality_layers": list(range(60, 1, -1))},
        {"quality_layers": list(range(60, 1, -1)), "irreversible": True},
        {"quality_layers": [40, 20, 10], "tile_size": (128, 128)},
        {"quality_layers": [40, 20, 10], "precinct_size": (32, 32)},
        {"tile_size": (64, 64)},
    ],
    ids=str,
)
def test_white_picture_is_not_taken_for_a_hole(options: dict[str, object]) -> None:
    assert (decode_image(saved(WHITE, "JPEG2000", **options)).pixels == 255).all()


def test_packets_that_are_said_to_be_empty_are_no_hole() -> None:
    middle = np.full((600, 600, 3), 128, np.uint8)
    data = saved(middle, "JPEG2000", quality_layers=list(range(60, 1, -1)))
    start = data.find(b"\xff\x93") + 2
    packets = codestream(data).packets
    assert packets == 59 * 6 * 3
    assert data[start:] == b"\x80" * packets + b"\xff\xd9"  # there, but with nothing in them
    empty = data[:start] + bytes(packets) + data[-2:]
    assert np.array_equal(decode_image(empty).pixels, middle)


# Colour


def test_profile_in_the_colour_box_is_used() -> None:
    profile = rgb_profile(DISPLAY_P3)
    data = with_profile_box(saved(P3, "JPEG2000"), profile)
    assert icc_profile(data) == profile
    off = np.abs(decode_image(data).pixels.astype(int) - RGB)
    assert off.max() <= 8 and off.mean() < 0.4
    assert np.abs(P3.astype(int) - RGB).mean() > 5


def test_profile_of_srgb_changes_no_pixel_and_junk_gets_a_note() -> None:
    image = decode_image(with_profile_box(JP2, rgb_profile(SRGB)))
    assert np.array_equal(image.pixels, RGB) and image.note is None
    image = decode_image(with_profile_box(JP2, b"junk" * 50))
    assert np.array_equal(image.pixels, RGB) and image.note == "colour profile cannot be used"


def test_boxes_that_lie_about_their_length_end_the_search() -> None:
    for length in (0, 1, 4, 0xFFFFFFFF):
        data = JP2[:12] + struct.pack(">I4s", length, b"free") + bytes(16)
        assert icc_profile(data) is None
    assert icc_profile(JP2) is None
    assert icc_profile(BARE) is None
