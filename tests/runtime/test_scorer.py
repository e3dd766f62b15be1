from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lifeiqa.runtime import Scorer, ScoreScale
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.preprocess import crops_of, fitted


def test_score_is_the_mean_over_the_crops(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    with Scorer(tiny_onnx, device="cpu") as scorer:
        values = scorer.backend.infer(crops_of(astronaut, scorer.manifest.preprocess)).astype(np.float64)
        score = scorer.score(astronaut)
    assert (score.raw, score.std, score.crops) == (values.mean(), values.std(), 5)
    assert score.score == scorer.manifest.scale.clip(score.raw)


@pytest.mark.parametrize(("offset", "score"), [(1000.0, 100.0), (-1000.0, 0.0)])
def test_a_score_beyond_the_scale_is_clipped_and_the_raw_one_kept(
    offset: float, score: float, tiny_onnx: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scorer(tiny_onnx, device="cpu") as scorer:
        plain, infer = scorer.score(astronaut), scorer.backend.infer
        monkeypatch.setattr(scorer.backend, "infer", lambda crops: infer(crops) + np.float32(offset))
        moved = scorer.score(astronaut)
        assert moved.score == score
        assert moved.grade == ("excellent" if score else "bad")
        assert moved.raw == pytest.approx(plain.raw + offset, abs=0.01)
        assert moved.std == pytest.approx(plain.std, abs=0.01)  # of raw scores: not 0 because all crops are clipped
        monkeypatch.setattr(scorer, "manifest", replace(scorer.manifest, scale=ScoreScale(0, 1, own=True)))
        own = scorer.score(astronaut)
        assert (own.score, own.grade) == (moved.raw, None)  # nobody knows the ends of such a scale


def test_same_picture_same_score_in_every_session(tiny_onnx: Path, photos: Path) -> None:
    scores = set()
    for _ in range(3):
        with Scorer(tiny_onnx, device="cpu") as scorer:
            scores.add(scorer.score_file(photos / "chelsea.png"))
    assert len(scores) == 1


def test_number_of_crops_is_the_users(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    with Scorer(tiny_onnx, device="cpu", crops=1) as scorer:
        one = scorer.score(astronaut)
    assert one.crops == 1
    assert one.std == 0


SMALL = "smaller than a crop, reflected at the borders"


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (100, 80)])
def test_small_picture_is_scored_and_says_that_it_was_reflected(
    shape: tuple[int, int], tiny_onnx: Path, astronaut: np.ndarray
) -> None:
    small = astronaut[: shape[0], : shape[1]]
    with Scorer(tiny_onnx, device="cpu") as scorer:
        score = scorer.score(small)
        assert scorer.score(fitted(small, scorer.manifest.preprocess)) == replace(score, note=None)
    assert np.isfinite(score.raw)
    assert score.note == SMALL


def test_note_of_a_file_says_all_that_was_changed(tiny_onnx: Path, astronaut: np.ndarray, tmp_path: Path) -> None:
    for name, pixels in {"small": astronaut[:80, :80, 0], "grey": astronaut[..., 0], "plain": astronaut}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    with Scorer(tiny_onnx, device="cpu") as scorer:
        notes = [scorer.score_file(tmp_path / f"{name}.png").note for name in ("small", "grey", "plain")]
    assert notes == [f"grey; {SMALL}", "grey", None]


def test_picture_without_pixels_is_an_image_error(tiny_onnx: Path) -> None:
    with Scorer(tiny_onnx, device="cpu") as scorer, pytest.raises(ImageError, match="no pixels"):
        scorer.score(np.zeros((0, 300, 3), np.uint8))


def test_broken_file_is_an_image_error(tiny_onnx: Path, tmp_path: Path) -> None:
    with Scorer(tiny_onnx, device="cpu") as scorer, pytest.raises(ImageError):
        scorer.score_file(tmp_path / "none.jpg")


def test_memory_does_not_grow_with_pictures_of_many_sizes(tiny_onnx: Path) -> None:
    def resident_kb() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    rng = np.random.default_rng(0)
    with Scorer(tiny_onnx, device="cpu") as scorer:

        def score_some(count: int) -> None:
            for _ in range(count):
                height, width = rng.integers(224, 900, 2)
                scorer.score(np.zeros((height, width, 3), np.uint8))

        score_some(60)
        before = resident_kb()
        score_some(240)
        assert resident_kb() - before < 20_000
