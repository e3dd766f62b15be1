from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.preprocess import PreprocessSpec
from lifeiqa.runtime.report.quality_map import COLORS, colored, place_of, quality_map, spread
from lifeiqa.runtime.scorer import Scorer


class Bright:
    """Stands for a model whose score is the mean brightness of a crop, 0 to 100."""

    def __init__(self, manifest: object) -> None:
        self.manifest, self.crops = manifest, 0

    def infer(self, crops: np.ndarray) -> np.ndarray:
        self.crops += len(crops)
        return (crops.mean(axis=(1, 2, 3)) / 2.55).astype(np.float32)


@pytest.fixture
def bright(tiny_onnx: Path) -> Scorer:
    scorer = Scorer(tiny_onnx, device="cpu", threads=1)
    scorer.manifest = replace(scorer.manifest, preprocess=PreprocessSpec(resize="none", resize_to=()))
    scorer.backend = Bright(scorer.manifest)  # type: ignore[assignment]
    return scorer


def test_a_map_is_bright_where_the_picture_is(bright: Scorer) -> None:
    picture = np.zeros((448, 672, 3), np.uint8)
    picture[:, 448:] = 255
    grid = quality_map(picture, bright)
    assert grid.shape == (3, 5) and grid.dtype == np.float32
    assert np.allclose(grid, [[0, 0, 0, 50, 100]] * 3, atol=0.5)
    blended = spread(grid, (448, 672), bright.manifest.preprocess, (100, 150))
    assert blended.shape == (100, 150) and blended[:, :40].max() < 1 and blended[:, 140:].min() > 95
    assert (np.diff(blended[50]) >= -1e-3).all()


@pytest.mark.parametrize("shape", [(224, 224), (512, 5000), (3000, 4000), (10, 900), (1, 1)])
def test_no_picture_needs_more_than_sixty_crops(bright: Scorer, shape: tuple[int, int]) -> None:
    grid = quality_map(np.full((*shape, 3), 255, np.uint8), bright)
    assert 1 <= grid.size <= 60 and np.allclose(grid, 100)
    assert bright.backend.crops == grid.size  # type: ignore[attr-defined]


def test_the_map_of_a_small_picture_leaves_its_mirror_out(bright: Scorer) -> None:
    picture = np.zeros((100, 448, 3), np.uint8)
    grid = quality_map(picture, bright)
    assert grid.shape == (1, 3)
    blended = spread(np.float32([[0, 50, 100]]), (100, 448), bright.manifest.preprocess, (20, 90))
    assert blended.shape == (20, 90) and blended[10, 45] == pytest.approx(50, abs=2)
    tall = spread(np.float32([[20], [60]]), (300, 100), bright.manifest.preprocess, (60, 20))
    assert tall[0, 0] < tall[30, 0] < tall[-1, 0] and tall[30, 0] == pytest.approx(40, abs=2)


def test_maps_of_a_real_model_lie_on_its_scale(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    with Scorer(tiny_onnx, device="cpu", threads=1) as scorer:
        grid = quality_map(astronaut, scorer)
        assert grid.shape == (4, 4) and grid.min() >= 0 and grid.max() <= 100
        assert np.array_equal(grid, quality_map(astronaut, scorer))
        with pytest.raises(ImageError, match="no pixels"):
            quality_map(astronaut[:0], scorer)


def test_a_model_that_gives_nan_is_told(bright: Scorer) -> None:
    bright.backend.infer = lambda crops: np.full(len(crops), np.nan, np.float32)  # type: ignore[method-assign]
    with pytest.raises(ImageError, match="no number"):
        quality_map(np.zeros((300, 300, 3), np.uint8), bright)


def test_colours_run_from_orange_to_blue_and_the_picture_shows_through() -> None:
    grey = np.full((1, 5, 3), 128, np.uint8)
    row = colored(grey, np.linspace(0, 1, 5)[None]).astype(int)[0]
    assert np.abs(row - (0.7 * np.array(COLORS) + 0.3 * 128)).max() <= 1
    assert (colored(grey, np.full((1, 5), 9.0)) == row[-1]).all()
    light = colored(np.full((1, 1, 3), 255, np.uint8), np.zeros((1, 1)))
    assert light.mean() > colored(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1))).mean()


def test_the_legend_has_the_colours_of_the_maps() -> None:
    css = (Path(__file__).parents[3] / "runtime" / "report" / "page.css").read_text()
    assert ", ".join("#{:02x}{:02x}{:02x}".format(*color) for color in COLORS) in css


@pytest.mark.parametrize(
    "cell, words",
    [((0, 0), "top left"), ((1, 1), "centre"), ((2, 1), "bottom centre"), ((1, 2), "middle right")],
)
def test_places_have_words(cell: tuple[int, int], words: str) -> None:
    assert place_of(*cell, (3, 3)) == words
