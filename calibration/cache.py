"""Activation statistics as a file: reused when nothing has changed, carried to where the pictures are not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.statistics import Method, Statistics
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.preprocess import PreprocessSpec

FORMAT = 2


@dataclass(frozen=True)
class CacheKey:
    """What ranges depend on.

    Attributes:
        graph: sha256 of the FP32 graph, weights and all.
        preprocess: sha256 of the preprocessing.
        method: how ranges were chosen.
        pictures: sha256 of the pictures' pixels, or None where there are none to compare with.
    """

    graph: str
    preprocess: str
    method: str
    pictures: str | None

    @classmethod
    def of(cls, model: onnx.ModelProto, spec: PreprocessSpec, method: Method, pictures: PictureSet | None) -> CacheKey:
        """The key of a calibration that is about to be done."""
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        del bare.metadata_props[:]
        text = json.dumps(spec.to_dict(), sort_keys=True).encode()
        return cls(
            hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest(),
            hashlib.sha256(text).hexdigest(),
            method.value,
            None if pictures is None else pictures.sha256,
        )


_WHAT = {
    "graph": "the network, its weights or the exporter's version",
    "preprocess": "how pictures become crops",
    "method": "--calib-method",
    "pictures": "the calibration pictures",
}


def write_cache(path: Path, key: CacheKey, statistics: Statistics, provenance: dict[str, Any]) -> None:
    """Writes statistics with all that they depend on. Raises `WriteError`."""
    content = {
        "format": FORMAT,
        **vars(key),
        "provenance": provenance,
        "ranges": {name: list(values) for name, values in statistics.ranges.items()},
        "means": {name: values.tolist() for name, values in statistics.means.items()},
        "covariances": {name: values.tolist() for name, values in statistics.covariances.items()},
    }
    atomic_write(path, json.dumps(content).encode())


def read_cache(path: Path, key: CacheKey) -> tuple[Statistics, dict[str, Any]]:
    """Reads statistics and their provenance, if they are those of this very calibration.

    Raises:
        UsageError: the file is no cache, or of something else; the message says what differs.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise UsageError(f"{path} is a calibration cache of another format; remove it and calibrate again.")
        differing = [what for name, what in _WHAT.items() if getattr(key, name) not in (None, content[name])]
        if differing:
            raise UsageError(
                f"{path} was measured on something else: {' and '.join(differing)} differ. Ranges of one network or "
                "picture set are wrong for another. Remove the file to calibrate anew, or name another --calib-cache."
            )
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in content["ranges"].items()}
        means = {str(name): np.array(values, np.float32) for name, values in content["means"].items()}
        covariances = {str(name): np.array(values, np.float32) for name, values in content["covariances"].items()}
        every = (*ranges.values(), *means.values(), *covariances.values())
        if not all(np.isfinite(np.asarray(values)).all() for values in every):
            raise ValueError("ranges that are no numbers")
        if any(values.ndim != 2 or values.shape[0] != values.shape[1] for values in covariances.values()):
            raise ValueError("covariances that are no square matrices")
        return Statistics(ranges, means, covariances), dict(content["provenance"])
    except OSError as error:
        raise UsageError(f"Cannot read the calibration cache {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a calibration cache, or cut short; remove it.") from error
