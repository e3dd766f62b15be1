"""Scores pictures and cameras with an exported Life-IQA model: NumPy, OpenCV and an inference engine, no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "LifeIQAError",
    "Manifest",
    "PreprocessSpec",
    "Record",
    "Score",
    "ScoreScale",
    "Scorer",
    "score_files",
    "score_frame",
]

if TYPE_CHECKING:
    from lifeiqa.runtime.errors import LifeIQAError
    from lifeiqa.runtime.manifest import Manifest, ScoreScale
    from lifeiqa.runtime.preprocess import PreprocessSpec
    from lifeiqa.runtime.scorer import Score, Scorer
    from lifeiqa.runtime.scoring.api import score_files, score_frame
    from lifeiqa.runtime.sinks.record import Record
else:
    _MODULES = {
        "LifeIQAError": "errors",
        "Manifest": "manifest",
        "PreprocessSpec": "preprocess",
        "Record": "sinks.record",
        "Score": "scorer",
        "ScoreScale": "manifest",
        "Scorer": "scorer",
        "score_files": "scoring.api",
        "score_frame": "scoring.api",
    }

    def __getattr__(name: str) -> object:
        """Loads a name when it is asked for: a command's -h, or its errors, need neither NumPy nor OpenCV."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
