"""Where to compute."""

from __future__ import annotations

from typing import Literal

import torch

Accelerator = Literal["auto", "cpu", "cuda"]
"""`auto`: a GPU if there is one."""


def device_of(accelerator: Accelerator, *, threads: int) -> str:
    """Return the device, and let torch use so many CPU threads."""
    torch.set_num_threads(threads)
    is_gpu = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    return "cuda" if is_gpu else "cpu"
