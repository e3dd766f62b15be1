"""Classical blind scores, from before networks: the variance of the Laplacian, BRISQUE and NIQE.

BRISQUE and NIQE need `pip install brisque iqa-torch`: packages that carry the published parameters inside (both
Apache-2.0). brisque 0.2.0 and iqa-torch 1.2.1 are known to work. Nothing is downloaded when they score.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import MissingError
from lifeiqa.runtime.opencv import cv2

Score = Callable[[UInt8Array], float]
NIQE_BLOCK = 96  # pixels; two blocks are the least that have a covariance
PACKAGES = {"laplacian": "", "brisque": "brisque", "niqe": "iqa-torch"}


def open_classical(name: str) -> Score:
    """One of `PACKAGES`, from (H, W, 3) uint8 RGB to a score on its own scale, higher better.

    BRISQUE and NIQE, where lower is better, come with their sign turned. A picture that a score is not defined for,
    such as a flat one, or one too small for two blocks of NIQE, gets NaN.

    Raises:
        MissingError: its package is not installed.
    """
    openers: dict[str, Callable[[], Score]] = {"laplacian": lambda: laplacian, "brisque": _brisque, "niqe": _niqe}
    try:
        return _or_nan(openers[name]())
    except ImportError as error:
        raise MissingError(f"{name} (pip install {PACKAGES[name]}): {error}") from error


def version_of(name: str) -> str:
    """The package of a score and its version, such as "iqa-torch 1.2.1"; "" where it needs none."""
    package = PACKAGES[name]
    return f"{package} {importlib.metadata.version(package)}" if package else ""


def laplacian(pixels: UInt8Array) -> float:
    """Logarithm of the variance of the grey picture's Laplacian: how much fine detail (H, W, 3) uint8 RGB has.

    The logarithm (of the variance and 1) keeps the order, and so SROCC and KRCC; PLCC's logistic fits it better.
    """
    return math.log1p(float(cv2.Laplacian(_grey(pixels), cv2.CV_64F).var()))


def _brisque() -> Score:
    """Mittal et al., No-Reference Image Quality Assessment in the Spatial Domain (2012); 0 best, about 100 worst."""
    package: Any = importlib.import_module("brisque")

    class Brisque(package.BRISQUE):  # type: ignore[misc]
        """NumPy 2.4 makes no number of an array of one, which is what some features of the package are."""

        def scale_features(self, features: Any) -> Any:
            """Scales the 36 features."""
            return super().scale_features([np.asarray(value).item() for value in features])

    metric = Brisque(url=False)
    return lambda pixels: -float(metric.score(pixels))


def _niqe() -> Score:
    """Mittal et al., Making a "Completely Blind" Image Quality Analyzer (2013); a distance, about 3 for good ones."""
    core: Any = importlib.import_module("iqa.niqe.niqe_core")
    torch: Any = importlib.import_module("torch")
    stored = core.NIQE_PRIS_PARAMS
    # Of a mean of one dimension, the distance is a number, as NumPy 2.4 wants it. Also, the file is read only once.
    core.NIQE_PRIS_PARAMS = {name: stored[name] for name in stored} | {"mu_pris_param": stored["mu_pris_param"].ravel()}

    def niqe(pixels: UInt8Array) -> float:
        if (pixels.shape[0] // NIQE_BLOCK) * (pixels.shape[1] // NIQE_BLOCK) < 2:
            return math.nan
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # its pieces are so small that several threads mostly wait for one another
        try:
            return -float(core._apply_niqe(torch.from_numpy(_grey(pixels))))
        finally:
            torch.set_num_threads(threads)

    return niqe


def _grey(pixels: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def _or_nan(score: Score) -> Score:
    def guarded(pixels: UInt8Array) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of divisions by zero: the result is NaN then, and that is dealt with
            try:
                return score(pixels)
            except (ArithmeticError, ValueError):  # of NaN among the features; np.linalg.LinAlgError is a ValueError
                return math.nan

    return guarded
