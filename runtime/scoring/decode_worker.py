"""The process that reads and decodes files for another one, which outlives it whatever a file does to its decoder.

A request is a line of JSON on standard input, and bytes where it announces some. A reply is a line of JSON on standard
output, and the crops as bytes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import IO, Any

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import decode_image, read_image
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of
from lifeiqa.runtime.sources.names import from_bytes

READY = b"ready\n"


def main() -> None:
    """Answers requests until standard input ends. The first line has the settings."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # of a whole group: the parent ends, and with it standard input
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests = sys.stdin.buffer
    settings = json.loads(requests.readline())
    replies = _reply_stream()
    spec = PreprocessSpec.from_dict(settings["preprocess"])
    cv2.setNumThreads(1)  # there is such a process for each core
    replies.write(READY)
    replies.flush()
    while line := requests.readline():
        _answer(json.loads(line), requests, replies, spec, settings["crops"], settings["max_pixels"])


def _reply_stream() -> IO[bytes]:
    """Standard output, kept from decoders that write there: what they write goes nowhere, as on standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return replies


def _answer(
    request: dict[str, Any],
    requests: IO[bytes],
    replies: IO[bytes],
    spec: PreprocessSpec,
    crops: int | None,
    max_pixels: int,
) -> None:
    data = b""
    try:
        if "size" in request:
            image = decode_image(requests.read(request["size"]), max_pixels, request["suffix"])
        else:
            image = read_image(from_bytes(bytes.fromhex(request["path"])), max_pixels)
        cut = crops_of(image.pixels, spec, crops)
        data = cut.tobytes()
        reply = {"count": len(cut), "notes": [image.note, spec.note(*image.pixels.shape[:2])]}
    except ImageError as error:
        reply = {"error": str(error)}
    except MemoryError:
        reply = {"error": "does not fit into memory; score a smaller copy"}
    except Exception:
        reply = {"bug": traceback.format_exc()}
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.write(data)
    replies.flush()
