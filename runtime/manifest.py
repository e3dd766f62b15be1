"""What an artifact says about itself, carried in the ONNX metadata (or beside an engine)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lifeiqa.runtime.errors import ManifestError
from lifeiqa.runtime.preprocess import PreprocessSpec

METADATA_KEY = "lifeiqa_manifest"
FORMAT = 1
GRADES = ("bad", "poor", "fair", "good", "excellent")  # evenly spaced, from the worst score to the best
_SINCE_REDUCED_PRECISION = {"flavor", "kept", "guard"}  # fields that older FP32 artifacts lack


@dataclass(frozen=True)
class ScoreScale:
    """What a number from the model means.

    Attributes:
        low, high: the scores of the worst and the best picture. A model's raw score can lie slightly outside; `clip`
            brings it back.
        own: the checkpoint's own scale was kept, because nobody said what it is.
        higher_is_better: direction.
    """

    low: float = 0.0
    high: float = 100.0
    own: bool = False
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        numbers = all(isinstance(n, (int, float)) and math.isfinite(n) for n in (self.low, self.high))
        if not numbers or type(self.own) is not bool or type(self.higher_is_better) is not bool:
            raise ManifestError("A score range has two finite numbers, and two yes-or-no values.")
        if self.low >= self.high:
            raise ManifestError(f"A score range needs low < high, not {self.low!r} and {self.high!r}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScoreScale:
        """Raises `ManifestError` when a field is missing, unknown or of the wrong kind."""
        if not isinstance(values, Mapping) or values.keys() != {f.name for f in fields(cls)}:
            raise ManifestError(f"A score range needs the fields {', '.join(f.name for f in fields(cls))}.")
        return cls(**dict(values))

    @property
    def span(self) -> float:
        """From the worst to the best."""
        return self.high - self.low

    def clip(self, score: float) -> float:
        """A raw score of the model, brought into the scale; unchanged where the checkpoint's own scale was kept."""
        return score if self.own else min(self.high, max(self.low, score))

    def grade(self, score: float) -> str | None:
        """The nearest grade of the five-grade quality scale (ITU-R BT.500; ACR of ITU-T P.910).

        The grades lie evenly from the worst score to the best: on 0-100, 0 is bad, 25 poor, 50 fair, 75 good and 100
        excellent, and the borders are 12.5, 37.5, 62.5 and 87.5. A score on a border has the better grade, one beyond
        the ends that of the end.

        Returns:
            One of `GRADES`, or None where the checkpoint's own scale was kept.
        """
        if self.own:
            return None
        share = (self.clip(score) - self.low) / self.span
        steps = len(GRADES) - 1
        return GRADES[math.floor(steps * (share if self.higher_is_better else 1.0 - share) + 0.5)]

    def to_artifact(self) -> tuple[float, float]:
        """Gain and shift that bring a checkpoint's raw score to `artifact_scale`."""
        if self.own:
            return 1.0, 0.0
        gain = (100.0 if self.higher_is_better else -100.0) / self.span
        return gain, -gain * (self.low if self.higher_is_better else self.high)

    def artifact_scale(self) -> ScoreScale:
        """The scale of artifacts made from a checkpoint of this one: 0-100, higher better, unless its own is kept."""
        return self if self.own else ScoreScale()


@dataclass(frozen=True)
class Manifest:
    """Everything a reader of an artifact must know. One JSON object in the file.

    Attributes:
        name: of the model, for people.
        version: of the lifeiqa that wrote the artifact.
        checkpoint_sha256: of the checkpoint file it came from.
        precision: arithmetic of the graph: "fp32", "fp16" or "int8".
        weights: how they are stored: "fp32", "fp16" or "int8". FP16 in an FP32 graph: widened at load.
        preprocess: see `PreprocessSpec`.
        scale: see `ScoreScale`.
        architecture: the network's configuration.
        training: what the checkpoint says about its data and labels.
        tools: versions of the packages that took part in the export.
        calibration: provenance of the activation ranges, None in floating point.
        flavor: of an INT8 graph, whom it is for: "cpu" or "tensorrt"; "" otherwise.
        kept: nodes of a reduced-precision graph that were left in higher precision, because ranking needs them so.
        guard: how its scores followed the FP32 graph's when it was made, and on what; None in FP32.
    """

    name: str
    version: str
    checkpoint_sha256: str
    precision: str
    weights: str
    preprocess: PreprocessSpec
    scale: ScoreScale
    architecture: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    flavor: str = ""
    kept: tuple[str, ...] = ()
    guard: dict[str, Any] | None = None

    def to_json(self) -> str:
        """The text that goes into the file."""
        return json.dumps({"format": FORMAT, **asdict(self), "preprocess": self.preprocess.to_dict()}, sort_keys=True)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> Manifest:
        """Reads the manifest out of a model's metadata.

        Args:
            metadata: keys and values as the file carries them.
            source: the file's name, for messages.

        Raises:
            ManifestError: there is none, or it is of another format, or malformed.
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise ManifestError(
                f"{source} is not a model that lifeiqa exported: it carries no lifeiqa manifest. "
                "Export one from a checkpoint: lifeiqa-export --ckpt best.pt"
            )
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise ManifestError(f"{source} has a manifest of another format; export it again with this lifeiqa.")
            names = {f.name for f in fields(cls)}
            if not names - _SINCE_REDUCED_PRECISION <= values.keys() <= names:
                raise ManifestError(f"{source} has a manifest with missing or unknown fields; export it again.")
            preprocess = PreprocessSpec.from_dict(values.pop("preprocess"))
            values["kept"] = tuple(values.get("kept", ()))
            return cls(preprocess=preprocess, scale=ScoreScale.from_dict(values.pop("scale")), **values)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ManifestError(f"{source} has a malformed manifest ({error}); export it again.") from error
