"""A golden set of the tiny model, and artifacts of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance_set import candidates, make_set

from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.runtime.conformance.storage import write_set


@pytest.fixture(scope="session")
def tiny_set(tiny_pt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    pool = [c for c in candidates(224) if c.origin in ("coffee", "article", "grey")]
    write_set(make_set(load_checkpoint(tiny_pt), "tiny", 10, pool), folder)
    return folder
