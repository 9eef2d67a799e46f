"""Adam in both its forms, and a learning rate that is a function of the step and has no state."""

from __future__ import annotations

import math

import torch
from torch import nn

from celllm.config.recipe import OptimiserSettings

GENE_EMBEDDING = "embedding.genes.weight"


def optimiser_of(module: nn.Module, settings: OptimiserSettings) -> torch.optim.Adam:
    """Return AdamW, or Adam where the recipe says so, over a module's trainable parameters.

    Biases and LayerNorms are not decayed. A gene embedding with a learning rate of its own is a group that keeps its
    ratio to the others, as `share`.
    """
    trained: list[nn.Parameter] = []
    genes: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_apart = settings.gene_learning_rate is not None and name.endswith(GENE_EMBEDDING)
            (genes if is_apart else trained).append(parameter)
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.gene_learning_rate is not None and genes:
        share = settings.gene_learning_rate / settings.learning_rate
        groups.append({"params": genes, "weight_decay": settings.weight_decay, "share": share})
    kind: type[torch.optim.Adam] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.name]
    return kind(groups, lr=settings.learning_rate, betas=settings.betas)


def learning_rate(step: int, *, n_steps: int, settings: OptimiserSettings) -> float:
    """Return the learning rate of a step, 1…n_steps, by the schedule of the recipe."""
    if settings.schedule == "cosine_restarts":
        return _with_restarts(step, settings)
    n_warmup = math.ceil(settings.warmup_fraction * n_steps)
    if step <= n_warmup:
        return settings.learning_rate * step / n_warmup
    progress = (step - n_warmup) / max(1, n_steps - n_warmup)
    return _between(settings.final_learning_rate, settings.learning_rate, progress)


def _with_restarts(step: int, settings: OptimiserSettings) -> float:
    """Cycles of a linear rise from the lowest rate to the cycle's peak, and a cosine back; the peaks sink.

    scBERT's schedule (Yang et al. 2022, Nat Mach Intell 4:852), which moves once an epoch: `restarts.epoch_steps` steps
    have the same rate. Warm-up is part of each cycle, and only the rest of it grows: 15, 25, 45, 85… epochs.
    """
    restarts = settings.restarts
    epoch = (step - 1) // restarts.epoch_steps
    cycle, length = 0, restarts.first_cycle
    while epoch >= length:
        epoch -= length
        length = int((length - restarts.warmup) * restarts.cycle_factor) + restarts.warmup
        cycle += 1
    peak = settings.learning_rate * restarts.peak_factor**cycle
    if epoch < restarts.warmup:
        return settings.final_learning_rate + (peak - settings.final_learning_rate) * epoch / restarts.warmup
    return _between(settings.final_learning_rate, peak, (epoch - restarts.warmup) / (length - restarts.warmup))


def _between(low: float, high: float, progress: float) -> float:
    """Return a point of the half cosine that falls from `high` at progress 0 to `low` at 1."""
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Give all parameter groups this learning rate, or their share of it."""
    for group in optimiser.param_groups:
        group["lr"] = value * group.get("share", 1.0)
