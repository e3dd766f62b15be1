"""The array types that pass between modules, in a module that loads nothing but NumPy."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

UInt8Array: TypeAlias = npt.NDArray[np.uint8]  # pictures and crops, (H, W, 3) or (B, H, W, 3), RGB
FloatArray: TypeAlias = npt.NDArray[np.float32]
