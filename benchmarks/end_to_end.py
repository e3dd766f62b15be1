"""How fast `lifeiqa-run` is as a whole: a folder of JPEG files, and a live H.264 stream; on the CPU.

python benchmarks/end_to_end.py --json FILE            the packaged model, 1080p pictures, a 720p stream
python benchmarks/end_to_end.py --model best.int8.onnx --pictures 600

Pictures and stream are made of the held-out pictures, in a temporary folder. The stream needs ffmpeg.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from environment import environment
from rich.console import Console
from rich.table import Table

from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.console import long_progress, new_app, run_app, say
from lifeiqa.runtime.errors import MissingError, UsageError
from lifeiqa.runtime.files import atomic_write, require_writable
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.limits import usable_cores
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import Scorer, default_model

app = new_app()
RUN = [sys.executable, "-c", "from lifeiqa.runtime.cli import main; main()"]  # lifeiqa-run, of this Python
BLOCK = (270, 384)  # height and width; smaller than every held-out picture
JPEG_QUALITY = 90
FRAME = (720, 1280)
FRAMES_PER_S = 30
CLIP_S = 10
ALONE = 20  # pictures that the steps are timed on by themselves


def mosaic(pictures: Sequence[UInt8Array], height: int, width: int, seed: int) -> UInt8Array:
    """(height, width, 3) uint8 RGB of pieces of pictures in their own resolution, so that detail is as in a photograph.

    Another seed gives other pieces.
    """
    rng = np.random.default_rng(seed)
    rows, columns = -(-height // BLOCK[0]), -(-width // BLOCK[1])
    whole = np.empty((rows * BLOCK[0], columns * BLOCK[1], 3), np.uint8)
    for row in range(rows):
        for column in range(columns):
            picture = pictures[int(rng.integers(len(pictures)))]
            y, x = (int(rng.integers(side - block + 1)) for side, block in zip(picture.shape, BLOCK, strict=False))
            piece = picture[y : y + BLOCK[0], x : x + BLOCK[1]]
            target = whole[row * BLOCK[0] : (row + 1) * BLOCK[0], column * BLOCK[1] : (column + 1) * BLOCK[1]]
            target[:] = piece[:, ::-1] if rng.integers(2) else piece
    return whole[:height, :width]


def write_folder(folder: Path, number: int, height: int, width: int) -> list[Path]:
    """Writes `number` JPEG files, each of another content."""
    pictures = [picture for _, picture in held_out_pictures()]
    paths = [folder / f"{k:05d}.jpg" for k in range(number)]
    for k, path in enumerate(paths):
        pixels = mosaic(pictures, height, width, k)
        _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        path.write_bytes(data.tobytes())
    return paths


def arrivals(arguments: Sequence[object]) -> list[tuple[float, dict[str, Any]]]:
    """Runs `lifeiqa-run` in a process of its own. Returns each record, and the second it came on a monotonic clock.

    Raises:
        MissingError: it ended with another exit code than 0; the message has what it said.
    """
    command = [*RUN, *map(str, arguments), "--device", "cpu", "--format", "jsonl"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL)
        assert process.stdout is not None
        try:
            lines = [(time.monotonic(), line) for line in process.stdout]
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        if code:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise MissingError(f"lifeiqa-run ended with exit code {code}: {' '.join(last)}")
    return [(moment, json.loads(line)) for moment, line in lines]


def folder_seconds(folder: Path, model: Path, skipped: int) -> float:
    """Seconds that `lifeiqa-run` takes for all pictures of a folder but the first: start-up is over by then."""
    moments = [moment for moment, _ in arrivals([folder, "--model", model])]
    return moments[-1] - moments[skipped - 1]


def core_ms(paths: Sequence[Path], scorer: Scorer) -> dict[str, float]:
    """Median core-milliseconds a picture of each step, measured alone.

    Args:
        paths: of JPEG files; the first is only for warming up.
        scorer: with one thread, as `lifeiqa-run` has for a folder.

    Returns:
        decode (with reading the file), preprocess (resizing and cutting), infer.
    """
    found: dict[str, list[float]] = {"decode": [], "preprocess": [], "infer": []}
    for path in paths:
        moments = [time.process_time()]
        pixels = read_image(path).pixels
        moments.append(time.process_time())
        crops = crops_of(pixels, scorer.manifest.preprocess)
        moments.append(time.process_time())
        scorer.score_crops(crops)
        moments.append(time.process_time())
        for values, seconds in zip(found.values(), np.diff(moments), strict=True):
            values.append(1000 * float(seconds))
    return {name: float(np.median(values[1:])) for name, values in found.items()}


def measure_folder(
    folder: Path, model: Path, number: int, size: tuple[int, int], rounds: int, update: Callable[[int, int, str], None]
) -> dict[str, Any]:
    """The entry `folder` of the result: pictures a second, and what the time goes into."""
    height, width = size
    skipped = min(2 * usable_cores(), number // 2)
    update(0, rounds, "making pictures")
    paths = write_folder(folder, number, height, width)
    with Scorer(model, device="cpu", threads=1) as scorer:
        steps = core_ms(paths[: ALONE + 1], scorer)
    seconds = []
    for done in range(rounds):
        update(done, rounds, "folder")
        seconds.append(folder_seconds(folder, model, skipped))
    return {
        "picture": f"{width}x{height} JPEG",
        "file_bytes": round(sum(path.stat().st_size for path in paths) / number),
        "pictures": number - skipped,
        "seconds": seconds,
        "pictures_per_s": (number - skipped) / float(np.median(seconds)),
        "core_ms": steps,
        "not_inference_share": (steps["decode"] + steps["preprocess"]) / sum(steps.values()),
    }


def beyond_inference(wall_ms: float, infer_ms: float, cores: int) -> float:
    """The share of the wall time that would be saved if pictures cost inference alone, spread evenly over all cores.

    Unlike the share of core time, it also counts what goes between the processes, and cores that wait.

    Args:
        wall_ms: wall milliseconds a picture, of the whole folder.
        infer_ms: core-milliseconds of inference a picture.
        cores: that may be used.
    """
    return 1 - infer_ms / cores / wall_ms


def write_clip(picture: Path, clip: Path) -> None:
    """Writes a H.264 clip in which a camera moves over a picture.

    Raises:
        MissingError: ffmpeg cannot do that.
    """
    height, width = FRAME
    move = f"crop={width}:{height}:(iw-ow)/2*(1+sin(n/30)):(ih-oh)/2*(1+cos(n/40)),format=yuv420p"
    source = ["-loop", "1", "-framerate", str(FRAMES_PER_S), "-t", str(CLIP_S), "-i", str(picture)]
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-g", str(FRAMES_PER_S)]
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", *source, "-vf", move, *coding, "-f", "mpegts", str(clip)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MissingError(f"ffmpeg cannot make an H.264 clip: {' '.join(last)}")


@contextmanager
def served(clip: Path) -> Iterator[str]:
    """Serves a clip over and over, in its own speed and without coding it again, to one client on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    source = ["-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy", "-f", "mpegts"]
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", *source, f"{address}?listen=1"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_server(address.rpartition(":")[2], process)
        yield address
    finally:
        process.kill()
        process.wait()


