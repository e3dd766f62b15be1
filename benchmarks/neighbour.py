"""How scoring gets on with other programs on the same cores: alone, beside a busy loop, beside a second one.

python benchmarks/neighbour.py --json FILE                          what lifeiqa sets, and the engines by themselves
python benchmarks/neighbour.py --setting lifeiqa --setting defaults --model best.onnx

Each setting has two processes, loaded before the first is timed; settings take turns, round by round. All run in one
session, in which the system gives each thread the same share.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from contender import import_quietly
from environment import environment
from rich.console import Console
from rich.table import Table

from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.console import long_progress, new_app, run_app
from lifeiqa.runtime.errors import MissingError, UsageError
from lifeiqa.runtime.files import atomic_write, require_writable
from lifeiqa.runtime.limits import compute_threads, usable_cores
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import default_model

app = new_app()
WARM_UP = 3  # pictures
SETTLE_S = 0.1  # until a busy loop runs
_SPIN = "session.intra_op.allow_spinning"
_CODE = "import sys; sys.path[0] = sys.argv[1]; import neighbour; neighbour.run_child(*sys.argv[2:])"


@dataclass(frozen=True)
class Setting:
    """How a model is opened.

    Attributes:
        engine: "onnxruntime" or "openvino".
        threads: of one operator; 0 leaves it to the engine, or to lifeiqa; -1: as many as lifeiqa takes.
        options: for the engine, by the names that it uses; None: what lifeiqa sets.
    """

    engine: str
    threads: int = 0
    options: Mapping[str, str] | None = None


SETTINGS: Mapping[str, Setting] = {
    "lifeiqa": Setting("onnxruntime"),
    "lifeiqa, 1 thread": Setting("onnxruntime", 1),
    "defaults": Setting("onnxruntime", options={}),
    "no affinity": Setting("onnxruntime", -1, {}),
    "no spinning": Setting("onnxruntime", -1, {_SPIN: "0"}),
    "spinning 20 us": Setting("onnxruntime", -1, {"session.intra_op.spin_duration_us": "20"}),
    "OpenVINO, lifeiqa": Setting("openvino"),
    "OpenVINO, defaults": Setting("openvino", options={}),
}


def opened(setting: Setting, model: Path) -> Callable[[UInt8Array], Any]:
    """A function that scores crops (B, S, S, 3) uint8 RGB. Raises what `open_backend` raises."""
    threads = compute_threads() if setting.threads < 0 else setting.threads
    if setting.options is None:
        return open_backend(model, "cpu", threads, setting.engine).infer
    if setting.engine == "openvino":
        openvino = import_quietly("openvino")
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", **setting.options}
        request = openvino.Core().compile_model(str(model), "CPU", options).create_infer_request()
        return lambda crops: request.infer({"image": crops}, share_inputs=True)
    onnxruntime = import_quietly("onnxruntime")
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 4
    session_options.intra_op_num_threads = threads
    for entry in setting.options.items():
        session_options.add_session_config_entry(*entry)
    session = onnxruntime.InferenceSession(str(model), session_options, providers=["CPUExecutionProvider"])
    return lambda crops: session.run(["score"], {"image": crops})


def run_child(name: str, model: str, crops: str) -> None:
    """What a scoring process does: for each line of seconds on standard input, one of mean ms and core-ms a picture."""
    score, picture = opened(SETTINGS[name], Path(model)), np.load(crops)
    for _ in range(WARM_UP):
        score(picture)
    print(flush=True)
    for line in sys.stdin:
        score(picture)
        count, began, used = 0, time.perf_counter(), time.process_time()
        while count == 0 or time.perf_counter() - began < float(line):
            score(picture)
            count += 1
        found = [1000 * (time.perf_counter() - began) / count, 1000 * (time.process_time() - used) / count]
        print(json.dumps(found), flush=True)


class Scoring:
    """A scoring process that waits for orders."""

    def __init__(self, name: str, model: Path, crops: Path) -> None:
        """Starts it."""
        command = [sys.executable, "-c", _CODE, str(Path(__file__).resolve().parent), name, str(model), str(crops)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._name = name

    def start(self, seconds: float) -> None:
        """Lets it score for so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """Its next line. Raises `MissingError` where it has ended."""
        assert self._process.stdout is not None and self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._process.stderr.read().strip().splitlines()[-1:]
            raise MissingError(f"The process of {self._name!r} ended: {' '.join(last)}")
        return line

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def busy_loop() -> Iterator[None]:
    """A program that always computes, on any core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(SETTLE_S)
        yield
    finally:
        process.kill()
        process.wait()


def one_round(first: Scoring, second: Scoring, seconds: float) -> dict[str, float]:
    """Milliseconds a picture in each state, and what is derived of them; see `summary`."""

    def timed(*processes: Scoring) -> tuple[float, float]:
        for process in processes:
            process.start(seconds)
        ms, core_ms = max(json.loads(process.answer()) for process in processes)  # of the slower
        return float(ms), float(core_ms)

    alone_ms, core_ms = timed(first)
    with busy_loop():
        busy_ms, _ = timed(first)
    pair_ms, _ = timed(first, second)
    return {
        "alone_ms": alone_ms,
        "core_ms": core_ms,
        "busy_ms": busy_ms,
        "pair_ms": pair_ms,
        "busy_ratio": busy_ms / alone_ms,
        "fair_share_kept": 2 * alone_ms / pair_ms,
    }


def summary(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians over rounds, ratios taken within a round.

    alone_ms, busy_ms, pair_ms: a picture alone, beside the loop, and the slower of two processes. core_ms: time on all
    cores of a picture alone. busy_ratio: beside the loop, against alone. fair_share_kept: 1 where each of two processes
    has half of the speed it has alone.
    """
    return {key: float(np.median([one[key] for one in rounds])) for key in rounds[0]}


