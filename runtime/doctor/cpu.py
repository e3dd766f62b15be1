"""Instructions of the processor that INT8 and FP32 models run faster with."""

from __future__ import annotations

from pathlib import Path

from lifeiqa.runtime.doctor.report import Check, State
from lifeiqa.runtime.processor import processor

_USES = {
    "AVX2": "FP32 and INT8, 8 numbers at a time",
    "AVX-512": "FP32 and INT8, 16 numbers at a time",
    "VNNI": "INT8 at full speed",
    "AMX": "INT8 and BF16 in tiles",
    "dotprod": "INT8 at full speed",
    "I8MM": "INT8 in tiles",
}


def check_cpu(root: Path = Path("/"), machine: str | None = None, system: str | None = None) -> list[Check]:
    """The processor, and whether it has each of the features of its kind; arguments as of `processor`."""
    found = processor(root, machine, system)
    name = f"{found.name}, {found.machine}" if found.name and found.name != found.machine else found.machine
    return [Check("processor", State.ok, name), *(_feature(name, here) for name, here in found.features.items())]


def _feature(name: str, here: bool | None) -> Check:
    if here is None:
        return Check(name, State.unknown, "this system does not say", {"present": None})
    text = f"{'yes' if here else 'no'} ({_USES[name]})"
    return Check(name, State.ok if here else State.absent, text, {"present": here})
