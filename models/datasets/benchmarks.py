"""The readers of benchmark sets: the paper's seven in its order, then one that is newer."""

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
NEWER_READERS: tuple[tuple[SetInfo, Callable[[Path], QualitySet]], ...] = ((authentic.BIQ2021, authentic.read_biq2021),)
