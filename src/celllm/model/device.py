"""Where to compute."""

from __future__ import annotations

import torch

from celllm.base.errors import InputError


def device_of(accelerator: str, *, threads: int) -> str:
    """Return the device, of auto, cpu or cuda, and let torch use so many CPU threads."""
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
