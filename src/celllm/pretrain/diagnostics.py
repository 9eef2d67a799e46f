"""Embedding diagnostics: how spread out embeddings are.

Shapes: B cells, D width. No B x B matrix is formed: rows of it are made a tile at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from celllm.pretrain.losses import TILE_NUMBERS, tiles_of, unit


def alignment(first_BD: Tensor, second_BD: Tensor) -> float:
    """Return the mean squared distance between two views of a cell on the unit sphere; 0 is perfect."""
    return float((unit(first_BD) - unit(second_BD)).square().sum(-1).mean())


def uniformity(z_BD: Tensor) -> float:
    """Return log mean exp(-2 d^2) over pairs of cells on the unit sphere; 0 is collapsed, lower is more even.

    Wang and Isola 2020, arXiv:2005.10242.
    """
    unit_BD = unit(z_BD)
    n_cells = len(unit_BD)
    total = unit_BD.new_zeros((), dtype=torch.float64)
    for rows in tiles_of(n_cells, TILE_NUMBERS):
        terms_RB = (unit_BD[rows] @ unit_BD.t()).sub_(1).mul_(4).exp_()  # d^2 = 2 - 2 cos
        terms_RB.diagonal(rows.start).zero_()
        total += terms_RB.sum(dtype=torch.float64)
    return float((total / (n_cells * (n_cells - 1))).log())


def mean_cosine(z_BD: Tensor) -> float:
    """Return the mean cosine similarity over pairs of cells; near 1 is the anisotropy the paper speaks of."""
    unit_BD = unit(z_BD).double()
    n_cells = len(unit_BD)
    pairs = unit_BD.sum(0).square().sum() - unit_BD.square().sum()
    return float(pairs / (n_cells * (n_cells - 1)))


def effective_rank(z_BD: Tensor) -> float:
    """Return in how many directions embeddings spread: the exponential of the entropy of their singular values.

    1: all on one line; D: as much in every direction.

    Roy and Vetterli 2007, EUSIPCO 606; of embeddings: Garrido et al. 2023, arXiv:2210.02885.
    """
    wide_BD = z_BD.double()
    values_D = torch.linalg.eigvalsh(wide_BD.t() @ wide_BD).clamp_min(0).sqrt()
    shares_D = values_D / values_D.sum()
    return float(torch.special.entr(shares_D).sum().exp())
