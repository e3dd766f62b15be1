"""From a picture to a score: the library's front door."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import from_array, read_image
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.zoo import default_model

__all__ = ["Score", "Scorer", "default_model"]


@dataclass(frozen=True)
class Score:
    """The quality of one picture.

    Attributes:
        score: mean over crops, on the model's scale (0-100, higher better, unless its manifest says otherwise), never
            outside it.
        std: standard deviation over crops: how evenly the quality is spread. Of raw scores.
        crops: how many were read.
        raw: the mean before it was brought into the scale: pictures beyond its ends are still in order.
        grade: the nearest of bad, poor, fair, good and excellent, see `ScoreScale.grade`; None where the model's scale
            is its own.
        note: None, or what had to be changed to read the picture, such as that it was smaller than a crop.
    """

    score: float
    std: float
    crops: int
    raw: float
    grade: str | None = None
    note: str | None = None


def join_notes(*notes: str | None) -> str | None:
    """The notes that there are, as one; None where there are none."""
    return "; ".join(filter(None, notes)) or None


class Scorer:
    """Scores pictures with one exported model. One for each thread, unless its backend is `concurrent`.

    Example:
        with Scorer() as scorer:
            print(scorer.score_file("photo.jpg").score)
    """

    def __init__(
        self,
        model: str | Path | None = None,
        device: str = "auto",
        crops: int | None = None,
        threads: int = 0,
        backend: str = "auto",
        concurrent: bool = False,
    ) -> None:
        """Loads a model.

        Args:
            model: an exported file, or None for the one that ships inside the package.
            device: "auto", "cpu" or "cuda"; only "auto" ever falls back.
            crops: crops a picture, or None for the model's own number.
            threads: CPU threads for one operator; 0 leaves it to the engine.
            backend: "auto", "onnxruntime", "openvino" or "tensorrt"; for "auto" see `open_backend`.
            concurrent: whether several threads will score at the same time, where the engine lets them.

        Raises:
            UsageError, ManifestError, MissingError: see `open_backend`.
        """
        path = default_model() if model is None else Path(model)
        self.backend = open_backend(path, device, threads, backend, concurrent)
        self.manifest = self.backend.manifest
        self.crops = crops

    def score(self, pixels: UInt8Array) -> Score:
        """Scores a decoded picture. The same pixels always give the same score.

        Args:
            pixels: uint8 in sRGB: (H, W, 3) RGB, (H, W, 4) RGBA, which is laid on white, or (H, W) grey.

        Returns:
            the score, with a note on what was changed: one smaller than a crop is reflected at its borders.

        Raises:
            ImageError: it is no such array, has no pixels, or the model gives NaN for it.
        """
        spec, image = self.manifest.preprocess, from_array(pixels)
        score = self.score_crops(crops_of(image.pixels, spec, self.crops))
        return replace(score, note=join_notes(image.note, spec.note(*image.pixels.shape[:2])))

    def score_crops(self, crops: UInt8Array) -> Score:
        """Scores a picture by its crops, (B, S, S, 3) uint8 RGB. Raises `ImageError` where the model gives NaN."""
        return self.score_of(self.backend.infer(crops))

    def score_of(self, crop_scores: FloatArray) -> Score:
        """A picture's score from those of its crops, (B,). Raises `ImageError` where one is NaN."""
        scores, scale = crop_scores.astype(np.float64), self.manifest.scale
        if not np.isfinite(scores).all():
            raise ImageError("the model gave no number for this picture; was it exported with its check passing?")
        raw = float(scores.mean())
        return Score(scale.clip(raw), float(scores.std()), len(scores), raw, scale.grade(raw))

    def score_file(self, path: str | Path) -> Score:
        """Reads and scores a picture file. Raises `ImageError` when it cannot be decoded, and as `score` does."""
        image = read_image(path)
        score = self.score(image.pixels)
        return replace(score, note=join_notes(image.note, score.note))

    def close(self) -> None:
        """Releases the engine."""
        self.backend.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
