"""Decoding in other processes: one that crashes or takes too long costs its file, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.limits import DECODE_TIMEOUT_S
from lifeiqa.runtime.preprocess import PreprocessSpec
from lifeiqa.runtime.scoring import decode_worker
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.names import as_bytes


@dataclass(frozen=True)
class DecodeSettings:
    """What is decoded how.

    Attributes:
        spec: of the model.
        crops: a picture, None for the spec's number.
        max_pixels: a picture of more is refused.
        timeout_s: a file that takes longer is given up.
    """

    spec: PreprocessSpec
    crops: int | None
    max_pixels: int
    timeout_s: float = DECODE_TIMEOUT_S


@dataclass(frozen=True)
class Decoded:
    """A picture, ready for the model.

    Attributes:
        crops: (B, S, S, 3) uint8 RGB.
        notes: on what had to be changed to read it, None where there was nothing.
    """

    crops: UInt8Array
    notes: tuple[str | None, ...]


class Decoder:
    """A process that decodes one file at a time; started when it is needed, and anew after a crash."""

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline: float | None = None
        self._timed_out = self._closed = False
        self._lock = threading.Lock()

    def decode(self, entry: Entry) -> Decoded:
        """Decodes a file, or a picture's data. After a crash once more: somebody may have killed the process.

        Raises:
            ImageError: it cannot be decoded, its decoder crashed on it twice, or it took too long.
        """
        crashed = False
        while True:
            process = self._running()
            try:
                return self._decode(process, entry)
            except (EOFError, OSError, ValueError):  # the last: closed by another thread
                error = self._lost(process)
                if crashed or self._timed_out or self._closed:
                    raise error from None
                crashed = True

    def _decode(self, process: subprocess.Popen[bytes], entry: Entry) -> Decoded:
        side = self._settings.spec.crop_size
        request: dict[str, Any] = {}
        if entry.data is not None:
            request = {"size": len(entry.data), "suffix": os.path.splitext(entry.uri or "")[1]}  # noqa: PTH122
        else:
            request["path"] = as_bytes(entry.path or "").hex()
        self._timed_out, self._deadline = False, time.monotonic() + self._settings.timeout_s
        try:
            reply, data = _exchange(process, request, entry.data or b"", 3 * side * side)
        finally:
            self._deadline = None
        if "bug" in reply:
            # Shown as what it is, but the million files after this one are scored.
            sys.stderr.write(f"A bug while decoding {entry.source}; please report it:\n{reply['bug']}")
            raise ImageError(f"a bug of lifeiqa ({reply['bug'].strip().splitlines()[-1]}); please report it")
        if "error" in reply:
            raise ImageError(reply["error"])
        crops = np.frombuffer(data, np.uint8).reshape(-1, side, side, 3)
        return Decoded(crops, tuple(reply["notes"]))

    def give_up_if_late(self, now: float) -> None:
        """Kills the process where its file has taken too long. Called by another thread than `decode`."""
        with self._lock:
            if self._deadline is not None and now > self._deadline and self._process is not None:
                self._timed_out = True
                self._process.kill()

    def close(self) -> None:
        """Ends the process, whatever it does. May be called by another thread than `decode`."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()  # a `decode` that waits for it finds it ended, and closes what leads to it
                _buried(self._process)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ImageError("interrupted")
            if self._process is None:
                self._process = _start(self._settings)
            return self._process

    def _lost(self, process: subprocess.Popen[bytes]) -> ImageError:
        """Buries the process, and says why the file cannot be scored."""
        with self._lock:
            code, self._process = _buried(process), None
        if self._timed_out:
            return ImageError(
                f"took longer than {self._settings.timeout_s:g} s to decode; convert it, or raise --decode-timeout"
            )
        if self._closed:
            return ImageError("interrupted")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return ImageError(f"its decoder crashed ({how}); convert it to PNG or JPEG")


# Whatever this process can import, that one can.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lifeiqa.runtime.scoring import decode_worker; "


def _start(settings: DecodeSettings) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-c", f"{_START}decode_worker.main()", json.dumps(sys.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    first = {"preprocess": settings.spec.to_dict(), "crops": settings.crops, "max_pixels": settings.max_pixels}
    try:
        _stream(process.stdin).write(json.dumps(first).encode() + b"\n")
        _stream(process.stdin).flush()
        ready = _stream(process.stdout).readline() == decode_worker.READY
    except OSError:
        ready = False
    if not ready:
        process.kill()
        raise RuntimeError(f"the process that decodes pictures did not start (exit code {process.wait()})")
    return process


def _buried(process: subprocess.Popen[bytes]) -> int:
    """Waits for the end of a process, closes what leads to it, and returns its exit code."""
    code = process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError, ValueError):  # what was still to be written to it
            _stream(stream).close()
    return code


def _exchange(
    process: subprocess.Popen[bytes], request: dict[str, Any], data: bytes, crop_bytes: int
) -> tuple[dict[str, Any], bytes]:
    """The reply and its crops. Raises `EOFError` or `OSError` where the process ends before it has answered."""
    requests, replies = _stream(process.stdin), _stream(process.stdout)
    requests.write(json.dumps(request).encode() + b"\n" + data)
    requests.flush()
    line = replies.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    reply: dict[str, Any] = json.loads(line)
    size = reply.get("count", 0) * crop_bytes
    crops = replies.read(size)
    if len(crops) < size:
        raise EOFError
    return reply, crops


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
