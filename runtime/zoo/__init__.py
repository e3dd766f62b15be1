"""Models that ship inside the package."""

from __future__ import annotations

from pathlib import Path


def default_model() -> Path:
    """The model that ships inside the package."""
    return Path(__file__).parent / "lifeiqa-lite0.onnx"
