"""What the losses of pretraining reach without looking at a single gene: by sequencing depth alone.

Shapes: B cells, N tokens of all of them, T bins, F numbers about depth, R random features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celllm.corpus.tokens import CLS, N_BINS
from celllm.pretrain.batch import StepBatch
from celllm.pretrain.losses import info_nce
from celllm.pretrain.views import BIN, IS_HIDDEN, IS_TARGET

N_COSINES = 256
"""Random features of the numbers about depth."""
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 32.0)
"""Scales at which cells are told apart by these numbers; the best of them counts."""


def visible_bins(batch: StepBatch) -> NDArray[np.int64]:
    """Count the bins that each cell shows, B x T; silent genes of layout `full` are none."""
    bins_N = batch.tokens_N & BIN
    is_shown_N = ((batch.tokens_N & IS_HIDDEN) == 0) & (bins_N != CLS)
    cell_N = np.repeat(np.arange(len(batch)), batch.lengths_B)
    counts = np.bincount(cell_N[is_shown_N] * N_BINS + bins_N[is_shown_N], minlength=len(batch) * N_BINS)
    counts_BT = counts.reshape(len(batch), N_BINS)
    if batch.is_zero_silent:
        counts_BT[:, 0] = 0
    return counts_BT


def cell_mode(batch: StepBatch) -> tuple[int, int]:
    """Return the number of hidden targets, and how many of them are the commonest bin that their cell shows."""
    mode_B = visible_bins(batch).argmax(axis=1)
    is_hidden_N = (batch.tokens_N & (IS_TARGET | IS_HIDDEN)) == (IS_TARGET | IS_HIDDEN)
    cell_N = np.repeat(np.arange(len(batch)), batch.lengths_B)[is_hidden_N]
    return int(is_hidden_N.sum()), int(((batch.tokens_N[is_hidden_N] & BIN) == mode_B[cell_N]).sum())


def depth_numbers(batch: StepBatch) -> Tensor:
    """Return what a view tells of a cell's depth, B x F: logarithms of molecules and genes, shares of the bins."""
    counts_BT = visible_bins(batch)
    n_shown_B = np.maximum(counts_BT.sum(axis=1, keepdims=True), 1)
    numbers = [np.log(batch.lengths_B)[:, None], counts_BT / n_shown_B]
    if batch.log_total_B is not None:
        numbers.append(batch.log_total_B[:, None].astype(np.float64))
    return torch.from_numpy(np.concatenate(numbers, axis=1))


def depth_loss(first_BF: Tensor, second_BF: Tensor, *, temperature: float, symmetric: bool) -> float:
    """Return InfoNCE of views of which nothing but their depth is known.

    The numbers are standardised over the batch and compared through random cosines (Rahimi and Recht 2007), whose
    inner product is a Gaussian kernel; the same cosines in every step.
    """
    mean_F, scale_F = first_BF.mean(dim=0), first_BF.std(dim=0, correction=0).clamp_min(1e-9)
    generator = torch.Generator().manual_seed(0)
    weights_FR = torch.randn(first_BF.shape[1], N_COSINES, generator=generator, dtype=first_BF.dtype)
    shift_R = 2 * torch.pi * torch.rand(N_COSINES, generator=generator, dtype=first_BF.dtype)
    weights_FR, shift_R = weights_FR.to(first_BF.device), shift_R.to(first_BF.device)

    def features(numbers_BF: Tensor, width: float) -> Tensor:
        return torch.cos(((numbers_BF - mean_F) / scale_F) @ (weights_FR / width) + shift_R)

    found = []
    for width in WIDTHS:
        views = features(first_BF, width), features(second_BF, width)
        found.append(float(info_nce(*views, temperature=temperature, symmetric=symmetric)))
    return min(found)
