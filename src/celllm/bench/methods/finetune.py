"""What fine-tuning for any task shares: a pretrained encoder made ready, and the choice of when to stop."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from celllm.base.errors import InputError
from celllm.bench.method import METHODS, BenchMethod
from celllm.bench.methods.frozen import FrozenLayers, kept_of
from celllm.config.recipe_encoder import TokenSettings
from celllm.config.units import Units
from celllm.model.encoder import Encoder
from celllm.model.lora import add_low_rank
from celllm.model.randomness import seeded
from celllm.model.store import PretrainedEncoder, fresh, load_encoder

LEARNING_RATES = (1e-3, 3e-4, 3e-3)
"""Searched by every method that is trained by gradient descent; the first is the released one."""
LAYERS = {"last": -1, "second_last": -2}


def ready_encoder(method: BenchMethod) -> PretrainedEncoder:
    """Load a method's encoder; with the option `scratch` keep its architecture and gene embedding alone.

    VocabularyMismatch if the encoder was pretrained on other genes than those of the method's cells. InputError if
    there is no encoder.
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
    return fresh(pretrained, method.seed) if method.options["scratch"] else pretrained


def thaw(encoder: Encoder, options: Mapping[str, Any]) -> None:
    """Make the weights trainable that the option `mode` trains, and freeze all others.

    `last_layer`, also without the option: one layer, that of the option `layer`, and the final LayerNorm; below the
    layer torch keeps no graph. `full`: all but a gene table that is frozen. `lora`: low-rank updates, added here.
    """
    mode = options.get("mode", "last_layer")
    if mode == "last_layer":
        # a model of one layer has no second-last one
        encoder.train_only([max(LAYERS[options["layer"]], -len(encoder.layers))])
    elif mode == "lora":
        add_low_rank(encoder, rank=options["rank"], alpha=options["alpha"])
    else:
        has_learned_genes = encoder.embedding.genes.weight.requires_grad
        encoder.requires_grad_()
        encoder.embedding.genes.weight.requires_grad_(has_learned_genes)
    encoder.to_expression.requires_grad_(False)  # noqa: FBT003 - predicts masked bins; no task uses it


def layers_of(
    method: BenchMethod, pretrained: PretrainedEncoder, values: sparse.csr_matrix, units: Units
) -> FrozenLayers:
    """Return what runs a method's encoder on cells x genes; what its frozen layers say is kept for the whole job."""
    is_last = method.options.get("mode", "last_layer") == "last_layer"
    # None: not even the embedding of tokens stays as it is
    n_frozen = max(0, len(pretrained.encoder.layers) + LAYERS[method.options["layer"]]) if is_last else None
    rule = rule_of(pretrained, method.options)
    kept = kept_of(method, pretrained, values, units, rule=rule, what=n_frozen)
    return FrozenLayers(kept, pretrained.encoder, n_frozen=n_frozen)


def rule_of(pretrained: PretrainedEncoder, options: Mapping[str, Any]) -> TokenSettings:
    """Return how cells become tokens: as in pretraining, without attention as in embedding; or by `truncation`."""
    recipe, truncation = pretrained.recipe, options.get("truncation")
    rule = recipe.embedding_tokens if recipe.encoder.attention == "none" else recipe.tokens
    return rule if truncation is None else rule.model_copy(update={"truncation": truncation})


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


@dataclass(frozen=True)
class Lesson:
    """What is learned from: `n_train` units of a kind, as `n_batches` batches an epoch, drawn anew at each call."""

    unit: Literal["cells", "pairs"]
    n_train: int
    n_batches: int
    batches: Callable[[], Iterable[np.ndarray]]


def train(
    method: BenchMethod,
    lesson: Lesson,
    loss_of: Callable[[np.ndarray], Tensor],
    *,
    encoders: Sequence[nn.Module] = (),
    heads: Sequence[nn.Module],
    score: Callable[[], float] | None,
) -> None:
    """Train by Adam without a rate schedule, as in the released fine-tuning, and keep the best check's weights.

    The method is told how many weights were trained and how many units were shown. `loss_of` is of a batch. Weights of
    `encoders` and `heads` are trained where they are not frozen; in the heads dropout is on. `score` is that on the
    validation subset, larger is better; None: nothing is chosen. InputError if the loss is no number any more.
    """
    modules = [*encoders, *heads]
    weights = [weight for module in modules for weight in module.parameters() if weight.requires_grad]
    method.trained_parameters = sum(weight.numel() for weight in weights)
    schedule = schedule_of(method, lesson)
    # fused, since the heads are wide
    optimiser = torch.optim.Adam(weights, lr=method.options["learning_rate"], fused=True)
    n_since, number = 0, 0
    # where it starts is a candidate too, so that a fit that only loses leaves the weights as they were
    best, kept = (-math.inf, []) if score is None else (score(), _state_of(modules))
    for head in heads:
        head.train()
    endless = itertools.chain.from_iterable(lesson.batches() for _ in itertools.repeat(None))
    for number, batch in enumerate(itertools.islice(endless, schedule.n_batches), start=1):
        loss = loss_of(batch)
        if not torch.isfinite(loss):
            raise InputError(
                file=METHODS,
                field="options.learning_rate",
                expected="a loss that stays finite",
                found=f"{float(loss.detach())} in batch {number}",
                remedy="lower learning_rate in the method's options",
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        is_last = number == schedule.n_batches
        is_due = number % schedule.batches_a_check == 0 or is_last
        if is_due and score is not None:
            n_since += 1
            if (value := score()) > best:
                best, n_since, kept = value, 0, _state_of(modules)
            is_last |= n_since >= schedule.patience
        if is_last:
            break
    for module, state in zip(modules, kept, strict=False):  # without a check the last weights stay
        module.load_state_dict(state, strict=False)
    method.shown_units = round(number / lesson.n_batches * lesson.n_train)


@dataclass(frozen=True)
class Schedule:
    """How long to train: batches, batches from one check to the next, checks without a better score."""

    n_batches: int
    batches_a_check: int
    patience: int


def schedule_of(method: BenchMethod, lesson: Lesson) -> Schedule:
    """Return a method's schedule: that of its budget, or its own `epochs`, a check after each; `patience` likewise."""
    budget, epochs, patience = method.budget, method.options["epochs"], method.options["patience"]
    patience = budget.patience if patience is None else patience
    if epochs is not None:
        return Schedule(epochs * lesson.n_batches, lesson.n_batches, patience)
    passes = min(budget.epochs, getattr(budget, lesson.unit) / lesson.n_train)
    n_in_all = max(1, math.ceil(passes * lesson.n_batches))
    return Schedule(n_in_all, math.ceil(n_in_all / budget.checks), patience)


def _state_of(modules: Sequence[nn.Module]) -> list[dict[str, Any]]:
    """Copy what training changes of each module."""
    frozen = [{name for name, weight in one.named_parameters() if not weight.requires_grad} for one in modules]
    return [
        copy.deepcopy({name: value for name, value in one.state_dict().items() if name not in names})
        for one, names in zip(modules, frozen, strict=True)
    ]
