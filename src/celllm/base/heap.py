"""Memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes


def return_large_blocks(above_bytes: int = 1 << 20) -> None:
    """Have freed arrays returned to the system at once, so that memory stays flat over thousands of pieces.

    glibc raises the size from which it does so by itself with every large block that is freed, up to 32 MiB; pieces of
    ever new sizes then leave gaps behind. Pages that come anew are zeroed first, which costs time. Elsewhere this does
    nothing.
    """
    mmap_threshold = -3  # M_MMAP_THRESHOLD of malloc.h; setting it switches the raising off
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, above_bytes)