@app.command()
def neighbour(
    model: Annotated[Path | None, typer.Option(help="Exported ONNX model; none: the one inside the package.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SETTINGS)}; none: all.")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of one measurement.")] = 0.4,
    rounds: Annotated[int, typer.Option(min=1, help="Of all measurements.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Measure how scoring and other programs get on with each other on this machine's CPU."""
    if json_file is not None:
        require_writable(json_file.parent)
    model, names = model or default_model(), list(dict.fromkeys(setting or SETTINGS))
    unknown = [name for name in names if name not in SETTINGS]
    if unknown:
        raise UsageError(f"There is no setting {unknown[0]!r}. There are: {', '.join(SETTINGS)}.")
    with open_backend(model, "cpu") as backend:
        manifest = backend.manifest
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, long_progress("rounds") as update:
        crops = Path(folder) / "crops.npy"
        np.save(crops, crops_of(next(iter(held_out_pictures()))[1], manifest.preprocess))
        pairs = {}
        for name in names:
            pairs[name] = (Scoring(name, model, crops), Scoring(name, model, crops))
            for process in pairs[name]:
                stack.callback(process.close)
                process.answer()
        for done in range(rounds):
            for name, pair in pairs.items():
                update(done, rounds, name)
                found[name].append(one_round(*pair, seconds))
    results = {name: summary(all_rounds) for name, all_rounds in found.items()}
    _show(results)
    if json_file is not None:
        configuration = {
            "device": "cpu",
            "cores": usable_cores(),
            "threads": compute_threads(),
            "rounds": rounds,
            "seconds": seconds,
            "model": model.name,
            "precision": manifest.precision,
            "artifact_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "checkpoint_sha256": manifest.checkpoint_sha256,
            "crops": manifest.preprocess.crops,
        }
        report = {"kind": "neighbour", "format": 1, "environment": environment(), "configuration": configuration}
        report |= {"settings": results}
        atomic_write(json_file, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def _show(results: Mapping[str, Mapping[str, float]]) -> None:
    table = Table(title=f"ms a picture, {usable_cores()} cores")
    for column in ("setting", "alone", "core-ms", "busy loop", "of alone", "second process", "fair share kept"):
        table.add_column(column, justify="left" if column == "setting" else "right")
    for name, one in results.items():
        times = (f"{one[key]:.1f}" for key in ("alone_ms", "core_ms", "busy_ms"))
        shares = (f"{one['busy_ratio']:.2f}", f"{one['pair_ms']:.1f}", f"{one['fair_share_kept']:.2f}")
        table.add_row(name, *times, *shares)
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    run_app(app)
