"""Where to compute."""

from __future__ import annotations

from typing import Literal

import torch

from celllm.base.errors import InputError

Accelerator = Literal["auto", "cpu", "cuda"]
"""`auto`: a GPU if there is one."""


def device_of(accelerator: Accelerator, *, threads: int) -> str:
    """Return the device, and let torch use so many CPU threads."""
    torch.set_num_threads(threads)
    require(accelerator)
    is_gpu = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    return "cuda" if is_gpu else "cpu"


def require(accelerator: str) -> None:
    """Raise InputError if a GPU is asked for and torch sees none: hours on a CPU would pass for a run on a GPU."""
    if accelerator == "cuda" and not torch.cuda.is_available():
        built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
        raise InputError(
            file="--accelerator",
            field=accelerator,
            expected="a GPU that torch sees",
            found=f"none; torch {torch.__version__} is built for {built_for}",
            remedy="look at nvidia-smi and install torch with CUDA; or set accelerator: cpu in the configuration",
        )
