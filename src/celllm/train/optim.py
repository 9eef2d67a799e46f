"""AdamW, and a learning rate that is a function of the step and has no state."""

from __future__ import annotations

import math

import torch
from torch import nn

from celllm.contracts.recipe import OptimiserSettings


def adamw(module: nn.Module, settings: OptimiserSettings) -> torch.optim.AdamW:
    """Return AdamW over a module's trainable parameters; biases and LayerNorms are not decayed."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
    )


def learning_rate(step: int, *, n_steps: int, settings: OptimiserSettings) -> float:
    """Return the learning rate of a step, 1…n_steps: linear warm-up to the peak, then cosine to the final value."""
    n_warmup = math.ceil(settings.warmup_fraction * n_steps)
    if step <= n_warmup:
        return settings.learning_rate * step / n_warmup
    progress = (step - n_warmup) / max(1, n_steps - n_warmup)
    span = settings.learning_rate - settings.final_learning_rate
    return settings.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Give all parameter groups one learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = value
