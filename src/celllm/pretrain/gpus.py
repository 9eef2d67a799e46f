"""Peaks of GPUs, and the seconds that work takes at a share of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from celllm.base.errors import InputError
from celllm.config.recipe import Recipe
from celllm.pretrain.flops import Flops


@dataclass(frozen=True)
class Gpu:
    """Peaks of one GPU, from its maker's data sheet; none is measured here.

    `bf16_tflops` are dense products with sums in float32 (data sheets also print the double, which holds where half of
    the numbers are zeros); `float32_tflops` are outside the tensor cores, where torch multiplies float32 by default.
    """

    title: str
    bf16_tflops: float
    float32_tflops: float
    memory_gb: float
    memory_gb_per_s: float


GPUS = {
    "h100": Gpu("H100 SXM 80 GB", 989.4, 67, 80, 3_350),
    "h200": Gpu("H200 SXM 141 GB", 989.4, 67, 141, 4_800),
    "a100": Gpu("A100 SXM 80 GB", 312, 19.5, 80, 2_039),
    "a100-40": Gpu("A100 SXM 40 GB", 312, 19.5, 40, 1_555),
    "l40s": Gpu("L40S 48 GB", 362.05, 91.6, 48, 864),
    "rtx4090": Gpu("RTX 4090 24 GB", 165.2, 82.6, 24, 1_008),
}


def gpu_of(name: str) -> Gpu:
    """Return a GPU by its short name; InputError if the table has none of that name."""
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


def gpu_seconds(recipe: Recipe, gpu: Gpu, flops: Flops, traffic_bytes: float, *, efficiency: float) -> float:
    """Return the seconds of a step, each kind of work at the same share of its own peak."""
    mixed = gpu.bf16_tflops if recipe.training.precision == "bf16-mixed" else gpu.float32_tflops
    at_peak = (
        flops.mixed / (mixed * 1e12)
        + flops.float32 / (gpu.float32_tflops * 1e12)
        + traffic_bytes / (gpu.memory_gb_per_s * 1e9)
    )
    return at_peak / efficiency
