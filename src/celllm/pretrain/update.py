"""One optimiser step: its gradient within memory, looked at before it moves anything."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from celllm.config.recipe import Recipe
from celllm.corpus.loader import Batch
from celllm.model.randomness import Purpose, seeded, stream_seed
from celllm.pretrain.batch import StepBatch
from celllm.pretrain.chunks import NonFiniteError
from celllm.pretrain.monitor import Monitor
from celllm.pretrain.step import StepLoss
from celllm.pretrain.stopping import (
    DivergedError,
    OutOfMemory,
    WrongGradientError,
    is_out_of_memory,
    tolerances,
)


class Update:
    """Takes optimiser steps, with the recipe's `chunk_tokens` and `keep_tokens`, or less where memory asks for it."""

    def __init__(
        self, step_loss: StepLoss, optimiser: torch.optim.Optimizer, recipe: Recipe, *, seed: int, fabric: Fabric
    ) -> None:
        self._step_loss, self._optimiser, self._recipe, self._seed = step_loss, optimiser, recipe, seed
        self._fabric = fabric
        self.encode_at_once(recipe.training.chunk_tokens)

    def encode_at_once(self, chunk_tokens: int) -> None:
        """Encode so many tokens at once; below what the recipe asks for no graphs are kept beside them."""
        settings = self._recipe.training
        self._step_loss.max_tokens = chunk_tokens
        self._step_loss.keep_tokens = settings.keep_tokens if chunk_tokens == settings.chunk_tokens else 0

    def take(
        self,
        drawn: Batch[StepBatch],
        step: int,
        monitors: Sequence[Monitor],
        *,
        names: Callable[[NDArray[np.int64]], list[str]],
    ) -> dict[str, float | None]:
        """Take the step; if it does not fit into memory, halve what is encoded at once and take it again.

        `names` tells the ids of cells by their numbers in the sampler.
        """
        while True:
            try:
                return self._optimised(drawn, step, names)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                cause = str(error).partition("\n")[0]
            self._halve(step, cause, monitors)  # out of the handler, whose traceback holds the step's graph

    def _halve(self, step: int, cause: str, monitors: Sequence[Monitor]) -> None:
        """Halve what is encoded at once, if that was not done before and there is one rank."""
        self._optimiser.zero_grad(set_to_none=True)
        tokens, asked = self._step_loss.max_tokens, self._recipe.training.chunk_tokens
        if self._step_loss.ranks.n_ranks > 1 or tokens < asked or asked < 2:
            raise OutOfMemory(step, tokens, cause)
        gc.collect()
        if self._fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        self.encode_at_once(asked // 2)
        for monitor in monitors:
            monitor.say(f"step {step} does not fit into memory ({cause}): chunk_tokens is {asked // 2} from now on")

    def _optimised(
        self, drawn: Batch[StepBatch], step: int, names: Callable[[NDArray[np.int64]], list[str]]
    ) -> dict[str, float | None]:
        """Take the step, unless something is not finite, or the gradient is wrong."""
        settings = self._recipe.training
        self._optimiser.zero_grad(set_to_none=True)
        is_checked = settings.check_every is not None and step % settings.check_every == 0
        is_looked_at = step % settings.health_every == 0
        rank = self._fabric.global_rank
        try:
            with seeded(stream_seed(self._seed, step, Purpose.DROPOUT, rank=rank), self._fabric.device):
                loss, figures = self._step_loss.accumulate(drawn.cells, check=is_checked, health=is_looked_at)
        except NonFiniteError as error:
            cells = [] if error.rows is None else names(drawn.indices[error.rows])
            raise DivergedError.at(step, str(error.what), chunk=error.chunk, cells=cells) from None
        self._refuse_wrong(step, figures)
        trained = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(trained, self._recipe.optimiser.clip_norm)
        for name, value in (("loss", loss), ("norm of the gradient", norm)):
            if not torch.isfinite(value):
                raise DivergedError.at(step, f"the {name}")
        self._optimiser.step()
        return figures | {"gradient_norm": float(norm)}

    def _refuse_wrong(self, step: int, figures: dict[str, float | None]) -> None:
        """Raise on every rank if the passes, or the gradients of a check, are further apart than rounding explains."""
        settings, ranks = self._recipe.training, self._step_loss.ranks
        for name, tolerance in tolerances(settings.precision, self._fabric.device).items():
            found = figures[name] or 0.0
            if ranks.any(found > tolerance, self._fabric.device):
                raise WrongGradientError(step, name, found, tolerance)
