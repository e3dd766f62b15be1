"""A live camera or network stream, of which only the newest frame counts."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lifeiqa.runtime.errors import MissingError, SourceError, UsageError
from lifeiqa.runtime.opencv import cv2, to_rgb
from lifeiqa.runtime.sources.sample import Sample

OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 10_000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0


@dataclass(frozen=True)
class _Frame:
    number: int
    bgr: object
    arrived: float  # time.monotonic()


def without_password(address: str) -> str:
    """The address as it may be printed: without user and password, and without values named like a secret."""
    address = re.sub(r"(?<=://)\S*@", "***@", address)
    return re.sub(r"(?i)((?:pass|pwd|pw|token|key|secret)\w*\s*=\s*)[^&;,!\s]+", r"\1***", address)


class Camera:
    """Reads a camera in a thread of its own and hands out the newest frame; older ones are dropped and counted.

    A backlog cannot build up, however slow the scoring is. When the source is lost it is opened again with growing
    pauses, and whatever size it then has is taken. No frame is ever invented.
    """

    def __init__(self, address: str, retry_s: float = 30.0, log: Callable[[str], None] = lambda text: None) -> None:
        """Opens the source.

        Args:
            address: a device number ("0"), a URL, or a GStreamer pipeline (recognised by its " ! ").
            retry_s: how long a lost source is tried again before `SourceError`; 0 gives up at once.
            log: told, in a sentence, what happens to the source.

        Raises:
            UsageError: the address is empty, or names a file.
            SourceError: the source cannot be opened.
            MissingError: a GStreamer pipeline, and this OpenCV was built without GStreamer.
        """
        if not address.strip():
            raise UsageError("The camera's address is empty; name a device number, a URL or a GStreamer pipeline.")
        if os.path.isfile(address):  # noqa: PTH113 - accept any text
            raise UsageError(f"{address} is a file, not a camera; score it without --camera: lifeiqa-run {address}")
        self.name = without_password(address)
        self._address, self._retry_s, self._log = address, retry_s, log
        self._lock = threading.Condition()
        self._newest: _Frame | None = None
        self._failure: Exception | None = None
        self._closed = False
        self._opened = time.monotonic()
        capture = self._open()
        self._thread = threading.Thread(target=self._read, args=(capture,), name="camera", daemon=True)
        self._thread.start()

    def samples(self, every: int = 1) -> Iterator[Sample]:
        """Yields the newest frame each time it is asked for one, waiting for it if need be.

        Args:
            every: leave at least so many frame numbers between two samples.

        Raises:
            SourceError: the source was lost and did not come back.
        """
        last = None
        while (frame := self._wait_for(0 if last is None else last + every)) is not None:
            yield Sample(
                self.name,
                to_rgb(frame.bgr),
                frame=frame.number,
                time_s=frame.arrived - self._opened,
                age_s=time.monotonic() - frame.arrived,
                dropped=0 if last is None else frame.number - last - every,
            )
            last = frame.number

    def close(self) -> None:
        """Lets go of the source, and ends every iteration over `samples`."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._thread.join(timeout=READ_TIMEOUT_MS / 1000 + 2)

    def _wait_for(self, number: int) -> _Frame | None:
        with self._lock:
            while not self._closed:
                if self._newest is not None and self._newest.number >= number:
                    return self._newest
                if self._failure is not None:
                    raise self._failure
                self._lock.wait(timeout=1.0)
        return None

    def _read(self, capture: cv2.VideoCapture | None) -> None:
        number, lost, pause = 0, None, FIRST_PAUSE_S
        try:
            while not self._closed:
                ok, bgr = capture.read() if capture is not None else (False, None)
                now = time.monotonic()
                if ok:
                    if lost is not None:
                        self._log(f"{self.name} is back after {now - lost:.1f} s")
                    lost, pause = None, FIRST_PAUSE_S
                    with self._lock:
                        self._newest = _Frame(number, bgr, now)
                        self._lock.notify_all()
                    number += 1
                    continue
                # Opening alone proves nothing: only a frame ends the loss.
                if capture is not None:
                    capture.release()
                    capture = None
                if lost is None:
                    lost = now
                    self._log(f"{self.name} was lost after {number} frames; trying again for {self._retry_s:.0f} s")
                remaining = lost + self._retry_s - now
                if remaining <= 0:
                    raise SourceError(
                        f"{self.name} was lost after {number} frames and did not come back in {self._retry_s:.0f} s."
                    )
                with self._lock:
                    self._lock.wait_for(lambda: self._closed, timeout=min(pause, remaining))
                pause = min(2 * pause, LONGEST_PAUSE_S)
                with contextlib.suppress(SourceError):
                    capture = self._open()
        except Exception as error:  # handed to the thread that waits, bugs included
            with self._lock:
                self._failure = error
                self._lock.notify_all()
        finally:
            if capture is not None:
                capture.release()

    def _open(self) -> cv2.VideoCapture:
        address = self._address.strip()
        device = re.fullmatch(r"(?:/dev/video)?(\d{1,4})", address)
        try:
            if " ! " in address:
                advice = "check the pipeline with gst-launch-1.0; it must end in appsink"
                capture = _open_pipeline(address)
            elif device:
                advice = "is it plugged in, free, and may you read it? Linux lists cameras as /dev/video*"
                capture = cv2.VideoCapture(int(device[1]))
            else:
                advice = "check the address with ffprobe, and the network"
                capture = _open_stream(address)
        except cv2.error as error:
            raise SourceError(f"Camera {self.name} cannot be opened: {advice}.") from error
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"Camera {self.name} cannot be opened: {advice}.")
        return capture


def _open_stream(address: str) -> cv2.VideoCapture:
    # Over UDP a lost packet is a smeared picture, which would be scored.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, timeouts)


def _open_pipeline(pipeline: str) -> cv2.VideoCapture:
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise MissingError(
            "This OpenCV was built without GStreamer, as all wheels from PyPI are. On a Jetson use the OpenCV of "
            "JetPack; elsewhere give an RTSP address, or build OpenCV with GStreamer."
        )
    return cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
