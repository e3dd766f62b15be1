"""OpenCV: which build, and what it opens cameras and videos with."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from typing import Any

from lifeiqa.runtime.doctor.report import Check, State
from lifeiqa.runtime.errors import MissingError

_VIDEO = {
    "FFmpeg": ("CAP_FFMPEG", "videos and network cameras"),
    "GStreamer": ("CAP_GSTREAMER", "pipelines for --camera; JetPack's OpenCV has it, PyPI's has not"),
    "V4L2": ("CAP_V4L2", "cameras on Linux, by number"),
}


def check_opencv() -> list[Check]:
    """OpenCV's build and its video backends; one check alone where it is absent or broken."""
    try:
        from lifeiqa.runtime.opencv import cv2
    except MissingError as error:
        absent = isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name == "cv2"
        return [Check("OpenCV", State.absent if absent else State.broken, str(error), {"version": None})]
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return [_build(cv2), *(_video(cv2, name) for name in _VIDEO)]


def _build(cv2: Any) -> Check:
    found = re.search(r"^\s*GUI:[ \t]*(\S*)", cv2.getBuildInformation(), re.MULTILINE)
    gui = found[1] if found else "NONE"
    wheels = sorted({d.name for d in distributions() if (d.name or "").lower().startswith("opencv-")})
    text = f"{cv2.__version__}, {'headless' if gui == 'NONE' else f'with windows ({gui})'}"
    if len(wheels) > 1:
        text += f"; {', '.join(wheels)} overwrite each other: uninstall all but one, and install that one again"
    return Check("OpenCV", State.ok, text, {"version": cv2.__version__, "gui": gui, "wheels": wheels})


def _video(cv2: Any, name: str) -> Check:
    constant, use = _VIDEO[name]
    here = bool(cv2.videoio_registry.hasBackend(getattr(cv2, constant)))
    return Check(name, State.ok if here else State.absent, f"{'yes' if here else 'no'} ({use})", {"present": here})
