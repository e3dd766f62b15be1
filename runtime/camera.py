"""A live camera or network stream, of which only the newest frame counts."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
from lifeiqa.runtime.errors import MissingError, SourceError
from lifeiqa.runtime.images import UInt8Array
from lifeiqa.runtime.sources import Sample, to_rgb

OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class _Frame:
    number: int
    pixels: UInt8Array
    arrived: float  # time.monotonic()


def without_password(address: str) -> str:
    """The address with user and password taken out: what may be printed and logged."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", address)


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
            SourceError: the source cannot be opened.
            MissingError: a GStreamer pipeline, and this OpenCV was built without GStreamer.
        """
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

    def samples(self, limit: int | None = None, every: int = 1) -> Iterator[Sample]:
        """Yields the newest frame each time it is asked for one, waiting for it if need be.

        Args:
            limit: stop after so many.
            every: leave at least so many frame numbers between two samples.

        Raises:
            SourceError: the source was lost and did not come back.
        """
        last, given = -every, 0
        while limit is None or given < limit:
            frame = self._wait_for(last + every)
            yield Sample(
                self.name,
                frame.pixels,
                frame=frame.number,
                time_s=frame.arrived - self._opened,
                age_s=time.monotonic() - frame.arrived,
                dropped=frame.number - last - every if given else 0,
            )
            last, given = frame.number, given + 1

    def close(self) -> None:
        """Lets go of the source."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._thread.join(timeout=5)

    def _wait_for(self, number: int) -> _Frame:
        with self._lock:
            while True:
                if self._newest is not None and self._newest.number >= number:
                    return self._newest
                if self._failure is not None:
                    raise self._failure
                self._lock.wait(timeout=1.0)

    def _read(self, capture: cv2.VideoCapture | None) -> None:
        number = 0
        try:
            while not self._closed:
                ok, bgr = capture.read() if capture is not None else (False, None)
                if ok:
                    frame = _Frame(number, to_rgb(bgr), time.monotonic())
                    number += 1
                    with self._lock:
                        self._newest = frame
                        self._lock.notify_all()
                else:
                    if capture is not None:
                        capture.release()
                    capture = self._reopen(number)
        except Exception as error:  # handed to the thread that waits, bugs included
            with self._lock:
                self._failure = error
                self._lock.notify_all()
        finally:
            if capture is not None:
                capture.release()

    def _reopen(self, frames: int) -> cv2.VideoCapture | None:
        lost, pause = time.monotonic(), 0.5
        self._log(f"{self.name} was lost after {frames} frames; trying again for {self._retry_s:.0f} s")
        while not self._closed and time.monotonic() - lost < self._retry_s:
            try:
                capture = self._open()
            except SourceError:
                with self._lock:
                    self._lock.wait(timeout=min(pause, max(0.0, self._retry_s - (time.monotonic() - lost))))
                pause = min(2 * pause, 8.0)
            else:
                self._log(f"{self.name} is back after {time.monotonic() - lost:.1f} s")
                return capture
        if self._closed:
            return None
        raise SourceError(f"{self.name} was lost after {frames} frames and did not come back in {self._retry_s:.0f} s.")

    def _open(self) -> cv2.VideoCapture:
        address = self._address.strip()
        if " ! " in address:
            return self._checked(
                _open_pipeline(address), "check the pipeline with gst-launch-1.0; it must end in appsink"
            )
        if address.isdecimal():
            return self._checked(
                cv2.VideoCapture(int(address)),
                "is it plugged in, free, and may you read it? Linux lists cameras as /dev/video*",
            )
        # Interrupted TCP connections would otherwise hang for FFmpeg's own, much longer time.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
        return self._checked(
            cv2.VideoCapture(address, cv2.CAP_FFMPEG, timeouts), "check the address with ffprobe, and the network"
        )

    def _checked(self, capture: cv2.VideoCapture, advice: str) -> cv2.VideoCapture:
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"Camera {self.name} cannot be opened: {advice}.")
        return capture


def _open_pipeline(pipeline: str) -> cv2.VideoCapture:
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise MissingError(
            "This OpenCV was built without GStreamer, as all wheels from PyPI are. On a Jetson use the OpenCV of "
            "JetPack; elsewhere give an RTSP address, or build OpenCV with GStreamer."
        )
    return cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
