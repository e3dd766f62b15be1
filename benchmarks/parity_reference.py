"""What the figures of parity.py were when they were last looked at, and how far they may be from that.

The file holds the figures of the shipped checkpoint by artifact, precision and engine. A run that is worse fails, even
within the absolute limits. So does one that is better: were the old figures left in place, the gain could be lost again
and nobody would see it.

Figures are compared only on a processor of the kind that they were measured on, see `other_kind`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment import environment, versions

from lifeiqa.calibration import limit_for
from lifeiqa.runtime.errors import ParityError, UsageError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.processor import processor

REFERENCE = Path(__file__).resolve().parent / "results/parity.json"
KIND, FORMAT = "parity", 1
ADVICE = "If that is right, write the new reference and commit it: python benchmarks/parity.py --update"
# What decides how ONNX Runtime and PyTorch round; AMX is not among it, because its sums are as exact as those of VNNI.
FEATURES = ("AVX2", "AVX-512", "VNNI", "dotprod", "I8MM")
PACKAGES = ("onnxruntime", "torch", "numpy", "opencv")


@dataclass(frozen=True)
class Tolerance:
    """How far a figure, of which less is better, may be from the reference: `factor` times that, and `floor` more.

    Attributes:
        factor: at least 1.
        floor: in the figure's unit; keeps figures next to 0 from failing for a rounding.
        of_limit: `floor` is a share of the artifact's limit on the worst difference.
    """

    factor: float
    floor: float
    of_limit: bool = False


# Processors of one kind round almost alike; versions of ONNX Runtime and PyTorch less so, and then the guard may keep
# other nodes. Of the same files, with ONNX Runtime 1.22 in place of 1.32 and PyTorch without AVX-512, worst differences
# were 0.75 to 1.05 times as large and means 0.98 to 1.02 times; what correlations lack of 1, which is what is compared,
# was 0.87 to 1.16 times as much in INT8. Where two neighbours of 180 pictures swap, SROCC loses 0.000002.
TOLERANCES: Mapping[str, Tolerance] = {
    "worst": Tolerance(1.5, 0.05, of_limit=True),  # of one picture, so it scatters most
    "mean": Tolerance(1.25, 0.01, of_limit=True),
    "srocc": Tolerance(1.5, 2e-5),
    "plcc": Tolerance(1.5, 2e-5),
    "kept": Tolerance(1, 2),  # one for what it costs, and one that would be alone between such
    "size_bytes": Tolerance(1.01, 0),
}
_OF_ROW = ("artifact", "precision", "flavor", "weights", "engine", "count")


@dataclass(frozen=True)
class Change:
    """One thing that is not as the reference has it.

    Attributes:
        row: what it is about, see `title`.
        verdict: "worse", "better", "missing" (only the reference has such a row) or "new" (it has none).
        figure: one of `TOLERANCES`; "" of a row that is missing or new.
        reference, now: the figure's values.
    """

    row: str
    verdict: str
    figure: str = ""
    reference: float = 0
    now: float = 0

    def __str__(self) -> str:
        if not self.figure:
            return f"{self.row} is {self.verdict}"
        return f"{self.row}: {self.figure} is {self.verdict}, {self.now:.8g}, reference {self.reference:.8g}"


def title(row: Mapping[str, Any]) -> str:
    """What a row is of. Rows of two runs are the same where this is; versions of engines may differ."""
    engine, *_, device = row["engine"].split()
    precision = f"{row['precision']} {row['flavor']}".strip()
    return f"{row['artifact']} ({precision}, {row['weights']} weights, {engine} on {device}, {row['count']} scores)"


def changes(reference: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Whatever of a run is not as a reference has it, in either direction. A NaN is worse."""
    before, now = ({title(row): row for row in side} for side in (reference["artifacts"], rows))
    found = [Change(name, "missing") for name in before if name not in now]
    for name, row in now.items():
        if name not in before:
            found.append(Change(name, "new"))
            continue
        for figure, tolerance in TOLERANCES.items():
            was, found_now = before[name][figure], row[figure]
            if verdict := _verdict(figure, was, found_now, tolerance, row):
                found.append(Change(name, verdict, figure, was, found_now))
    return found


def _verdict(figure: str, was: float, now: float, tolerance: Tolerance, row: Mapping[str, Any]) -> str:
    """ "worse", "better", or "" for within the tolerance."""
    if figure in ("srocc", "plcc"):
        was, now = 1 - was, 1 - now
    limit = limit_for(row["precision"], row["weights"])
    floor = tolerance.floor * (limit.worst if tolerance.of_limit else 1)
    if not now <= was * tolerance.factor + floor:
        return "worse"
    return "better" if was > now * tolerance.factor + floor else ""


def read_reference(path: Path, checkpoint_sha256: str) -> dict[str, Any]:
    """Reads the figures of a checkpoint.

    Raises:
        UsageError: the file is not there, or no such file.
        ParityError: it is of another checkpoint.
    """
    try:
        found = json.loads(path.read_bytes())
        if (found["kind"], found["format"]) != (KIND, FORMAT):
            raise ValueError(f"kind {found['kind']}, format {found['format']}")
        changes(found, found["artifacts"])
        other_kind(found)
        other_versions(found)
        of = found["checkpoint_sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(f"{path} cannot be read as figures of parity ({error!r}). {ADVICE}") from error
    if of != checkpoint_sha256:
        raise ParityError(
            f"{path} has figures of another checkpoint ({of[:12]}, not {checkpoint_sha256[:12]}). {ADVICE}"
        )
    return dict(found)


def write_reference(path: Path, report: Mapping[str, Any]) -> None:
    """Writes what parity.py reports as the figures to compare with from now on."""
    names = (*_OF_ROW, *TOLERANCES)
    reference = {
        "kind": KIND,
        "format": FORMAT,
        "environment": environment(),
        "processor": _kind_here(),
        "checkpoint": report["checkpoint"],
        "checkpoint_sha256": report["checkpoint_sha256"],
        "artifacts": [{name: row[name] for name in names} for row in report["artifacts"]],
    }
    atomic_write(path, (json.dumps(reference, indent=1, allow_nan=False) + "\n").encode())


def other_kind(reference: Mapping[str, Any]) -> str:
    """Why figures cannot be compared with those of this processor; "" where they can.

    One without VNNI or AVX-512 multiplies with other instructions, which round and sum in another order, and the guard
    then keeps other nodes. There, only the absolute limits hold.
    """
    there, here = list(reference["processor"]), _kind_here()
    if there == here:
        return ""
    return (
        f"Only the absolute limits hold here: the reference is of another kind of processor ({' '.join(there)}) than "
        f"this one ({' '.join(here)})."
    )


def other_versions(reference: Mapping[str, Any]) -> str:
    """Packages that compute and are of another version than the reference's, for people; "" where there are none."""
    there, here = reference["environment"]["versions"], versions()
    differing = [
        f"{name} {there.get(name)} then, {here.get(name)} now" for name in PACKAGES if there.get(name) != here.get(name)
    ]
    return f"Other versions: {', '.join(differing)}. " if differing else ""


def _kind_here() -> list[str]:
    cpu = processor()
    return [cpu.machine, *(feature for feature in FEATURES if cpu.has(feature))]
