from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.sources.images import decode_image, read_image

RNG = np.random.default_rng(0)
RGB = cv2.GaussianBlur(RNG.integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 2)


def encode(pixels: np.ndarray, suffix: str, *parameters: int) -> bytes:
    return cv2.imencode(suffix, pixels, list(parameters))[1].tobytes()


JPEG = encode(RGB[:, :, ::-1], ".jpg")
PROGRESSIVE = encode(RGB[:, :, ::-1], ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
PNG = encode(RGB[:, :, ::-1], ".png")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_lossless_formats_keep_every_pixel_in_rgb_order(suffix: str) -> None:
    image = decode_image(encode(RGB[:, :, ::-1], suffix))
    assert np.array_equal(image.pixels, RGB)
    assert image.note is None


def test_sixteen_bits_are_reduced_to_eight() -> None:
    image = decode_image(encode(RGB[:, :, ::-1].astype(np.uint16) * 257, ".png"))
    assert np.array_equal(image.pixels, RGB)
    assert image.note == "16 bits reduced to 8"


def test_grey_is_repeated_over_the_channels() -> None:
    image = decode_image(encode(RGB[:, :, 0], ".png"))
    assert np.array_equal(image.pixels, np.repeat(RGB[:, :, :1], 3, axis=2))
    assert image.note == "grey"


def test_transparency_is_laid_on_white() -> None:
    alpha = np.zeros((60, 80, 1), np.uint8)
    alpha[:30] = 255
    image = decode_image(encode(np.concatenate([RGB[:, :, ::-1], alpha], axis=2), ".png"))
    assert np.array_equal(image.pixels[:30], RGB[:30])
    assert (image.pixels[30:] == 255).all()
    assert image.note == "transparency laid on white"


def test_opaque_alpha_changes_nothing() -> None:
    opaque = np.full((60, 80, 1), 255, np.uint8)
    image = decode_image(encode(np.concatenate([RGB[:, :, ::-1], opaque], axis=2), ".png"))
    assert np.array_equal(image.pixels, RGB)
    assert image.note is None


def test_float_samples_are_refused_with_advice() -> None:
    with pytest.raises(ImageError, match="float32 samples; convert it"):
        decode_image(encode(RGB.astype(np.float32), ".tiff"))


def test_exif_orientation_is_applied() -> None:
    # APP1 with one TIFF entry: Orientation (0x0112) = 6, rotate by 90 degrees
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    segment = b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\x00\x00" + tiff
    image = decode_image(JPEG[:2] + segment + JPEG[2:])
    assert image.pixels.shape == (80, 60, 3)


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE])
def test_jpeg_is_refused_wherever_it_is_cut(data: bytes) -> None:
    assert decode_image(data).pixels.shape == RGB.shape
    for end in range(2, len(data) - 2, 7):
        with pytest.raises(ImageError):
            decode_image(data[:end])


def test_jpeg_whose_thumbnail_is_whole_but_whose_picture_is_cut_is_refused() -> None:
    segment = b"\xff\xe1" + (len(JPEG) + 2).to_bytes(2, "big") + JPEG
    whole = JPEG[:2] + segment + JPEG[2:]
    assert decode_image(whole).pixels.shape == RGB.shape
    with pytest.raises(ImageError, match="cut short"):
        decode_image(whole[:-100])


def test_jpeg_with_trailing_data_is_read() -> None:
    assert decode_image(JPEG + b"\xff\xd8\xff\xda" + b"rest" * 50).pixels.shape == RGB.shape


def test_png_with_trailing_data_is_read() -> None:
    assert decode_image(PNG + bytes(5000)).pixels.shape == RGB.shape


def test_png_is_refused_wherever_it_is_cut() -> None:
    for end in range(1, len(PNG) - 1, 97):
        with pytest.raises(ImageError):
            decode_image(PNG[:end])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", PNG[:33], b"RIFF0000WEBP", b"II*\x00", b"BM"]))
def test_hostile_bytes_raise_nothing_but_image_error(tail: bytes, head: bytes) -> None:
    try:
        decode_image(head + tail)
    except ImageError as error:
        assert str(error)


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