def _wait_for_server(port: str, process: subprocess.Popen[bytes]) -> None:
    """Until it listens: without connecting, for that would be its one client."""
    table, ends = Path("/proc/net/tcp"), time.monotonic() + 20
    if not table.exists():  # not Linux
        time.sleep(2.0)
        return
    while not re.search(rf":{int(port):04X} \S+ 0A ", table.read_text()):  # 0A: LISTEN
        if process.poll() is not None or time.monotonic() > ends:
            raise MissingError("ffmpeg cannot serve a stream on this machine")
        time.sleep(0.05)


def measure_stream(folder: Path, model: Path, frames: int) -> dict[str, Any]:
    """The entry `stream` of the result: frames a second, and how old a frame is when its score is there.

    That age is the one when scoring begins, and the time that scoring takes: where frames were passed over, there is
    no pause, and it is the time from one record to the next; elsewhere it is measured alone.

    Raises:
        MissingError: ffmpeg is not here, or cannot code H.264, or `lifeiqa-run` failed.
    """
    if shutil.which("ffmpeg") is None:
        raise MissingError("ffmpeg, which serves the stream, is not installed")
    height, width = FRAME
    picture = mosaic([picture for _, picture in held_out_pictures()], height * 3 // 2, width * 3 // 2, 0)
    (folder / "scene.png").write_bytes(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())
    write_clip(folder / "scene.png", folder / "clip.ts")
    skipped = max(1, frames // 4)
    with served(folder / "clip.ts") as address:
        found = arrivals(["--camera", address, "--model", model, "--limit", frames])[skipped - 1 :]
    gaps = np.diff([moment for moment, _ in found])
    records = [record for _, record in found[1:]]
    age_ms = 1000 * float(np.median([record["age_s"] for record in records]))
    dropped = sum(record["dropped"] for record in records)
    scoring_ms = 1000 * float(np.median(gaps)) if dropped >= len(records) / 2 else _alone_ms(picture, model)
    return {
        "frame": f"{width}x{height} H.264",
        "camera_frames_per_s": FRAMES_PER_S,
        "frames_per_s": len(gaps) / float(gaps.sum()),
        "age_ms": age_ms,
        "latency_ms": age_ms + scoring_ms,
    }


def _alone_ms(picture: UInt8Array, model: Path) -> float:
    """Milliseconds to score a frame with all cores, as `lifeiqa-run` does for a camera."""
    with Scorer(model, device="cpu") as scorer:
        seconds = []
        for _ in range(ALONE):
            began = time.perf_counter()
            scorer.score(picture[: FRAME[0], : FRAME[1]])
            seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds[1:]))


