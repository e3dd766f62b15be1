"""The readers of the paper's seven benchmark sets, in its order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lifeiqa.models.datasets import benchmarks_authentic as authentic
from lifeiqa.models.datasets import benchmarks_synthetic as synthetic
from lifeiqa.models.datasets.base import QualitySet, SetInfo

READERS: tuple[tuple[SetInfo, Callable[[Path], QualitySet]], ...] = (
    (synthetic.LIVE, synthetic.read_live),
    (synthetic.CSIQ, synthetic.read_csiq),
    (synthetic.TID2013, synthetic.read_tid2013),
    (synthetic.KADID10K, synthetic.read_kadid10k),
    (authentic.LIVEC, authentic.read_livec),
    (authentic.KONIQ10K, authentic.read_koniq10k),
    (authentic.SPAQ, authentic.read_spaq),
)
