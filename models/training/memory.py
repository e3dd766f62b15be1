"""Memory of training steps on a CPU."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # names and numbers of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Lets this process keep what its tensors free, for the tensors of the next step.

    glibc gives blocks above 32 MiB back to the system as soon as they are freed, and the system clears each page when
    it is asked for again. The tensors of a training step are such blocks: half of its time on two CPU cores. The
    setting holds until the process ends; at its peak it needs about an eighth more memory.

    Returns:
        Whether the C library can be told so; others than glibc are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))  # -1: never trim
