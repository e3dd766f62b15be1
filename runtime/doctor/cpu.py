"""Instructions of the processor that INT8 and FP32 models run faster with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lifeiqa.runtime.doctor.report import Check, State

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
_USES = {
    "AVX2": "FP32 and INT8, 8 numbers at a time",
    "AVX-512": "FP32 and INT8, 16 numbers at a time",
    "VNNI": "INT8 at full speed",
    "AMX": "INT8 and BF16 in tiles",
    "dotprod": "INT8 at full speed",
    "I8MM": "INT8 in tiles",
}


def check_cpu(root: Path = Path("/"), machine: str | None = None, system: str | None = None) -> list[Check]:
    """The processor, and whether it has each of the features of its kind.

    Args:
        root: of the file system that has proc/cpuinfo.
        machine, system: in place of what `platform` says.
    """
    machine = (machine or platform.machine()).lower()
    system = system or platform.system()
    kinds: Mapping[str, Mapping[str, tuple[str, ...]]] = {
        "x86_64": _X86,
        "amd64": _X86,
        "i686": _X86,
        "aarch64": _ARM,
        "arm64": _ARM,
    }
    wanted = kinds.get(machine, {})
    if system == "Linux":
        info = _cpuinfo(root)
        flags: set[str] | None = set(f"{info.get('flags', '')} {info.get('Features', '')}".split()) or None
        model = info.get("model name") or info.get("Hardware") or platform.processor()
    elif system == "Darwin":
        flags, model = _sysctl_flags(wanted), _sysctl("machdep.cpu.brand_string")
    else:
        flags, model = None, platform.processor()
    name = f"{model}, {machine}" if model and model != machine else machine
    return [Check("processor", State.ok, name), *(_feature(feature, needs, flags) for feature, needs in wanted.items())]


def _feature(name: str, needs: tuple[str, ...], flags: set[str] | None) -> Check:
    if flags is None:
        return Check(name, State.unknown, "this system does not say", {"present": None})
    here = not flags.isdisjoint(needs)
    return Check(
        name, State.ok if here else State.absent, f"{'yes' if here else 'no'} ({_USES[name]})", {"present": here}
    )


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
