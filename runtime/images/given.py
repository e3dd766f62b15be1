"""Arrays that a caller hands over as pictures."""

from __future__ import annotations

import numpy as np

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images.reader import Image, laid_on_white


def from_array(pixels: object) -> Image:
    """A picture from uint8 samples in sRGB: (H, W) or (H, W, 1) grey, (H, W, 3) RGB, (H, W, 4) RGBA.

    Raises:
        ImageError: it is no such array; what it is, and how to make one of it.
    """
    array = np.asarray(pixels)
    if array.dtype == object or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        shape = f"shape {array.shape}" if array.dtype != object else f"{type(pixels).__name__}"
        raise ImageError(f"expected an array (H, W), (H, W, 3) or (H, W, 4) of uint8, found {shape}")
    if array.dtype != np.uint8:
        advice = "np.rint(255 * x).astype(np.uint8) where 1 is white" if array.dtype.kind == "f" else "convert it"
        raise ImageError(f"expected samples of uint8, 0 to 255, found {array.dtype}: {advice}")
    if array.size == 0:
        raise ImageError("the picture has no pixels")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] == 4:
        if array[:, :, 3].min() == 255:
            return Image(array[:, :, :3])
        return Image(laid_on_white(array[:, :, :3], array[:, :, 3:]), "transparency laid on white")
    if array.shape[2] == 1:
        return Image(np.repeat(array, 3, axis=2), "grey")
    return Image(array)
