"""Picture files: which formats are read on this machine, each tried on a file of its kind."""

from __future__ import annotations

import importlib.util
import io
from importlib.metadata import version
from typing import TYPE_CHECKING

from lifeiqa.runtime.doctor.report import Check, State

if TYPE_CHECKING:
    from lifeiqa.runtime.images.formats import Format

# A picture that went through a format may differ by this much a pixel on average, of 255: 0 where nothing is lost.
_LOSSLESS, _TOLERANCE = ("PNG", "TIFF", "BMP", "PNM"), {"GIF": 24}
_LOSSY = 12


def check_pictures() -> list[Check]:
    """The packages that decode, and each format."""
    packages = [Check(name, State.ok, version(name), {"version": version(name)}) for name in ("pillow", "simplejpeg")]
    from lifeiqa.runtime.images.reader import PLUGINS

    return [*packages, *(_format(form) for form in PLUGINS)]


def _format(form: Format) -> Check:
    import numpy as np
    import PIL.Image

    from lifeiqa.runtime.errors import ImageError
    from lifeiqa.runtime.images import decode_image
    from lifeiqa.runtime.images.reader import EXTRA_READERS, PLUGINS, register

    name = form.name
    if form in EXTRA_READERS:
        module, package = EXTRA_READERS[form]
        if importlib.util.find_spec(module) is None:
            return Check(name, State.absent, f"not read. To read it: pip install {package}", {"decodes": False})
        register(form)
    ramp = np.arange(0, 256, 4, dtype=np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, np.newaxis], ramp, np.uint8(96)), axis=2)
    file = io.BytesIO()
    try:
        PIL.Image.fromarray(np.ascontiguousarray(picture)).save(file, PLUGINS[form])
    except (OSError, KeyError) as error:  # a build without this encoder
        return Check(name, State.unknown, f"cannot be tried: {error}", {"decodes": None})
    try:
        read = decode_image(file.getvalue()).pixels
    except ImageError as error:
        return Check(name, State.broken, f"not read: {error}", {"decodes": False})
    off = float(np.abs(read.astype(int) - picture).mean()) if read.shape == picture.shape else 255.0
    if off > (0 if name in _LOSSLESS else _TOLERANCE.get(name, _LOSSY)):
        return Check(name, State.broken, f"read wrongly: off by {off:.0f} of 255", {"decodes": False})
    return Check(name, State.ok, "read", {"decodes": True})
