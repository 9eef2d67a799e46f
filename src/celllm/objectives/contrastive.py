"""InfoNCE between two dropout views of the same cells, and how spread out embeddings are (paper section 7).

Shapes: B cells, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(first_BD: Tensor, second_BD: Tensor, *, temperature: float, symmetric: bool = False) -> Tensor:
    """Ask of each cell's first view which second view is its own.

    Parameters
    ----------
    first_BD, second_BD
        Two embeddings of each cell; row i of both belongs to cell i. All other rows are its negatives.
    temperature
        Divides the cosine similarities.
    symmetric
        Mean of this loss and the same with the views swapped.

    Returns
    -------
    Mean over cells, in nats; log B for embeddings that tell nothing.

    Notes
    -----
    van den Oord et al. 2018, arXiv:1807.03748; dropout as the two views: Gao et al. 2021, arXiv:2104.08821.
    """
    with torch.autocast(first_BD.device.type, enabled=False):
        cosines_BB = _unit(first_BD) @ _unit(second_BD).t()
        logits_BB = cosines_BB / temperature
        own_B = torch.arange(len(logits_BB), device=logits_BB.device)
        loss = functional.cross_entropy(logits_BB, own_B)
        if symmetric:
            loss = 0.5 * (loss + functional.cross_entropy(logits_BB.t(), own_B))
    return loss


def alignment(first_BD: Tensor, second_BD: Tensor) -> float:
    """Return the mean squared distance between two views of a cell on the unit sphere; 0 is perfect."""
    return float((_unit(first_BD) - _unit(second_BD)).square().sum(-1).mean())


def uniformity(z_BD: Tensor) -> float:
    """Return log mean exp(-2 d^2) over pairs of cells on the unit sphere; 0 is collapsed, lower is more even.

    Notes
    -----
    Wang and Isola 2020, arXiv:2005.10242.
    """
    cosines = _pairwise_cosines(z_BD)
    return float((4 * cosines - 4).exp().mean().log())  # d^2 = 2 - 2 cos


def mean_cosine(z_BD: Tensor) -> float:
    """Return the mean cosine similarity over pairs of cells; near 1 is the anisotropy the paper speaks of."""
    return float(_pairwise_cosines(z_BD).mean())


def _pairwise_cosines(z_BD: Tensor) -> Tensor:
    unit_BD = _unit(z_BD)
    above = torch.triu_indices(len(unit_BD), len(unit_BD), offset=1, device=unit_BD.device)
    return (unit_BD @ unit_BD.t())[above[0], above[1]]


def _unit(z_BD: Tensor) -> Tensor:
    if z_BD.dtype in (torch.float16, torch.bfloat16):
        z_BD = z_BD.float()
    return functional.normalize(z_BD, dim=-1)
