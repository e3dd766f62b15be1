"""OpenCV, or one line that says what to install: every module takes `cv2` from here."""

from __future__ import annotations

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import MissingError

__all__ = ["cv2", "to_rgb"]


def advice(error: ImportError) -> str:
    """What to do about an `import cv2` that failed: one line."""
    reason = (str(error).splitlines() or ["no reason given"])[0]
    if isinstance(error, ModuleNotFoundError) and error.name == "cv2":
        return (
            "OpenCV is not installed. Install it: pip install opencv-python-headless. A Jetson has JetPack's, which a "
            "virtual environment sees only if it was made with --system-site-packages."
        )
    if "numpy" in reason:
        return (
            f"OpenCV is installed, but cannot be loaded ({reason}): it was built for another NumPy. JetPack's needs "
            "NumPy 1: pip install 'numpy<2'"
        )
    return (
        f"OpenCV is installed, but cannot be loaded ({reason}). Install the build that needs no display: "
        "pip uninstall -y opencv-python opencv-contrib-python && pip install --force-reinstall opencv-python-headless"
    )


try:
    import cv2

    if not hasattr(cv2, "imdecode"):  # Python takes the folder that an uninstalled package leaves behind for a package
        raise ImportError("only a remnant of it is there")
except ImportError as error:
    raise MissingError(advice(error)) from error


def to_rgb(bgr: object) -> UInt8Array:
    """OpenCV's (H, W, 3) BGR, or (H, W) grey, as RGB: in a tenth of the time of a reversed view's copy."""
    code = cv2.COLOR_GRAY2RGB if np.ndim(bgr) == 2 else cv2.COLOR_BGR2RGB  # type: ignore[arg-type]
    return cv2.cvtColor(np.asarray(bgr, np.uint8), code).astype(np.uint8, copy=False)
