"""Which engine "auto" takes for ONNX files, and why: a table of what was measured.

Without a measurement on a processor of the same kind it is ONNX Runtime. Times are medians of both engines in turns;
scores are those of the 180 held-out pictures of `benchmarks/parity.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lifeiqa.runtime.errors import ManifestError
from lifeiqa.runtime.manifest import METADATA_KEY, Manifest
from lifeiqa.runtime.processor import Processor, processor

NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
SAME_SCORE = 0.1  # points of 100 that OpenVINO's worst picture may be away from ONNX Runtime's
WORTH_IT = 0.9  # of ONNX Runtime's time: a smaller gain is not worth another engine
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2  # fields of ONNX's ModelProto, and of the entries of its metadata


@dataclass(frozen=True)
class Measured:
    """OpenVINO against ONNX Runtime on one kind of processor.

    Attributes:
        features: names of `Processor.features` that a processor of this kind has.
        precision: of the file: "fp32", "fp16" or "int8".
        onnxruntime_ms, openvino_ms: one picture of 5 crops on all cores, the packaged network.
        apart: points of 100 between the two scores of the worst picture.
        where: on what it was measured.
    """

    features: frozenset[str]
    precision: str
    onnxruntime_ms: float
    openvino_ms: float
    apart: float
    where: str


_EPYC = "2 cores of an AMD EPYC, ONNX Runtime 1.32, OpenVINO 2026.4"
_VNNI = frozenset({"AVX-512", "VNNI"})
TABLE = (
    Measured(_VNNI, "fp32", 35.3, 33.1, 0.0001, _EPYC),
    Measured(_VNNI, "fp16", 51.7, 32.8, 0.0001, _EPYC),
    Measured(_VNNI, "int8", 20.9, 19.2, 0.78, _EPYC),
)


def choose_engine(
    device: str,
    precision: str,
    concurrent: bool = False,
    here: Collection[str] | None = None,
    cpu: Processor | None = None,
) -> tuple[str, str]:
    """The engine that "auto" takes for an ONNX file, and why.

    Args:
        device: "auto", "cpu" or "cuda". Who asks for CUDA gets ONNX Runtime, for OpenVINO does not run there.
        precision: of the file: "fp32", "fp16" or "int8"; "" where it does not say.
        concurrent: whether many pictures are to be scored at the same time.
        here: the engines that are installed; None looks for them.
        cpu: None: that of this machine.

    Returns:
        "onnxruntime" or "openvino", and a reason for people.
    """
    if here is None:
        here = [name for name in NAMES if importlib.util.find_spec(name) is not None]
    if device == "cuda":
        return "onnxruntime", "CUDA was asked for, and OpenVINO does not run there"
    if not here:
        return "onnxruntime", "no engine for ONNX files is installed"
    if "openvino" not in here:
        return "onnxruntime", "of the engines for ONNX files, only ONNX Runtime is installed"
    if "onnxruntime" not in here:
        return "openvino", "OpenVINO is installed, ONNX Runtime is not"
    engine, reason = _measured(precision, concurrent, processor() if cpu is None else cpu)
    if engine == "openvino" and device == "auto" and _cuda_works_perhaps():
        return "onnxruntime", "this ONNX Runtime is for CUDA"
    return engine, reason


def _measured(precision: str, concurrent: bool, cpu: Processor) -> tuple[str, str]:
    """What the table says where both engines are installed."""
    of_kind = [row for row in TABLE if row.precision == precision and all(map(cpu.has, row.features))]
    if not of_kind:
        kind = precision.upper() or "this file"
        return "onnxruntime", f"ONNX Runtime is the default: {kind} was not measured on a processor like this one"
    row = of_kind[0]
    ratio = row.openvino_ms / row.onnxruntime_ms
    if row.apart > SAME_SCORE:
        return "onnxruntime", (
            f"ONNX Runtime keeps the scores the same everywhere; OpenVINO's differ by up to {row.apart:.2g} points in "
            f"{precision.upper()}, for {ratio:.2f} times the time ({row.where})"
        )
    if concurrent:
        return "onnxruntime", "ONNX Runtime scores a picture on each core at the same time"
    if ratio > WORTH_IT:
        return "onnxruntime", f"OpenVINO takes {ratio:.2f} times the time: not worth another engine ({row.where})"
    return "openvino", f"OpenVINO gives the same scores in {ratio:.2f} times the time ({row.where})"


def _cuda_works_perhaps() -> bool:
    """Whether ONNX Runtime was built for CUDA; only its opening says whether that works."""
    try:
        return "CUDAExecutionProvider" in importlib.import_module("onnxruntime").get_available_providers()
    except (ImportError, AttributeError):
        return False


def precision_of(model: Path) -> str:
    """The precision in the manifest of an ONNX file, read without an engine; "" where there is none to be read.

    Only the lengths of the file's outer fields are read, not its weights.
    """
    try:
        with model.open("rb") as file:
            while (tag := _varint(file)) is not None:
                if tag & 7 == 0:
                    _varint(file)
                    continue
                length = _varint(file)
                if tag & 7 != 2 or length is None:
                    return ""
                if tag >> 3 != _METADATA_PROPS:
                    file.seek(length, 1)
                    continue
                text = _metadata(file.read(length))
                if text is not None:
                    return Manifest.from_metadata({METADATA_KEY: text}, str(model)).precision
    except (OSError, ValueError, ManifestError):
        pass
    return ""


def _metadata(entry: bytes) -> str | None:
    """The value of a StringStringEntryProto whose key is that of the manifest; else None."""
    file, found = io.BytesIO(entry), dict[int, bytes]()
    while (tag := _varint(file)) is not None:
        length = _varint(file)
        if tag & 7 != 2 or length is None:
            return None
        found[tag >> 3] = file.read(length)
    return found.get(_VALUE, b"").decode() if found.get(_KEY) == METADATA_KEY.encode() else None


def _varint(file: BinaryIO) -> int | None:
    """A base-128 number of Protocol Buffers; None at the end of the file. Raises `ValueError` where it has no end."""
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number of more than 64 bits")
