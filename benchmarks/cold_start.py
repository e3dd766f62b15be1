"""What a contender costs before its first score: imports, loading and memory, each time in a fresh process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

import numpy as np
from contender import Task
from contenders import import_modules, load, needing

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import LifeIQAError, MissingError

TIMEOUT_S = 900  # torch.compile takes minutes on a slow machine
# What the child runs: the clock starts before anything but Python itself is imported.
_CODE = (
    "import time; began = time.perf_counter(); import sys; sys.path[0] = sys.argv[1]; import cold_start; "
    "cold_start.run_child(began, *sys.argv[2:])"
)


@dataclass(frozen=True)
class ColdStart:
    """Medians of several processes.

    Attributes:
        import_s: seconds to import NumPy and what the contender needs; files are in the system's cache.
        load_s: seconds to load it.
        first_s: seconds of the first crop.
        memory_bytes: the most main memory that the process held; None where the system does not say.
    """

    import_s: float
    load_s: float
    first_s: float
    memory_bytes: int | None


def cold_start(task: Task, crop: UInt8Array, times: int) -> ColdStart:
    """Starts a process `times` times, which imports, loads and scores `crop`, (1, S, S, 3) uint8 RGB.

    Raises:
        MissingError: the process fails, or gives no answer in time.
    """
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "crop.npy", crop)
            found.append(_one(task, Path(folder)))
    memory = [one.memory_bytes for one in found if one.memory_bytes is not None]
    return ColdStart(
        median(one.import_s for one in found),
        median(one.load_s for one in found),
        median(one.first_s for one in found),
        int(median(memory)) if memory else None,
    )


def _one(task: Task, folder: Path) -> ColdStart:
    arguments = [str(Path(__file__).resolve().parent), json.dumps(task.to_plain()), str(folder / "crop.npy")]
    # torch.compile keeps what it compiled; a start is cold where it has to compile.
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, *arguments],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"a fresh process gave no answer within {TIMEOUT_S} s") from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MissingError(": ".join([f"a fresh process ended with {done.returncode}", *last])) from None
    if "error" in answer:
        raise MissingError(answer["error"])
    return ColdStart(**answer)


def run_child(began: float, task: str, crop: str) -> None:
    """What the fresh process does: prints a `ColdStart` as JSON, or {"error": ...}. Never returns.

    What libraries print on standard output goes to stderr.
    """
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    chosen = Task.from_plain(json.loads(task))
    try:
        measured = _measure(began, chosen, np.load(crop))
        text = json.dumps({field.name: getattr(measured, field.name) for field in fields(measured)})
    except LifeIQAError as error:
        text = json.dumps({"error": str(error)})
    print(text, file=answer, flush=True)
    os._exit(0)  # some libraries crash while they are unloaded


def _measure(began: float, task: Task, crop: UInt8Array) -> ColdStart:
    with needing(task.name):
        import_modules(task.name)
    imported = time.perf_counter()
    loaded = load(task)
    ready = time.perf_counter()
    scores = loaded.score(crop)
    scored = time.perf_counter()
    assert scores.shape == (1,), f"{task.name} gave scores of shape {scores.shape} for one crop"
    return ColdStart(imported - began, ready - imported, scored - ready, peak_memory_bytes())


def peak_memory_bytes() -> int | None:
    """The most main memory that this process held so far; None where the system does not say."""
    try:
        # On Linux, getrusage counts in what the parent held before the child's program was loaded.
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
