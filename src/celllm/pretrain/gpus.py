"""What GPUs can do at most, from their makers' data sheets. None of these figures is measured here."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from celllm.base.errors import InputError

PER_NODE = 8
"""GPUs that share a machine, as in NVIDIA's HGX boards; more are joined by the network."""


class Gpu(NamedTuple):
    """Peaks of one GPU."""

    title: str
    bf16_tflops: float
    """Dense bfloat16 products with sums in float32, 10^12 operations a second; data sheets also print the double, which
    holds where half of the numbers are zeros."""
    float32_tflops: float
    """Outside the tensor cores, where torch multiplies float32 by default."""
    memory_gb: float
    """10^9 bytes."""
    memory_gb_s: float
    """Bandwidth of its memory, 10^9 bytes a second."""
    link_gb_s: float
    """To other GPUs of the machine, in one direction, 10^9 bytes a second; data sheets print the sum of both."""
    source: str


GPUS = {
    "h100": Gpu("H100 SXM 80 GB", 989.4, 67, 80, 3_350, 450, "NVIDIA H100 data sheet"),
    "h200": Gpu("H200 SXM 141 GB", 989.4, 67, 141, 4_800, 450, "NVIDIA H200 data sheet"),
    "a100": Gpu("A100 SXM 80 GB", 312, 19.5, 80, 2_039, 300, "NVIDIA A100 data sheet"),
    "a100-40": Gpu("A100 SXM 40 GB", 312, 19.5, 40, 1_555, 300, "NVIDIA A100 data sheet"),
    "l40s": Gpu("L40S 48 GB", 362.05, 91.6, 48, 864, 32, "NVIDIA L40S data sheet; linked by PCIe 4.0 x16"),
    "rtx4090": Gpu("RTX 4090 24 GB", 165.2, 82.6, 24, 1_008, 32, "NVIDIA Ada white paper; linked by PCIe 4.0 x16"),
}


def gpu_of(name: str) -> Gpu:
    """Return a GPU by its short name.

    Raises
    ------
    InputError
        If the table has none of that name.
    """
    if name not in GPUS:
        near = difflib.get_close_matches(name.lower(), GPUS, n=1)
        raise InputError(
            file="--gpu",
            field="name",
            expected=f"one of {', '.join(GPUS)}",
            found=repr(name),
            remedy=f"did you mean {near[0]}?" if near else "add its data sheet to src/celllm/pretrain/gpus.py",
        )
    return GPUS[name]
