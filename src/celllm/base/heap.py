"""Memory that the C library holds free, given back to the system."""

from __future__ import annotations

import ctypes


def give_back_free() -> None:
    """Give back the pages of freed blocks, wherever in the heap they lie; outside glibc this does nothing.

    Chunks of cells have ever new shapes, so a freed block seldom fits the next tensor, and the heap grows with their
    number although no more is in use. Only blocks above 32 MiB, the largest value that glibc's mmap threshold rises
    to by itself, go back when they are freed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def return_large_blocks() -> None:
    """Have freed arrays returned to the system at once, so that memory stays flat over thousands of pieces.

    glibc raises the size from which it does so by itself with every large block that is freed; pieces of ever new sizes
    then leave gaps behind. Elsewhere this does nothing.
    """
    mmap_threshold, size_bytes = -3, 1 << 20  # M_MMAP_THRESHOLD of malloc.h; setting it switches the raising off
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, size_bytes)
