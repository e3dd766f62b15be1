"""The scratch folder that the commands of the documentation run in: pictures, a video, a stream, small data sets."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from shown import SERVE, STREAM

ROOT = Path(__file__).resolve().parents[1]
RATE = 25  # frames a second


def build(folder: Path) -> None:
    """Fills the folder. Pictures are scikit-image's; the data sets are miniatures, see tests/miniatures.py."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
    from behaviour_pictures import contents, infrared_light, noisy
    from calibration_pictures import write_calibration_pictures
    from demo_pictures import write_demo_pictures
    from miniatures import make_miniature

    from lifeiqa.models.synthesis.distortions import gaussian_blur
    from lifeiqa.models.synthesis.ladders import held_out_pictures

    pictures = dict(held_out_pictures())
    (folder / "photo.jpg").write_bytes(_encoded(pictures["astronaut"], ".jpg"))
    (folder / "coffee.png").write_bytes(_encoded(pictures["coffee"], ".png"))
    (folder / "grey.png").write_bytes(_encoded(pictures["coffee"].mean(axis=2).astype(np.uint8), ".png"))
    rng, coffee = np.random.default_rng(0), pictures["coffee"]
    article = next(content.pixels for content in contents() if content.name == "article")
    night = infrared_light(coffee)
    kinds = {
        "1-colour": coffee,
        "2-grey": coffee.mean(axis=2).astype(np.uint8),
        "3-night": night,
        "4-night-noise": noisy(night, 12, rng),
        "5-page": article,
        "6-page-blurred": gaussian_blur(article, 2.5, rng),
        "7-tiny": coffee[60:220, 180:400],
        "8-tiny-blurred": gaussian_blur(coffee, 2.5, rng)[60:220, 180:400],
    }
    (folder / "kinds").mkdir()
    for name, picture in kinds.items():
        (folder / "kinds" / f"{name}.png").write_bytes(_encoded(picture, ".png"))
    write_demo_pictures(folder / "pictures")
    write_calibration_pictures(folder / "calibration")
    cut = _encoded(pictures["rocket"], ".jpg")
    (folder / "pictures" / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    shutil.copyfile(ROOT / "models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt", folder / "best.pt")
    for example in sorted((ROOT / "docs" / "examples").iterdir()):
        shutil.copyfile(example, folder / example.name)
    for name in ("koniq10k", "csiq", "kadid10k"):
        make_miniature(name, folder / "data" / name)
    make_miniature("livec", folder / "data")
    write_video(folder / "clip.mp4", pictures["coffee"], 12)


def write_video(path: Path, picture: np.ndarray, seconds: int) -> None:
    """A camera that pans over a picture, loses its focus after a third of the time, and its light after two."""
    import cv2

    height, width = 360, 560
    settings = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {RATE} -i - -c:v mpeg4 -q:v 2 -g 5"
    process = subprocess.Popen(
        ["ffmpeg", "-y", "-loglevel", "error", *settings.split(), str(path)], stdin=subprocess.PIPE
    )
    if process.stdin is None:
        raise RuntimeError("ffmpeg has no standard input")
    for number in range(seconds * RATE):
        x, y = number % (picture.shape[1] - width), number % (picture.shape[0] - height)
        frame = picture[y : y + height, x : x + width]
        part = 3 * number // (seconds * RATE)
        if part == 1:
            frame = cv2.GaussianBlur(frame, (0, 0), 3)
        elif part == 2:
            frame = (frame * 0.25).astype(np.uint8)
        process.stdin.write(np.ascontiguousarray(frame).tobytes())
    process.stdin.close()
    if process.wait():
        raise RuntimeError("ffmpeg could not write the video")


@contextmanager
def served(video: Path, seconds: int) -> Iterator[str]:
    """Serves so many seconds of a video as a live stream, to one client, and yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    arguments = shlex.split(SERVE.replace(STREAM, address))
    arguments[1:1] = ["-loglevel", "quiet", "-t", str(seconds)]
    process = subprocess.Popen(arguments, cwd=video.parent, stdin=subprocess.DEVNULL)
    try:
        time.sleep(1.0)  # until it listens; to connect and see would take the only place
        yield address
    finally:
        process.kill()
        process.wait()


def _encoded(picture: np.ndarray, suffix: str) -> bytes:
    import cv2

    bgr = picture if picture.ndim == 2 else picture[:, :, ::-1]
    return bytes(cv2.imencode(suffix, bgr)[1].tobytes())
