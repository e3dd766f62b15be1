import numpy as np
import pytest

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import from_array

RGB = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)


def test_grey_and_transparent_arrays_become_rgb_with_a_note() -> None:
    assert from_array(RGB).note is None and np.array_equal(from_array(RGB).pixels, RGB)
    for grey in (RGB[:, :, 0], RGB[:, :, :1]):
        image = from_array(grey)
        assert image.note == "grey" and np.array_equal(image.pixels, np.repeat(RGB[:, :, :1], 3, axis=2))
    half = np.dstack([RGB, np.full((8, 6), 128, np.uint8)])
    assert from_array(half).note == "transparency laid on white" and from_array(half).pixels.mean() > RGB.mean()
    opaque = np.dstack([RGB, np.full((8, 6), 255, np.uint8)])
    assert from_array(opaque).note is None and np.array_equal(from_array(opaque).pixels, RGB)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RGB / 255.0, r"uint8.*found float64: np\.rint\(255 \* x\)"),
        (RGB.astype(np.uint16), "found uint16"),
        (RGB.astype(bool), "found bool"),
        (RGB.transpose(2, 0, 1), r"found shape \(3, 8, 6\)"),
        (RGB[None], r"found shape \(1, 8, 6, 3\)"),
        (RGB[:0], "no pixels"),
        ("photo.jpg", "found shape"),
        (None, "found NoneType"),
    ],
)
def test_other_arrays_are_refused_by_name(pixels: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        from_array(pixels)
