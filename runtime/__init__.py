"""Scores pictures and cameras with an exported Life-IQA model: NumPy, OpenCV and an inference engine, no PyTorch."""

from lifeiqa.runtime.errors import LifeIQAError
from lifeiqa.runtime.manifest import Manifest, ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec
from lifeiqa.runtime.scorer import Score, Scorer

__all__ = ["LifeIQAError", "Manifest", "PreprocessSpec", "Score", "ScoreScale", "Scorer"]
