"""Picture files as people see them: decoded, upright, in sRGB, 8 bits; damage is told."""

from __future__ import annotations

from lifeiqa.runtime.images.given import from_array
from lifeiqa.runtime.images.jpeg import ends_early
from lifeiqa.runtime.images.reader import IMAGE_SUFFIXES, Image, decode_image, read_image
from lifeiqa.runtime.limits import MAX_PIXELS

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "Image", "decode_image", "ends_early", "from_array", "read_image"]
