"""From a picture to a score: the library's front door."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.sources.images import read_image
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
    """

    score: float
    std: float
    crops: int
    raw: float


class Scorer:
    """Scores pictures with one exported model. Not thread-safe: one for each thread.

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
    ) -> None:
        """Loads a model.

        Args:
            model: an exported file, or None for the one that ships inside the package.
            device: "auto", "cpu" or "cuda"; only "auto" ever falls back.
            crops: crops a picture, or None for the model's own number.
            threads: CPU threads for one operator; 0 leaves it to the engine.
            backend: "auto", "onnxruntime", "openvino" or "tensorrt"; "auto" goes by the kind of file.

        Raises:
            UsageError, ManifestError, MissingError: see `open_backend`.
        """
        self.backend = open_backend(default_model() if model is None else Path(model), device, threads, backend)
        self.manifest = self.backend.manifest
        self.crops = crops

    def score(self, pixels: UInt8Array) -> Score:
        """Scores a decoded picture, (H, W, 3) uint8 RGB. The same pixels always give the same score.

        Raises:
            ImageError: the picture is smaller than one crop, or the model gives NaN for it.
        """
        scores = self.backend.infer(crops_of(pixels, self.manifest.preprocess, self.crops)).astype(np.float64)
        if not np.isfinite(scores).all():
            raise ImageError("the model gave no number for this picture; was it exported with its check passing?")
        raw = float(scores.mean())
        return Score(self.manifest.scale.clip(raw), float(scores.std()), len(scores), raw)

    def score_file(self, path: str | Path) -> Score:
        """Reads and scores a picture file. Raises `ImageError` when it cannot be decoded or is too small."""
        return self.score(read_image(path).pixels)

    def close(self) -> None:
        """Releases the engine."""
        self.backend.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
