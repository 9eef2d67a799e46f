"""InfoNCE between two dropout views of the same cells, and how spread out embeddings are (paper section 7).

Shapes: B cells, R of them in a tile, L tokens a cell (CLS first), D width. No B x B matrix is formed: rows of it are
made a tile at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from celllm.corpus.tokens import CLS, PAD

TILE_NUMBERS = 1 << 21
"""Similarities of a tile: 8 MiB in float32, of which two are held at once, three if symmetric."""


def mean_of_genes(hidden_BLD: Tensor, bins_BL: Tensor) -> Tensor:
    """Return the mean hidden state of each cell's genes, B x D: a vector to compare cells by in place of that of CLS.

    CLS is left out, which is no gene and has a vector of its own; so is PAD, so padding changes nothing. Layout `full`:
    silent genes are among the tokens and count. A cell without any gene has zeros.
    """
    is_gene_BL = (bins_BL != CLS) & (bins_BL != PAD)
    n_genes_B = is_gene_BL.sum(dim=1).clamp(min=1)
    # no product with the mask: what stands at PAD means nothing, and 0 times it need not be 0
    genes_BLD = hidden_BLD.masked_fill(~is_gene_BL[:, :, None], 0)
    dtype = torch.float32 if hidden_BLD.dtype in (torch.float16, torch.bfloat16) else hidden_BLD.dtype
    return genes_BLD.sum(dim=1, dtype=dtype) / n_genes_B[:, None]


def info_nce(
    first_BD: Tensor,
    second_BD: Tensor,
    *,
    temperature: float,
    symmetric: bool = False,
    tile_numbers: int = TILE_NUMBERS,
) -> Tensor:
    """Ask of each cell's first view which second view is its own.

    The gradient is made beside the value, tile by tile, so memory grows with B x D and not with B x B.

    Parameters
    ----------
    first_BD, second_BD
        Two embeddings of each cell; row i of both belongs to cell i. All other rows are its negatives.
    temperature
        Divides the cosine similarities.
    symmetric
        Mean of this loss and the same with the views swapped.
    tile_numbers
        Similarities of a tile; it has at least one row of B. It sets memory and no result.

    Returns
    -------
    Mean over cells, in nats; log B for embeddings that tell nothing. It can be differentiated once.

    Notes
    -----
    van den Oord et al. 2018, arXiv:1807.03748; dropout as the two views: Gao et al. 2021, arXiv:2104.08821.
    """
    with torch.autocast(first_BD.device.type, enabled=False):
        return _InfoNCE.apply(_unit(first_BD), _unit(second_BD), temperature, symmetric, tile_numbers)  # type: ignore[no-any-return]


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
        tiles = list(_tiles(n_cells, tile_numbers))
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


def _tiles(n_cells: int, tile_numbers: int) -> Iterator[slice]:
    """Cut the rows of a B x B matrix into runs of at most `tile_numbers` entries."""
    n_rows = max(1, tile_numbers // max(1, n_cells))
    for start in range(0, n_cells, n_rows):
        yield slice(start, min(start + n_rows, n_cells))


def alignment(first_BD: Tensor, second_BD: Tensor) -> float:
    """Return the mean squared distance between two views of a cell on the unit sphere; 0 is perfect."""
    return float((_unit(first_BD) - _unit(second_BD)).square().sum(-1).mean())


def uniformity(z_BD: Tensor) -> float:
    """Return log mean exp(-2 d^2) over pairs of cells on the unit sphere; 0 is collapsed, lower is more even.

    Notes
    -----
    Wang and Isola 2020, arXiv:2005.10242.
    """
    unit_BD = _unit(z_BD)
    n_cells = len(unit_BD)
    total = unit_BD.new_zeros((), dtype=torch.float64)
    for rows in _tiles(n_cells, TILE_NUMBERS):
        terms_RB = (unit_BD[rows] @ unit_BD.t()).sub_(1).mul_(4).exp_()  # d^2 = 2 - 2 cos
        terms_RB.diagonal(rows.start).zero_()
        total += terms_RB.sum(dtype=torch.float64)
    return float((total / (n_cells * (n_cells - 1))).log())


def mean_cosine(z_BD: Tensor) -> float:
    """Return the mean cosine similarity over pairs of cells; near 1 is the anisotropy the paper speaks of."""
    unit_BD = _unit(z_BD).double()
    n_cells = len(unit_BD)
    pairs = unit_BD.sum(0).square().sum() - unit_BD.square().sum()
    return float(pairs / (n_cells * (n_cells - 1)))


def effective_rank(z_BD: Tensor) -> float:
    """Return in how many directions embeddings spread: the exponential of the entropy of their singular values.

    1: all on one line; D: as much in every direction.

    Notes
    -----
    Roy and Vetterli 2007, EUSIPCO 606; of embeddings: Garrido et al. 2023, arXiv:2210.02885.
    """
    wide_BD = z_BD.double()
    values_D = torch.linalg.eigvalsh(wide_BD.t() @ wide_BD).clamp_min(0).sqrt()
    shares_D = values_D / values_D.sum()
    return float(torch.special.entr(shares_D).sum().exp())


def _unit(z_BD: Tensor) -> Tensor:
    if z_BD.dtype in (torch.float16, torch.bfloat16):
        z_BD = z_BD.float()
    return functional.normalize(z_BD, dim=-1)
