"""What fine-tuning for any task shares: a pretrained encoder made ready, and the choice of when to stop."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from celllm.base.errors import InputError
from celllm.bench.method import BenchMethod
from celllm.bench.tokens import TokenSource, token_source
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded
from celllm.model.store import PretrainedEncoder, fresh, load_encoder
from celllm.splits.units import Cells

Mode = Literal["last_layer", "full", "lora", "frozen"]
LEARNING_RATES = (1e-3, 3e-4, 3e-3)
"""Searched by every method that is trained by gradient descent; the first is the released one."""
LAYERS = {"last": -1, "second_last": -2}


def ready_encoder(method: BenchMethod, *, scratch: bool) -> PretrainedEncoder:
    """Load a method's encoder; with `scratch` keep its architecture and gene embedding, but none of its pretraining.

    Raises
    ------
    VocabularyMismatch
        If the encoder was pretrained on other genes than those of the method's cells.
    InputError
        If there is no encoder.
    """
    if method.encoder_file is None:
        raise InputError(
            file="--encoder",
            field="encoder",
            expected="the file of a pretrained encoder",
            found="none",
            remedy="give it: --encoder results/pretrain/<encoder>/seed0/encoder.safetensors",
        )
    pretrained = load_encoder(method.encoder_file, vocabulary=method.vocabulary.digest)
    return fresh(pretrained, method.seed) if scratch else pretrained


def source_of(
    method: BenchMethod, pretrained: PretrainedEncoder, cells: Cells, *, is_frozen: bool = False
) -> TokenSource:
    """Return cells as an encoder reads them: as in pretraining, and where nothing of it is trained as in embedding.

    Raises
    ------
    InputError
        If they are on another gene axis.
    """
    n_genes = pretrained.encoder.n_genes
    if cells.counts.shape[1] != n_genes:
        raise InputError(
            file=method.encoder_file or "--encoder",
            field="vocabulary",
            expected=f"{n_genes} genes, as the encoder has",
            found=f"cells with {cells.counts.shape[1]}",
            remedy="align the cells again: snakemake --forcerun align_cells",
        )
    rule = pretrained.recipe.embedding_tokens if is_frozen else pretrained.recipe.tokens
    return token_source(cells.counts, cells.values, rule=rule, panel=pretrained.panel)


def thaw(encoder: Encoder, *, mode: Mode, layer: str = "last") -> list[nn.Parameter]:
    """Make the weights trainable that `mode` trains, freeze all others, and return the trainable ones.

    `last_layer`: one layer and the final LayerNorm; below the layer torch keeps no graph. `full`: all but
    a gene table that is frozen. `frozen`: none.
    """
    if mode == "last_layer":
        # a model of one layer has no second-last one
        encoder.train_only([max(LAYERS[layer], -len(encoder.layers))])
    elif mode == "full":
        has_learned_genes = encoder.embedding.genes.weight.requires_grad
        encoder.requires_grad_(True)  # noqa: FBT003 - torch's own signature
        encoder.embedding.genes.weight.requires_grad_(has_learned_genes)
    else:
        encoder.requires_grad_(False)  # noqa: FBT003
    encoder.to_expression.requires_grad_(False)  # noqa: FBT003 - predicts masked bins; no task uses it
    return [weight for weight in encoder.parameters() if weight.requires_grad]


def n_frozen_layers(encoder: Encoder, *, mode: Mode, layer: str = "last") -> int | None:
    """Return how many of the lowest layers a fit leaves as they are; None where not even the embedding of tokens is."""
    depth = len(encoder.layers)
    if mode in ("full", "lora"):
        return None
    return depth + max(LAYERS[layer], -depth) if mode == "last_layer" else depth


@contextmanager
def computing(method: BenchMethod, *modules: nn.Module) -> Iterator[torch.device]:
    """Compute on the method's device, with its precision, drawing from its seed; yield the device.

    New weights and dropout are drawn inside, torch's own generators stay as they were. `modules` are moved.
    """
    device = torch.device(method.device)
    for module in modules:
        module.to(device)
    with seeded(method.seed, device), torch.autocast(device.type, torch.bfloat16, enabled=method.is_mixed):
        yield device


def train(
    weights: Sequence[nn.Parameter],
    batches: Callable[[], Iterable[np.ndarray]],
    loss_of: Callable[[np.ndarray], Tensor],
    *,
    modes: Sequence[nn.Module],
    kept: Sequence[nn.Module],
    score: Callable[[], float] | None,
    learning_rate: float,
    schedule: Schedule,
) -> int:
    """Train by Adam without a rate schedule, as in the released fine-tuning, and keep the best check's weights.

    Parameters
    ----------
    weights
        What is trained.
    batches
        The batches of an epoch, drawn anew at each call.
    loss_of
        Loss of a batch.
    modes
        Modules in training mode, with dropout.
    kept
        Modules whose weights are put back to those of the best check.
    score
        Score on the validation subset, larger is better; None: nothing is chosen.
    learning_rate, schedule
        Of Adam; how many batches, and when the validation subset is asked.

    Returns
    -------
    How many batches were learned from.
    """
    # fused, since the heads are wide
    optimiser = torch.optim.Adam(weights, lr=learning_rate, fused=True)
    best = BestCheck(kept, patience=schedule.patience)
    number, start = 0, time.process_time()
    for module in modes:
        module.train()
    endless = itertools.chain.from_iterable(batches() for _ in itertools.repeat(None))
    for number, batch in enumerate(itertools.islice(endless, schedule.n_batches), start=1):
        loss = loss_of(batch)
        check_finite(loss, batch=number)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        is_last = number == schedule.n_batches or time.process_time() - start > schedule.seconds
        is_due = number % schedule.batches_a_check == 0 or is_last
        is_over = is_due and score is not None and best.is_over(score())
        if is_last or is_over:
            break
    best.restore()
    return number


@dataclass(frozen=True)
class Schedule:
    """How long to train: batches, batches from one check to the next, checks without a better score, CPU seconds."""

    n_batches: int
    batches_a_check: int
    patience: int
    seconds: float = math.inf


def schedule_of(method: BenchMethod, unit: Literal["cells", "pairs"], *, n_train: int, n_batches: int) -> Schedule:
    """Return a method's schedule: that of its budget, or so many `epochs` as its options give, a check after each.

    Parameters
    ----------
    method
        With the options `epochs` and `patience`; None: the budget's.
    unit
        What is learned from.
    n_train, n_batches
        Units of the training subset, and batches they make.
    """
    budget, epochs, patience = method.budget, method.options["epochs"], method.options["patience"]
    patience = budget.patience if patience is None else patience
    if epochs is not None:
        return Schedule(epochs * n_batches, n_batches, patience)
    passes = min(budget.epochs, getattr(budget, unit) / n_train)
    n_in_all = max(1, math.ceil(passes * n_batches))
    return Schedule(n_in_all, math.ceil(n_in_all / budget.checks), patience, budget.seconds or math.inf)


class BestCheck:
    """Keeps the weights of the check with the highest validation score, and says when to stop.

    Parameters
    ----------
    modules
        Whose trainable weights and buffers are kept.
    patience
        Checks without a higher score after which training stops.
    """

    def __init__(self, modules: Sequence[nn.Module], *, patience: int) -> None:
        self._modules, self._patience = modules, patience
        self._kept: list[dict[str, Tensor]] | None = None
        self._since = 0
        self.score = -np.inf

    def is_over(self, score: float) -> bool:
        """Note the score of a check; True if training should stop."""
        if score > self.score:
            self.score, self._since = score, 0
            self._kept = [copy.deepcopy(_changing(module)) for module in self._modules]
        else:
            self._since += 1
        return self._since >= self._patience

    def restore(self) -> None:
        """Put the best check's weights back; without a score noted, the last ones stay."""
        if self._kept is None:
            return
        for module, state in zip(self._modules, self._kept, strict=True):
            module.load_state_dict(state, strict=False)


def _changing(module: nn.Module) -> dict[str, Any]:
    frozen = {name for name, weight in module.named_parameters() if not weight.requires_grad}
    return {name: value for name, value in module.state_dict().items() if name not in frozen}


def check_finite(loss: Tensor, *, batch: int) -> None:
    """Stop a fit whose loss is no number any more.

    Raises
    ------
    InputError
        Naming the batch.
    """
    if not torch.isfinite(loss):
        raise InputError(
            file="config/methods.tsv",
            field="options.learning_rate",
            expected="a loss that stays finite",
            found=f"{float(loss)} in batch {batch}",
            remedy="lower learning_rate in the method's options",
        )
