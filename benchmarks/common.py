"""What the benchmarks share: the shipped checkpoint, and comparing like with like."""

from __future__ import annotations

from pathlib import Path

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.runtime.backends import Backend, open_backend
from lifeiqa.runtime.errors import UsageError

SHIPPED = Path(__file__).resolve().parent.parent / "models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt"


def open_artifact_of(checkpoint: Checkpoint, ckpt: Path, artifact: Path, device: str) -> Backend:
    """Opens an artifact on a device, see `open_backend`.

    Raises:
        UsageError: it was exported from another checkpoint than the one read from `ckpt`.
    """
    engine = "onnxruntime" if artifact.suffix == ".onnx" else "auto"  # the same on every machine
    backend = open_backend(artifact, device=device, backend=engine)
    if backend.manifest.checkpoint_sha256 != checkpoint.sha256:
        backend.close()
        raise UsageError(f"{artifact} comes from another checkpoint than {ckpt}; compare like with like.")
    return backend
