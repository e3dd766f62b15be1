import dataclasses
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifeiqa.runtime.errors import ImageError, ManifestError, UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of, fitted, resized, spread_positions

SPEC = PreprocessSpec()
sides = st.integers(224, 1000)


@given(st.integers(1, 64), sides, sides)
def test_crops_lie_inside_the_picture(count: int, height: int, width: int) -> None:
    for y, x in spread_positions(count, height, width, 224, 224):
        assert 0 <= y <= height - 224
        assert 0 <= x <= width - 224


@given(st.integers(2, 64), sides, sides)
def test_first_crop_is_the_centre_and_more_crops_keep_the_first_ones(count: int, height: int, width: int) -> None:
    positions = spread_positions(count, height, width, 224, 224)
    assert positions[: count - 1] == spread_positions(count - 1, height, width, 224, 224)
    assert abs(positions[0][0] - (height - 224) / 2) <= 1
    assert abs(positions[0][1] - (width - 224) / 2) <= 1


def test_crops_reach_all_quarters_of_the_picture() -> None:
    quarters = {(y > 400, x > 400) for y, x in spread_positions(5, 1024, 1024, 224, 224)}
    assert len(quarters) == 4


def test_crops_are_cut_unchanged_when_nothing_is_resized() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    crops = crops_of(pixels, SPEC, 3)
    assert crops.shape == (3, 224, 224, 3)
    assert np.array_equal(crops[0], pixels[38:262, 88:312])


def test_picture_of_one_crop_gives_one_crop() -> None:
    assert crops_of(np.zeros((224, 224, 3), np.uint8), SPEC, 9).shape == (1, 224, 224, 3)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_picture_smaller_than_a_crop_is_mirrored_evenly_at_its_borders() -> None:
    pixels = noise(200, 180)  # 12 pixels are missing above and below, 22 on the left and on the right
    (crop,) = crops_of(pixels, SPEC)
    assert np.array_equal(crop[12:212, 22:202], pixels)
    for k in range(1, 13):
        assert np.array_equal(crop[12 - k], crop[12 + k])
        assert np.array_equal(crop[211 + k], crop[211 - k])
    for k in range(1, 23):
        assert np.array_equal(crop[:, 22 - k], crop[:, 22 + k])
        assert np.array_equal(crop[:, 201 + k], crop[:, 201 - k])


