"""One result: what is written of a picture, whatever the format."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import IO

from lifeiqa.runtime.scorer import Score, join_notes
from lifeiqa.runtime.sources.sample import Sample


@dataclass(frozen=True)
class Record:
    """One line of the output.

    Attributes:
        source: file or camera.
        score: None where there is an error.
        grade: nearest to the score, of bad, poor, fair, good and excellent; None where there is an error, and where
            the model's scale is its own.
        std: over crops.
        crops: how many were read; 0 where there is an error.
        error: None, or why there is no score.
        note: None, or what had to be changed to read the picture.
        frame, time_s: position in a video or camera stream, None for pictures.
        age_s, dropped: for cameras, age of the frame when its scoring began, and frames passed over before it.
        raw: what the model gave, where that lies outside its scale and `score` is the end of it; None elsewhere.
    """

    source: str
    score: float | None
    grade: str | None
    std: float | None
    crops: int
    error: str | None = None
    note: str | None = None
    frame: int | None = None
    time_s: float | None = None
    age_s: float | None = None
    dropped: int | None = None
    raw: float | None = None

    @property
    def rank(self) -> float | None:
        """What to sort by: several pictures at an end of the scale are still in order."""
        return self.score if self.raw is None else self.raw

    @classmethod
    def of(cls, sample: Sample, score: Score | None, error: str | None = None) -> Record:
        """Puts a sample and its score (or the error in its place) together."""
        return cls(
            source=_printable(sample.source),
            score=None if score is None else round(score.score, 4),
            grade=None if score is None else score.grade,
            std=None if score is None else round(score.std, 4),
            crops=0 if score is None else score.crops,
            error=error if error is not None else sample.error,
            note=sample.note if score is None else join_notes(sample.note, score.note),
            frame=sample.frame,
            time_s=_rounded(sample.time_s),
            age_s=_rounded(sample.age_s),
            dropped=sample.dropped,
            raw=None if score is None or score.raw == score.score else round(score.raw, 4),
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _printable(name: str) -> str:
    """Names of files are text already, see `names.printable`; a camera's address keeps what can be shown of it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_line(file: IO[str], text: str) -> None:
    """Writes a line and hands it on at once, so that who reads the output sees it."""
    file.write(text + "\n")
    file.flush()


def is_utf(file: IO[str]) -> bool:
    """Whether every character can be written to this file."""
    return (getattr(file, "encoding", None) or sys.getdefaultencoding()).lower().replace("-", "").startswith("utf")
