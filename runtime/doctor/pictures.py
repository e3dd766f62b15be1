"""Picture files: which formats are read on this machine, each tried on a file of its kind."""

from __future__ import annotations

import importlib.util
import io
from importlib.metadata import version

from lifeiqa.runtime.doctor.report import Check, State

# A picture that went through the format may differ by this much a pixel on average, of 255: 0 where nothing is lost.
_FORMATS = {
    "JPEG": ("JPEG", 12),
    "PNG": ("PNG", 0),
    "WebP": ("WEBP", 12),
    "AVIF": ("AVIF", 12),
    "TIFF": ("TIFF", 0),
    "JPEG 2000": ("JPEG2000", 12),
    "GIF": ("GIF", 24),
    "BMP": ("BMP", 0),
    "PNM": ("PPM", 0),
    "HEIF": ("HEIF", 12),
    "JPEG XL": ("JXL", 12),
}
_EXTRA = {"HEIF": ("pillow_heif", "pillow-heif"), "JPEG XL": ("pillow_jxl", "pillow-jxl-plugin")}


def check_pictures() -> list[Check]:
    """The packages that decode, and each format."""
    packages = [Check(name, State.ok, version(name), {"version": version(name)}) for name in ("pillow", "simplejpeg")]
    return [*packages, *(_format(name) for name in _FORMATS)]


def _format(name: str) -> Check:
    import numpy as np
    import PIL.Image

    from lifeiqa.runtime.errors import ImageError
    from lifeiqa.runtime.images import decode_image

    if name in _EXTRA:
        module, package = _EXTRA[name]
        if importlib.util.find_spec(module) is None:
            return Check(name, State.absent, f"not read. To read it: pip install {package}", {"decodes": False})
        extra = importlib.import_module(module)
        if name == "HEIF":
            extra.register_heif_opener()
    form, tolerance = _FORMATS[name]
    ramp = np.arange(0, 256, 4, dtype=np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, np.newaxis], ramp, np.uint8(96)), axis=2)
    file = io.BytesIO()
    try:
        PIL.Image.fromarray(np.ascontiguousarray(picture)).save(file, form)
    except (OSError, KeyError) as error:  # a build without this encoder
        return Check(name, State.unknown, f"cannot be tried: {error}", {"decodes": None})
    try:
        read = decode_image(file.getvalue()).pixels
    except ImageError as error:
        return Check(name, State.broken, f"not read: {error}", {"decodes": False})
    off = float(np.abs(read.astype(int) - picture).mean()) if read.shape == picture.shape else 255.0
    if off > tolerance:
        return Check(name, State.broken, f"read wrongly: off by {off:.0f} of 255", {"decodes": False})
    return Check(name, State.ok, "read", {"decodes": True})