@given(st.integers(1, 300), st.integers(1, 300))
def test_small_pictures_of_any_shape_are_reflected_as_often_as_needed(height: int, width: int) -> None:
    pixels = noise(height, width)
    down, right = max(0, 224 - height), max(0, 224 - width)
    borders = (down // 2, down - down // 2, right // 2, right - right // 2)
    assert np.array_equal(fitted(pixels, SPEC), cv2.copyMakeBorder(pixels, *borders, cv2.BORDER_REFLECT_101))
    assert (SPEC.note(height, width) is None) == (min(height, width) >= 224)


def test_one_pixel_fills_its_crop() -> None:
    (crop,) = crops_of(np.array([[[10, 20, 30]]], np.uint8), SPEC)
    assert crop.shape == (224, 224, 3)
    assert (crop == (10, 20, 30)).all()


def test_strip_is_reflected_across_and_cut_along() -> None:
    pixels = noise(3, 500)
    crops = crops_of(pixels, SPEC, 5)
    assert crops.shape == (5, 224, 224, 3)
    rows = [0, 1, 2, 1]  # from the row that stands 110 below the top
    assert all(np.array_equal(crops[0, 110 + k], pixels[rows[k % 4], 138:362]) for k in range(-110, 114))


@pytest.mark.parametrize("shape", [(0, 0), (0, 300), (300, 0)])
@pytest.mark.parametrize("spec", [SPEC, dataclasses.replace(SPEC, resize="exact", resize_to=(512, 384))])
def test_picture_without_pixels_is_an_error(spec: PreprocessSpec, shape: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="no pixels"):
        crops_of(np.zeros((*shape, 3), np.uint8), spec)


def test_picture_that_is_brought_to_an_exact_size_is_not_reflected() -> None:
    spec = dataclasses.replace(SPEC, resize="exact", resize_to=(512, 384))
    pixels = noise(100, 80)
    assert np.array_equal(fitted(pixels, spec), resized(pixels, spec))
    assert spec.note(100, 80) is None


def test_large_pictures_are_neither_copied_nor_noted() -> None:
    pixels = noise(224, 300)
    assert fitted(pixels, SPEC) is pixels
    assert SPEC.note(224, 300) is None


@pytest.mark.parametrize(
    ("spec", "shape", "expected"),
    [
        (SPEC, (1080, 1920), (512, 910)),
        (SPEC, (300, 5000), (300, 5000)),
        (dataclasses.replace(SPEC, resize="none", resize_to=()), (1080, 1920), (1080, 1920)),
        (dataclasses.replace(SPEC, resize="exact", resize_to=(512, 384)), (1080, 1920), (384, 512)),
        (dataclasses.replace(SPEC, resize="exact", resize_to=(512, 384)), (100, 90), (384, 512)),
    ],
)
def test_resize_rules(spec: PreprocessSpec, shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized(np.zeros((*shape, 3), np.uint8), spec).shape[:2] == expected


EXACT = dataclasses.replace(SPEC, resize="exact", resize_to=(512, 384))


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("spec", [SPEC, EXACT], ids=["shorter side", "exact"])
@pytest.mark.parametrize(
    "shape",
    [
        (1080, 1920),
        (1920, 1080),
        (720, 1280),
        (1536, 2048),
        (513, 514),
        (769, 1155),
        (1333, 777),
        (2000, 300),
        (530, 2501),
    ],
)
def test_crops_are_those_of_the_whole_reduced_picture_bit_for_bit(
    shape: tuple[int, int], spec: PreprocessSpec, count: int
) -> None:
    pixels = noise(*shape)
    whole = fitted(pixels, spec)
    corners = spread_positions(count, *whole.shape[:2], 224, 224)
    crops = crops_of(pixels, spec, count)
    assert all(
        np.array_equal(crop, whole[y : y + 224, x : x + 224]) for crop, (y, x) in zip(crops, corners, strict=True)
    )


@given(st.integers(513, 1600), st.integers(513, 1600), st.integers(224, 512), st.integers(224, 512))
@settings(max_examples=40, deadline=None)
def test_part_of_a_reduced_picture_is_the_same_as_in_the_whole(
    height: int, width: int, rows: int, columns: int
) -> None:
    pixels = noise(height, width)
    part = resized(pixels, SPEC, (rows, columns))[:rows, :columns]
    assert part.shape[:2] == (rows, columns)
    assert np.array_equal(part, resized(pixels, SPEC)[:rows, :columns])


def test_what_no_crop_reaches_is_not_reduced() -> None:
    assert resized(noise(1080, 1920), SPEC, (445, 759)).shape == (446, 760, 3)


def test_reducing_averages_rather_than_skips() -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[::2] = 255
    assert set(np.unique(resized(stripes, SPEC))) <= {127, 128}


@pytest.mark.parametrize("count", [0, -1, 257])
def test_number_of_crops_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 256"):
        crops_of(np.zeros((300, 300, 3), np.uint8), SPEC, count)


def test_spec_survives_json_types() -> None:
    spec = dataclasses.replace(SPEC, resize="exact", resize_to=(512, 384), crops=25)
    assert PreprocessSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"crop_plan": "random"},
        {"resize": "shorter_side_at_most", "resize_to": []},
        {"resize": "stretch"},
        {"color": "BGR"},
        {"std": [0.0, 1.0, 1.0]},
        {"crop_size": -3},
        {"crop_size": "224"},
        {"resize_to": [100]},
        {"extra": 1},
        {"mean": None},
    ],
)
def test_spec_that_this_version_does_not_know_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ManifestError):
        PreprocessSpec.from_dict({**SPEC.to_dict(), **change})


@pytest.mark.parametrize("shape", [(1, 300_000), (300_000, 1), (100, 5000)])
def test_narrow_pictures_need_no_more_memory_than_their_crops(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    tracemalloc.start()
    crops = crops_of(pixels, SPEC)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * crops.nbytes
    whole, side = fitted(pixels, SPEC), SPEC.crop_size
    corners = spread_positions(SPEC.crops, *whole.shape[:2], side, side)
    assert np.array_equal(crops, [whole[y : y + side, x : x + side] for y, x in corners])
