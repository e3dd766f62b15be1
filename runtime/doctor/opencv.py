"""OpenCV: which build, which picture formats it decodes, and what it opens cameras and videos with."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from typing import Any

from lifeiqa.runtime.doctor.report import Check, State
from lifeiqa.runtime.errors import MissingError

# A picture that went through the format may differ by this much a pixel on average, of 255: 0 where nothing is lost.
_FORMATS = {
    "JPEG": (".jpg", 12),
    "PNG": (".png", 0),
    "WebP": (".webp", 12),
    "TIFF": (".tif", 0),
    "JPEG 2000": (".jp2", 12),
    "AVIF": (".avif", 12),
    "GIF": (".gif", 24),
    "BMP": (".bmp", 0),
    "PNM": (".ppm", 0),
}
_NEEDED = ("JPEG", "PNG")
_VIDEO = {
    "FFmpeg": ("CAP_FFMPEG", "videos and network cameras"),
    "GStreamer": ("CAP_GSTREAMER", "pipelines for --camera; JetPack's OpenCV has it, PyPI's has not"),
    "V4L2": ("CAP_V4L2", "cameras on Linux, by number"),
}


def check_opencv() -> list[Check]:
    """OpenCV's build, its decoders and its video backends; one check alone where it is absent or broken."""
    try:
        from lifeiqa.runtime.opencv import cv2
    except MissingError as error:
        absent = isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name == "cv2"
        return [Check("OpenCV", State.absent if absent else State.broken, str(error), {"version": None})]
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return [_build(cv2), *(_decoder(cv2, name) for name in _FORMATS), *(_video(cv2, name) for name in _VIDEO)]


def _build(cv2: Any) -> Check:
    found = re.search(r"^\s*GUI:[ \t]*(\S*)", cv2.getBuildInformation(), re.MULTILINE)
    gui = found[1] if found else "NONE"
    wheels = sorted({d.name for d in distributions() if (d.name or "").lower().startswith("opencv-")})
    text = f"{cv2.__version__}, {'headless' if gui == 'NONE' else f'with windows ({gui})'}"
    if len(wheels) > 1:
        text += f"; {', '.join(wheels)} overwrite each other: uninstall all but one, and install that one again"
    return Check("OpenCV", State.ok, text, {"version": cv2.__version__, "gui": gui, "wheels": wheels})


def _decoder(cv2: Any, name: str) -> Check:
    import numpy as np

    suffix, tolerance = _FORMATS[name]
    ramp = np.arange(0, 256, 8, dtype=np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, np.newaxis], ramp, np.uint8(96)), axis=2)
    try:
        written, data = cv2.imencode(suffix, np.ascontiguousarray(picture))
        read = cv2.imdecode(data, cv2.IMREAD_COLOR) if written else None
    except cv2.error:
        read = None
    if read is None:
        state = State.broken if name in _NEEDED else State.absent
        return Check(name, state, f"not decoded: {suffix} files end in an error each", {"decodes": False})
    off = float(np.abs(read.astype(int) - picture).mean()) if read.shape == picture.shape else 255.0
    if off > tolerance:
        return Check(name, State.broken, f"decoded wrongly: off by {off:.0f} of 255", {"decodes": False})
    return Check(name, State.ok, "decoded", {"decodes": True})


def _video(cv2: Any, name: str) -> Check:
    constant, use = _VIDEO[name]
    here = bool(cv2.videoio_registry.hasBackend(getattr(cv2, constant)))
    return Check(name, State.ok if here else State.absent, f"{'yes' if here else 'no'} ({use})", {"present": here})
