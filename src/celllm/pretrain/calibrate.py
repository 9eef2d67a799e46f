"""How fast the device at hand takes a recipe's steps, from some that are large enough to be timed.

Shapes: B cells.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from celllm.config.recipe import Recipe
from celllm.pretrain import optim
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.drawn import drawn_batch, drawn_module
from celllm.pretrain.footprint import precision_context
from celllm.pretrain.operations import Work, loss_work, shapes_of, step_work
from celllm.pretrain.step import StepLoss

Clock = Callable[[], float]
FEWEST_CHUNKS = 3
"""Of a timed step; one chunk alone would be encoded less often than those of a whole step."""
FEWEST_STEPS, MOST_STEPS, MOST_TRIES = 2, 9, 3
SMALLEST = 64
"""Tokens of a cell, where longer ones do not fit into the time."""


class Calibration(NamedTuple):
    """What was timed, and what follows from it."""

    seconds_per_operation: float
    """Of encoding, the median over steps; all operations alike, whatever their precision."""
    optimiser_seconds: float
    """Clipping and AdamW, once a step; the median."""
    n_cells: int
    """Of each timed step."""
    chunk_tokens: int
    """Its budget."""
    n_tokens: int
    """Tokens of a step, padding included and each counted once."""
    n_steps: int
    device: str
    threads: int

    def step_seconds(self, work: Work) -> float:
        """Return the time of a step with so many operations."""
        return work.total * self.seconds_per_operation + self.optimiser_seconds


def calibrate(
    recipe: Recipe,
    lengths_B: NDArray[np.int64],
    targets_B: NDArray[np.int64],
    *,
    n_genes: int,
    seconds: float,
    device: torch.device,
    clock: Clock = time.perf_counter,
) -> Calibration:
    """Time steps with all losses of the recipe, over ever more cells until they fill the time.

    Parameters
    ----------
    recipe
        What is trained.
    lengths_B, targets_B
        Tokens of the cells of one batch, and how many of each are hidden; as many cells are taken as fit the time. If
        not even two do, their tokens are cut.
    n_genes
        Size of the vocabulary.
    seconds
        What it may take, about; two steps are timed in any case.
    device
        What is timed.
    clock
        Where it reads the time; `time.process_time` for a machine that others use as well.
    """
    timed = _Timed(recipe, n_genes, device, clock)
    started = timed.now()
    lengths, targets = _first(lengths_B, targets_B, 2, longest=SMALLEST)
    timed.step(lengths, targets)  # the first of all takes longer
    rate = timed.step(lengths, targets)
    per_step = max(0.0, seconds - (timed.now() - started)) / (FEWEST_STEPS + 1)
    for _ in range(MOST_TRIES):  # a rate found with little work is too low, so more may fit than it says
        before = step_operations(recipe, lengths, targets)
        lengths, targets = _fitting(recipe, lengths_B, targets_B, most=per_step / rate)
        is_much_more = step_operations(recipe, lengths, targets) > 1.3 * before
        if not is_much_more or timed.now() - started > seconds / 2:
            break
        rate = timed.step(lengths, targets)
    rates: list[float] = []
    timed.optimiser_seconds.clear()
    while len(rates) < MOST_STEPS and (len(rates) < FEWEST_STEPS or timed.now() - started < seconds):
        rates.append(timed.step(lengths, targets))
    budget = _budget(recipe, lengths)
    shapes = shapes_of(lengths, targets, by_tokens(lengths, budget))
    return Calibration(
        seconds_per_operation=float(np.median(rates)),
        optimiser_seconds=float(np.median(timed.optimiser_seconds)),
        n_cells=len(lengths),
        chunk_tokens=budget,
        n_tokens=sum(shape.tokens for shape in shapes),
        n_steps=len(rates),
        device=str(device),
        threads=torch.get_num_threads(),
    )


class _Timed:
    """Takes steps of drawn cells and times them."""

    def __init__(self, recipe: Recipe, n_genes: int, device: torch.device, clock: Clock) -> None:
        self._recipe, self._n_genes, self._device, self._clock = recipe, n_genes, device, clock
        self._module = drawn_module(recipe, n_genes, device=device)
        self._optimiser = optim.optimiser_of(self._module, recipe.optimiser)
        self.optimiser_seconds: list[float] = []

    def now(self) -> float:
        """Return the time when all work asked for is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()

    def step(self, lengths_B: NDArray[np.int64], targets_B: NDArray[np.int64]) -> float:
        """Take one step; return the seconds an operation."""
        recipe = self._recipe
        batch = drawn_batch(lengths_B, targets_B, n_genes=self._n_genes, device=self._device)
        step_loss = StepLoss(
            self._module,
            recipe.objectives,
            max_tokens=_budget(recipe, lengths_B),
            autocast=lambda: precision_context(recipe, self._device),
        )
        self._optimiser.zero_grad(set_to_none=True)
        started = self.now()
        step_loss.accumulate(batch, health=False)
        encoded = self.now()
        trained = [p for group in self._optimiser.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, recipe.optimiser.clip_norm)
        self._optimiser.step()
        self.optimiser_seconds.append(self.now() - encoded)
        return (encoded - started) / step_operations(recipe, lengths_B, targets_B)


def step_operations(recipe: Recipe, lengths_B: NDArray[np.int64], targets_B: NDArray[np.int64]) -> int:
    """Count the operations of a timed step."""
    shapes = shapes_of(lengths_B, targets_B, by_tokens(lengths_B, _budget(recipe, lengths_B)))
    work = step_work(recipe.encoder, recipe.objectives, shapes)
    return work.plus(loss_work(recipe.encoder, recipe.objectives, len(lengths_B))).total


def _budget(recipe: Recipe, lengths_B: NDArray[np.int64]) -> int:
    """Return the recipe's budget, or a smaller one that cuts the cells into a few chunks."""
    return max(1, min(recipe.training.chunk_tokens, int(lengths_B.sum()) // FEWEST_CHUNKS))


def _first(
    lengths_B: NDArray[np.int64], targets_B: NDArray[np.int64], n_cells: int, *, longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first cells with at most `longest` tokens each, and their share of the hidden ones."""
    lengths = np.minimum(lengths_B[:n_cells], longest)
    return lengths, np.minimum(targets_B[:n_cells] * lengths // np.maximum(lengths_B[:n_cells], 1), lengths - 1)


def _fitting(
    recipe: Recipe, lengths_B: NDArray[np.int64], targets_B: NDArray[np.int64], *, most: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return as many cells as take at most so many operations; if not even two do, shorter ones."""
    low, high = 2, len(lengths_B)
    longest = int(lengths_B.max())
    while low < high:
        middle = (low + high + 1) // 2
        if step_operations(recipe, *_first(lengths_B, targets_B, middle, longest=longest)) <= most:
            low = middle
        else:
            high = middle - 1
    while longest > SMALLEST and step_operations(recipe, *_first(lengths_B, targets_B, low, longest=longest)) > most:
        longest = max(SMALLEST, longest * 3 // 4)
    return _first(lengths_B, targets_B, low, longest=longest)