def size_of(text: str) -> tuple[int, int]:
    """Height and width of "1920x1080". Raises `UsageError`."""
    width, x, height = text.partition("x")
    if not (x and width.isdecimal() and height.isdecimal() and 16 <= int(width) <= 8192 and 16 <= int(height) <= 8192):
        raise UsageError(f"--size is width x height, each from 16 to 8192, such as 1920x1080; not {text!r}.")
    return int(height), int(width)


@app.command()
def end_to_end(
    model: Annotated[Path | None, typer.Option(help="Exported model; none: the one inside the package.")] = None,
    pictures: Annotated[int, typer.Option(min=4, help="Files in the folder.")] = 300,
    size: Annotated[str, typer.Option(help="Width and height of the pictures.")] = "1920x1080",
    rounds: Annotated[int, typer.Option(min=1, help="Runs over the folder.")] = 5,
    frames: Annotated[int, typer.Option(min=4, help="Frames of the stream.")] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Measure how fast lifeiqa-run scores a folder and a live stream on this machine's CPU."""
    if json_file is not None:
        require_writable(json_file.parent)
    model, (height, width) = model or default_model(), size_of(size)
    with Scorer(model, device="cpu") as scorer:
        manifest, engine = scorer.manifest, scorer.backend.engine
    left_out = list[dict[str, str]]()
    stream = None
    with tempfile.TemporaryDirectory() as name, long_progress("rounds") as update:
        scratch = Path(name)
        (scratch / "pictures").mkdir()
        folder = measure_folder(scratch / "pictures", model, pictures, (height, width), rounds, update)
        update(rounds, rounds, "stream")
        try:
            stream = measure_stream(scratch, model, frames)
        except MissingError as error:
            left_out.append({"name": "stream", "why": str(error)})
            say(f"left out: stream: {error}")
    _show(folder, stream)
    if json_file is not None:
        configuration = {
            "device": "cpu",
            "cores": usable_cores(),
            "rounds": rounds,
            "model": model.name,
            "precision": manifest.precision,
            "engine": engine,
            "artifact_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "checkpoint_sha256": manifest.checkpoint_sha256,
            "crops": manifest.preprocess.crops,
            "picture": folder["picture"],
            "files": pictures,
            "frames": frames,
        }
        report = {"kind": "end_to_end", "format": 1, "environment": environment(), "configuration": configuration}
        report |= {"folder": folder, "stream": stream, "left_out": left_out}
        atomic_write(json_file, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def _show(folder: dict[str, Any], stream: dict[str, Any] | None) -> None:
    cores, steps = usable_cores(), folder["core_ms"]
    wall_ms, best_ms = 1000 / folder["pictures_per_s"], sum(steps.values()) / cores
    table = Table(title=f"lifeiqa-run, {folder['picture']}, {cores} {'core' if cores == 1 else 'cores'}")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("pictures a second", f"{folder['pictures_per_s']:.1f}")
    for step, ms in steps.items():
        table.add_row(f"{step}, core-ms a picture", f"{ms:.1f}")
    table.add_row("share of the core time that is not inference", f"{folder['not_inference_share']:.0%}")
    table.add_row("wall ms a picture", f"{wall_ms:.1f}")
    table.add_row("share of the wall time beyond inference", f"{beyond_inference(wall_ms, steps['infer'], cores):.0%}")
    table.add_row("core-ms of the steps / cores", f"{best_ms:.1f}")
    table.add_row("wall against that", f"{wall_ms / best_ms:.2f}")
    if stream is not None:
        given = stream["camera_frames_per_s"]
        table.add_row(f"{stream['frame']}: frames a second, of {given}", f"{stream['frames_per_s']:.1f}")
        table.add_row("age of a frame when its score is there, ms", f"{stream['latency_ms']:.0f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    run_app(app)
