"""The three losses of pretraining: InfoNCE between two dropout views, masked bins, tumour or normal (paper section 7).

Shapes: B cells, R of them in a tile, L tokens a cell (CLS first), D width, N hidden tokens, T kinds of token. No B x B
matrix is formed: rows of it are made a tile at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

UNKNOWN = -1
"""Label of a cell of which nobody says whether it is malignant."""
TILE_NUMBERS = 1 << 21
"""Similarities of a tile: 8 MiB in float32, of which two are held at once, three if symmetric."""


def info_nce(
    first_BD: Tensor,
    second_BD: Tensor,
    *,
    temperature: float,
    symmetric: bool = False,
    tile_numbers: int = TILE_NUMBERS,
) -> Tensor:
    """Ask of each cell's first view which second view is its own.

    Row i of both belongs to cell i, and all other rows are its negatives. `symmetric`: mean of this loss and the same
    with the views swapped. Returns the mean over cells, in nats; log B for embeddings that tell nothing.

    The gradient is made beside the value, tile by tile, so memory grows with B x D and not with B x B; it can be
    differentiated once. `tile_numbers` similarities of a tile, at least one row of B, set memory and no result.

    van den Oord et al. 2018, arXiv:1807.03748; dropout as the two views: Gao et al. 2021, arXiv:2104.08821.
    """
    with torch.autocast(first_BD.device.type, enabled=False):
        return _InfoNCE.apply(unit(first_BD), unit(second_BD), temperature, symmetric, tile_numbers)  # type: ignore[no-any-return]


class _InfoNCE(torch.autograd.Function):
    """Cross-entropy of u_B . w_B' / temperature against the diagonal, for unit vectors u and w."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        u_BD: Tensor,
        w_BD: Tensor,
        temperature: float,
        symmetric: bool,  # noqa: FBT001 - autograd functions take no keywords
        tile_numbers: int,
    ) -> Tensor:
        n_cells = len(u_BD)
        tiles = list(tiles_of(n_cells, tile_numbers))
        own_B = (u_BD * w_BD).sum(-1) / temperature
        needs_gradient = any(ctx.needs_input_grad[:2])
        weight = 1 / (n_cells * (2 if symmetric else 1))
        of_columns_B = _log_sums_of_columns(u_BD, w_BD, temperature, tiles) if symmetric else None
        total = own_B.new_zeros(())
        du_BD, dw_BD = (torch.zeros_like(u_BD), torch.zeros_like(w_BD)) if needs_gradient else (u_BD, w_BD)
        for rows in tiles:
            logits_RB = (u_BD[rows] @ w_BD.t()).div_(temperature)
            of_rows_R = logits_RB.logsumexp(dim=1)
            total += (of_rows_R - own_B[rows]).sum()
            if not needs_gradient:
                continue
            if of_columns_B is None:
                shares_RB = logits_RB.sub_(of_rows_R[:, None]).exp_()
            else:
                shares_RB = (logits_RB - of_rows_R[:, None]).exp_()
                shares_RB += logits_RB.sub_(of_columns_B).exp_()
            shares_RB.mul_(weight / temperature)
            du_BD[rows] = shares_RB @ w_BD
            dw_BD.addmm_(shares_RB.t(), u_BD[rows])
        if of_columns_B is not None:
            total += (of_columns_B - own_B).sum()
        if needs_gradient:
            pull = weight / temperature * (2 if symmetric else 1)
            ctx.save_for_backward(du_BD.sub_(w_BD, alpha=pull), dw_BD.sub_(u_BD, alpha=pull))
        return total * weight

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # noqa: ANN401
        du_BD, dw_BD = ctx.saved_tensors
        return du_BD * gradient, dw_BD * gradient, None, None, None


def _log_sums_of_columns(u_BD: Tensor, w_BD: Tensor, temperature: float, tiles: list[slice]) -> Tensor:
    sums_B = u_BD.new_full((len(w_BD),), -torch.inf)
    for rows in tiles:
        logits_RB = (u_BD[rows] @ w_BD.t()).div_(temperature)
        sums_B = torch.logaddexp(sums_B, logits_RB.logsumexp(dim=0))
    return sums_B


def tiles_of(n_cells: int, tile_numbers: int) -> Iterator[slice]:
    """Cut the rows of a B x B matrix into runs of at most `tile_numbers` entries."""
    n_rows = max(1, tile_numbers // max(1, n_cells))
    for start in range(0, n_cells, n_rows):
        yield slice(start, min(start + n_rows, n_cells))


def unit(z_BD: Tensor) -> Tensor:
    """Return vectors of length 1, in float32 at least."""
    return functional.normalize(_at_least_float32(z_BD), dim=-1)


@dataclass(frozen=True)
class LossSum:
    """Sums over the predictions of a chunk, so that chunks of any size add up to the batch."""

    loss_sum: Tensor
    """Cross-entropy in nats, with its graph; 0 where nothing is predicted."""
    n: int
    n_correct: int


def masked_loss(logits_NT: Tensor, targets_N: Tensor) -> LossSum:
    """Score predictions of bins; in float32 at least."""
    logits_NT = _at_least_float32(logits_NT)
    loss_sum = functional.cross_entropy(logits_NT, targets_N, reduction="sum")
    return LossSum(loss_sum, len(targets_N), int((logits_NT.detach().argmax(dim=-1) == targets_N).sum()))


def malignancy_loss(logits_B: Tensor, is_malignant_B: Tensor) -> LossSum:
    """Score the logits of "tumour" by the binary cross-entropy of the labelled cells; in float32 at least.

    `is_malignant_B`: 1 tumour, 0 normal, -1 unknown and ignored.
    """
    is_known_B = is_malignant_B != UNKNOWN
    logits, truth = _at_least_float32(logits_B)[is_known_B], is_malignant_B[is_known_B]
    loss_sum = functional.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="sum")
    return LossSum(loss_sum, len(truth), int(((logits.detach() > 0) == (truth == 1)).sum()))


def majority_accuracy(truth: Tensor) -> float:
    """Return the accuracy of always saying the commonest class, unknown ones left out: what has to be beaten."""
    known = truth[truth != UNKNOWN]
    return float(torch.bincount(known).max() / len(known)) if len(known) else float("nan")


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
