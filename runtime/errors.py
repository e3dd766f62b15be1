"""Every error that lifeiqa raises on purpose, and the exit code each one ends a command with.

    LifeIQAError
    |-- UsageError            2  the command line, or a file it names, cannot be used
    |   |-- ManifestError     2  a model file that lifeiqa did not write, or wrote in another format
    |   |-- CheckpointError   2  a checkpoint that cannot be read, is unsafe, or does not fit
    |   `-- DatasetError      2  a data set or label file that is incomplete or malformed
    |-- ImageError            1  one picture that cannot be scored; the others of the run still are
    |-- MissingError          3  something is missing on this machine: a package, a device, a codec
    |-- EngineError           3  TensorRT could not build or run an engine
    |-- WriteError            3  an output that cannot be written: no space, no permission
    |-- ParityError           4  an exported model differs from its checkpoint by more than the limit
    |-- BehaviourError        4  a model's scores are not what people expect of them
    `-- SourceError           5  a camera or stream that cannot be opened, or was lost

Anything else that escapes is a bug, and is shown with its traceback.
"""

from __future__ import annotations

import re
from typing import ClassVar

_DETAILS = re.compile(r"[;(:].*|\b\d+x\d+ ", re.DOTALL)
OTHER_REASON = "another reason"


def reason_of(message: str) -> str:
    """The kind of an error of a picture, to count: its message without what differs from picture to picture."""
    return _DETAILS.sub("", message).strip() or OTHER_REASON


class LifeIQAError(Exception):
    """Root of the tree. The message says what is wrong and what to do about it."""

    exit_code: ClassVar[int] = 1


class UsageError(LifeIQAError):
    """The command line, or a file it names, cannot be used."""

    exit_code = 2


class ManifestError(UsageError):
    """A model file that lifeiqa did not write, or wrote in another format."""


class CheckpointError(UsageError):
    """A checkpoint that cannot be read, is unsafe, or does not fit."""


class DatasetError(UsageError):
    """A data set or label file that is incomplete or malformed."""


class ImageError(LifeIQAError):
    """One picture that cannot be scored."""

    exit_code = 1


class MissingError(LifeIQAError):
    """A package, device or codec that is not on this machine."""

    exit_code = 3


class EngineError(LifeIQAError):
    """TensorRT could not build or run an engine."""

    exit_code = 3


class WriteError(LifeIQAError):
    """An output that cannot be written."""

    exit_code = 3


class ParityError(LifeIQAError):
    """An exported model that is too far from its checkpoint."""

    exit_code = 4


class BehaviourError(LifeIQAError):
    """A model whose scores are not what people expect of them."""

    exit_code = 4


class SourceError(LifeIQAError):
    """A camera or stream that cannot be opened, or was lost."""

    exit_code = 5
