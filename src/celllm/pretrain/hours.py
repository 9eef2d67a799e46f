"""How long a run will take on so many GPUs, and how much of it they talk: computed from data sheets.

Shapes: B cells of the batch, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from celllm.config.recipe import Recipe
from celllm.pretrain.calibrate import Calibration
from celllm.pretrain.footprint import Footprint
from celllm.pretrain.gpus import PER_NODE, Gpu
from celllm.pretrain.operations import Work, loss_work, passes_of, step_work
from celllm.pretrain.plan import NUMBER_BYTES, Batches, Parameters, shapes_of_batch

EFFICIENCY = 0.5
"""Share of each peak that is reached; an assumption, no GPU was seen. Chowdhery et al. 2022 (arXiv:2204.02311, PaLM)
report 0.578 of the peak of their accelerators, recomputation counted."""
NETWORK_GBIT_S = 400.0
"""Between machines, of each machine, in one direction: one InfiniBand NDR port; an assumption."""
OPTIMISER_BYTES = 40
"""Moved for a trained number by clipping (reads the gradient twice, writes it once) and by AdamW (reads weight,
gradient and two states, writes all but the gradient)."""
SECONDS_PER_HOUR = 3600


class Demand(NamedTuple):
    """What one device has to do in a step."""

    work: Work
    traffic_bytes: float
    """Moved between memory and cores by operations that are no matrix products."""
    n_tokens: int
    """Tokens of its cells, each counted once."""
    n_encoded: int
    """The same with padding."""


class Parallel(NamedTuple):
    """A run on n devices."""

    n: int
    step_seconds: float
    """Of the slowest device, optimiser and communication included."""
    communication_seconds: float
    imbalance: float
    """Time of the slowest device over the mean; its cells happen to be longer."""
    padding_fraction: float
    """Share of padding among the tokens that devices encode."""
    hours: float
    """Of all steps."""
    sent_bytes: float
    """By each device, a step."""

    @property
    def communication_fraction(self) -> float:
        """Share of the step in which devices talk."""
        return self.communication_seconds / self.step_seconds if self.step_seconds else 0.0


Seconds = Callable[[Demand], float]


def on_gpu(gpu: Gpu, recipe: Recipe, *, efficiency: float) -> Seconds:
    """Return what tells the seconds of a device's step, each kind of work at the same share of its own peak."""
    mixed = gpu.bf16_tflops if recipe.training.precision == "bf16-mixed" else gpu.float32_tflops

    def seconds(demand: Demand) -> float:
        at_peak = (
            demand.work.mixed / (mixed * 1e12)
            + demand.work.float32 / (gpu.float32_tflops * 1e12)
            + demand.traffic_bytes / (gpu.memory_gb_s * 1e9)
        )
        return at_peak / efficiency

    return seconds


def as_calibrated(calibration: Calibration) -> Seconds:
    """Return what tells the seconds of a step on the device that was timed."""
    return lambda demand: calibration.step_seconds(demand.work)


def demands(
    recipe: Recipe, batches: Batches, footprint: Footprint, counted: Parameters, *, n: int
) -> list[list[Demand]]:
    """Return what each of n devices has to do in the step of each batch; they share its cells as the sampler does."""
    shared = loss_work(recipe.encoder, recipe.objectives, recipe.training.batch_cells)
    found = []
    for lengths_B, targets_B in zip(*batches, strict=True):
        parts = zip(np.array_split(lengths_B, n), np.array_split(targets_B, n), strict=True)
        of_batch = []
        for lengths, targets in parts:
            shapes = shapes_of_batch(recipe, lengths, targets)
            n_encoded = sum(shape.tokens for shape in shapes)
            traffic = footprint.step_traffic * n_encoded
            traffic -= footprint.forward_traffic * shapes[-1].tokens  # of the chunk that is kept
            traffic += OPTIMISER_BYTES * counted.trained
            work = step_work(recipe.encoder, recipe.objectives, shapes).plus(shared)
            of_batch.append(Demand(work, traffic, int(lengths.sum()), n_encoded))
        found.append(of_batch)
    return found


def sent_bytes(recipe: Recipe, counted: Parameters, *, n: int) -> tuple[float, float]:
    """Return what each of n devices sends in a step: embeddings to all, and gradients to be summed.

    A ring passes each device's part of the embeddings n - 1 times, and each n-th of the gradients 2 (n - 1) times.
    """
    n_views = passes_of(recipe.objectives).n_views
    embeddings = n_views * recipe.training.batch_cells * recipe.encoder.width * NUMBER_BYTES
    return embeddings * (n - 1) / n, counted.trained * NUMBER_BYTES * 2 * (n - 1) / n


def parallel(
    recipe: Recipe,
    batches: Batches,
    footprint: Footprint,
    counted: Parameters,
    seconds: Seconds,
    *,
    n: int,
    gpu: Gpu | None = None,
    network_gbit_s: float = NETWORK_GBIT_S,
) -> Parallel:
    """Compute a run on n devices.

    Parameters
    ----------
    recipe, batches, footprint, counted
        What is trained, on cells of which lengths, what its tokens take and its numbers.
    seconds
        From `on_gpu` or `as_calibrated`.
    n
        Devices, at most B.
    gpu
        Tells how fast devices of a machine talk; None: one device, which talks to nobody.
    network_gbit_s
        Of each machine, in one direction; the ring of all devices leaves a machine once.
    """
    of_devices = demands(recipe, batches, footprint, counted, n=n)
    times = np.array([[seconds(one) for one in of_batch] for of_batch in of_devices])
    tokens = np.sum([(one.n_tokens, one.n_encoded) for of_batch in of_devices for one in of_batch], axis=0)
    n_bytes = sum(sent_bytes(recipe, counted, n=n))
    talking = 0.0
    if gpu is not None and n > 1:
        link = gpu.link_gb_s if n <= PER_NODE else min(gpu.link_gb_s, network_gbit_s / 8)
        talking = n_bytes / (link * 1e9)
    slowest = float(times.max(axis=1).mean())
    step_seconds = slowest + talking
    return Parallel(
        n=n,
        step_seconds=step_seconds,
        communication_seconds=talking,
        imbalance=slowest / float(times.mean()),
        padding_fraction=float(1 - tokens[0] / tokens[1]),
        hours=step_seconds * recipe.training.steps / SECONDS_PER_HOUR,
        sent_bytes=n_bytes,
    )
