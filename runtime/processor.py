"""What the processor can do that matters to INT8 and FP32 models."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Flags of /proc/cpuinfo on Linux, and names of sysctl on macOS; the feature is there where any of its flags is.
_X86 = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "AMX": ("amx_int8", "amx_bf16"),
}
_ARM = {
    "dotprod": ("asimddp", "hw.optional.arm.FEAT_DotProd"),
    "I8MM": ("i8mm", "hw.optional.arm.FEAT_I8MM"),
}
# Finer, and only on Linux: flags of /proc/cpuinfo that decide how fast FP32, BF16 and INT8 models are.
FLAGS = (
    *("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_int8", "amx_bf16", "amx_fp16"),
    *("asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"),
)
_BY_MACHINE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "x86_64": _X86,
    "amd64": _X86,
    "i686": _X86,
    "aarch64": _ARM,
    "arm64": _ARM,
}


@dataclass(frozen=True)
class Processor:
    """One kind of processor.

    Attributes:
        name: as its maker calls it, "" where the system does not say.
        machine: "x86_64", "aarch64", ... in small letters.
        features: those that count for its kind, and whether it has them; None where the system does not say.
        flags: those of `FLAGS` that it has; () where the system does not say.
    """

    name: str
    machine: str
    features: Mapping[str, bool | None]
    flags: tuple[str, ...] = ()

    def has(self, feature: str) -> bool:
        """Whether it has one of `features` for certain."""
        return self.features.get(feature) is True


def processor(root: Path = Path("/"), machine: str | None = None, system: str | None = None) -> Processor:
    """The processor of this machine.

    Args:
        root: of the file system that has proc/cpuinfo.
        machine, system: in place of what `platform` says.
    """
    machine = (machine or platform.machine()).lower()
    system = system or platform.system()
    wanted = _BY_MACHINE.get(machine, {})
    flags: set[str] | None = None
    if system == "Linux":
        info = _cpuinfo(root)
        flags = set(f"{info.get('flags', '')} {info.get('Features', '')}".split()) or None
        name = info.get("model name") or info.get("Hardware") or platform.processor()
    elif system == "Darwin":
        flags, name = _sysctl_flags(wanted), _sysctl("machdep.cpu.brand_string")
    else:
        name = platform.processor()
    present = {feature: None if flags is None else not flags.isdisjoint(any_of) for feature, any_of in wanted.items()}
    return Processor(name, machine, present, tuple(flag for flag in FLAGS if flag in (flags or ())))


def _cpuinfo(root: Path) -> Mapping[str, str]:
    """The fields of the first processor; {} where they cannot be read."""
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _sysctl_flags(wanted: Mapping[str, tuple[str, ...]]) -> set[str] | None:
    if wanted is _X86:
        names = f"{_sysctl('machdep.cpu.features')} {_sysctl('machdep.cpu.leaf7_features')}".lower().split()
        return {{"avx512vnni": "avx512_vnni"}.get(name, name) for name in names} or None
    answers = {flag: _sysctl(flag) for flags in wanted.values() for flag in flags if flag.startswith("hw.")}
    return {flag for flag, answer in answers.items() if answer == "1"} if any(answers.values()) else None


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
