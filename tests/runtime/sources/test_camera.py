"""Against real streams: ffmpeg serves, OpenCV reads."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import cv2
import pytest

from lifeiqa.runtime.errors import MissingError, SourceError, UsageError
from lifeiqa.runtime.sources.camera import Camera, without_password

streaming = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg, which serves the streams, is not here")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for_server(port: int, process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    """Until it listens, or has its one client already; without connecting, for that would be the one."""
    table, ends = Path("/proc/net/tcp"), time.monotonic() + seconds
    if not table.exists():  # not Linux
        time.sleep(1.0)
        return
    while not any(
        local.endswith(f":{port:04X}") and state in ("0A", "01")  # LISTEN, ESTABLISHED
        for _, local, _, state, *_ in map(str.split, table.read_text().splitlines()[1:])
    ):
        assert process.poll() is None, "ffmpeg has ended"
        assert time.monotonic() < ends, "ffmpeg does not listen"
        time.sleep(0.02)


@contextmanager
def served(port: int, size: str = "320x240", seconds: int = 60) -> Iterator[str]:
    """A live stream at 25 frames a second, to one client."""
    arguments = [
        "-f",
        "lavfi",
        "-i",
        f"testsrc=size={size}:rate=25:duration={seconds}",
        "-c:v",
        "mpeg2video",
        "-g",
        "5",
    ]
    address = f"tcp://127.0.0.1:{port}"
    process = subprocess.Popen(
        ["ffmpeg", "-loglevel", "error", "-re", *arguments, "-f", "mpegts", f"{address}?listen=1"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_server(port, process)
        yield address
    finally:
        process.kill()
        process.wait()


@streaming
def test_frames_arrive_with_their_size_numbers_and_ages() -> None:
    with served(free_port()) as address:
        camera = Camera(address)
        found = list(islice(camera.samples(), 10))
        camera.close()
    assert len(found) == 10
    assert all(s.pixels is not None and s.pixels.shape == (240, 320, 3) for s in found)
    numbers = [s.frame for s in found]
    assert numbers == sorted(set(numbers))
    assert all(s.age_s is not None and s.age_s < 1 for s in found)


@streaming
def test_slow_reader_gets_the_newest_frame_and_the_count_of_those_it_missed() -> None:
    with served(free_port()) as address:
        camera = Camera(address)
        stream = camera.samples()
        next(stream)
        time.sleep(1.5)
        waited = next(stream)
        time.sleep(1.5)
        late = next(stream)
        camera.close()
    assert late.age_s is not None
    assert late.age_s < 0.5
    assert late.dropped is not None
    assert late.dropped >= 20
    assert late.frame is not None
    assert waited.frame is not None
    assert late.dropped == late.frame - waited.frame - 1


@streaming
def test_every_leaves_frames_out() -> None:
    with served(free_port()) as address:
        camera = Camera(address)
        numbers = [s.frame or 0 for s in islice(camera.samples(every=10), 4)]
        camera.close()
    assert all(b - a >= 10 for a, b in itertools.pairwise(numbers))


@streaming
def test_lost_source_is_opened_again_even_with_another_frame_size() -> None:
    port, said = free_port(), []
    with served(port) as address:
        camera = Camera(address, retry_s=30, log=said.append)
        stream = camera.samples()
        assert next(stream).pixels.shape == (240, 320, 3)
    with served(port, size="640x480"):
        sizes = {s.pixels.shape[:2] for s in islice(camera.samples(), 200) if s.pixels is not None}
        camera.close()
    assert (480, 640) in sizes
    assert "was lost after" in said[0]
    assert "is back" in said[1]


@streaming
def test_source_that_stays_away_is_lost_and_no_frame_is_invented() -> None:
    with served(free_port()) as address:
        camera = Camera(address, retry_s=1)
        stream = camera.samples()
        first = next(stream)
    with pytest.raises(SourceError, match="did not come back in 1 s"):
        for sample in stream:
            assert sample.frame is not None
            assert first.frame is not None
            assert sample.frame > first.frame
    camera.close()


@streaming
def test_rtsp_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # Here the reader listens and ffmpeg pushes; the protocol is the same.
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;listen|listen_timeout;20")
    address = f"rtsp://127.0.0.1:{free_port()}/live"
    push = subprocess.Popen(
        ["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 0.5; ffmpeg -loglevel quiet -re -f lavfi "
         f"-i testsrc=size=320x240:rate=25:duration=10 -c:v mpeg4 -f rtsp {address} && exit; done"],
        start_new_session=True,
    )  # fmt: skip
    try:
        camera = Camera(address)
        found = list(islice(camera.samples(), 5))
        camera.close()
    finally:
        os.killpg(push.pid, signal.SIGKILL)
        push.wait()
    assert [s.pixels.shape for s in found if s.pixels is not None] == [(240, 320, 3)] * 5


@pytest.mark.parametrize(
    "address",
    ["63", "/dev/video63", "99999999999", "tcp://127.0.0.1:9", "rtsp://user:secret@127.0.0.1:9/live", "nonsense"],
)
def test_camera_that_is_not_there_is_a_clear_error_without_the_password(address: str) -> None:
    with pytest.raises(SourceError, match="cannot be opened") as raised:
        Camera(address)
    assert "secret" not in str(raised.value)
    assert raised.value.exit_code == 5


@pytest.mark.skipif(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
def test_pipeline_without_gstreamer_says_what_is_missing() -> None:
    with pytest.raises(MissingError, match="without GStreamer"):
        Camera("videotestsrc ! videoconvert ! appsink")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:pw@cam/1?a=b", "rtsp://***@cam/1?a=b"),
        ("rtsp://me:p@ss@cam/1", "rtsp://***@cam/1"),
        ("rtsp://me:pa/ss@cam/1", "rtsp://***@cam/1"),
        ("http://cam/v.cgi?user=admin&pwd=123&x=1", "http://cam/v.cgi?user=admin&pwd=***&x=1"),
        (
            "rtspsrc location=rtsp://cam user-id=me user-pw=no ! appsink",
            "rtspsrc location=rtsp://cam user-id=me user-pw=*** ! appsink",
        ),
        ("0", "0"),
    ],
)
def test_passwords_are_taken_out_of_addresses(address: str, shown: str) -> None:
    assert without_password(address) == shown


class Hollow:
    """A source that can be opened and never gives a frame, as a broken camera does."""

    opened = 0

    def __init__(self, *_: object) -> None:
        type(self).opened += 1

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, None]:
        return False, None

    def release(self) -> None:
        pass


def test_source_that_opens_but_gives_no_frame_is_lost_without_a_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Hollow)
    said: list[str] = []
    camera = Camera("tcp://hollow", retry_s=1.2, log=said.append)
    with pytest.raises(SourceError, match="after 0 frames and did not come back"):
        next(camera.samples())
    camera.close()
    assert Hollow.opened <= 4
    assert len(said) == 1


def test_closing_ends_an_iteration_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Hollow)
    camera = Camera("tcp://hollow", retry_s=60)
    found: list[object] = []
    waiter = threading.Thread(target=lambda: found.extend(camera.samples()), daemon=True)
    waiter.start()
    time.sleep(0.3)
    camera.close()
    waiter.join(timeout=5)
    assert not waiter.is_alive()
    assert found == []


def test_file_or_nothing_as_camera_is_a_usage_error(tmp_path: Path) -> None:
    video = tmp_path / "clip.avi"
    video.touch()
    with pytest.raises(UsageError, match="without --camera"):
        Camera(str(video))
    with pytest.raises(UsageError, match="empty"):
        Camera(" ")


@streaming
def test_live_results_reach_the_reader_and_terminate_ends_in_order(tiny_onnx: Path, tmp_path: Path) -> None:
    output = tmp_path / "live.jsonl"
    with served(free_port()) as address:
        code = "from lifeiqa.runtime.cli import main; main()"
        arguments = ["--camera", address, "--model", str(tiny_onnx), "-o", str(output), "--format", "jsonl"]
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)
        journal, deadline = tmp_path / "live.jsonl.journal", time.monotonic() + 60
        while not (journal.exists() and b'"score"' in journal.read_bytes()):
            assert time.monotonic() < deadline, "no frame in the journal"
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert records
    assert records[0]["dropped"] == 0
    assert set(records[0]) >= {"source", "score", "std", "crops", "error", "frame", "time_s", "age_s", "dropped"}
