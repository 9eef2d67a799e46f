"""The authors' encoder as they released it, defects included, so that their checkpoints mean what they meant.

Only where the numbers come out differently from ours is there anything here: the attention, its random features, and
what becomes of padding. Embedding, feed-forward, norms and the order of layers are the same in both.

Shapes: B cells, L tokens a cell, Q queries, H heads, E width of one head, M random features, D width of the encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from celllm.corpus.tokens import PAD

EPSILON = 1e-4  # inside each feature; OpenBioMed, performer_celllm.py


def released_attention(
    q_BHQE: Tensor,
    k_BHLE: Tensor,
    v_BHLE: Tensor,
    features_ME: Tensor,
    is_pad_BL: Tensor | None = None,
) -> Tensor:
    """Attend with positive random features, and let a cell depend on its padding and the rest of its batch.

    Three things differ from `favor_attention`. Padding hides a key's value but not the key, which stays in the
    denominator: the more padding, the smaller the result. The keys are stabilised by one maximum over the whole batch,
    padding included; it would cancel, were it not for the epsilon in each feature. And no maximum is a constant to the
    gradient, which passes through it to one element.

    Arguments and result as of `favor_attention`; a query at a padded place gets a result like any other.

    PharMolix/OpenBioMed, open_biomed/models/cell/performer_celllm.py: softmax_kernel, linear_attention, SelfAttention.
    scBERT's performer_pytorch.py does the same.
    """
    scale = k_BHLE.shape[-1] ** -0.25
    projected_k_BHLM = (scale * k_BHLE) @ features_ME.t()
    projected_q_BHQM = (scale * q_BHQE) @ features_ME.t()
    phi_k_BHLM = _kernel(k_BHLE, projected_k_BHLM, projected_k_BHLM.max())
    phi_q_BHQM = _kernel(q_BHQE, projected_q_BHQM, projected_q_BHQM.max(dim=-1, keepdim=True).values)
    if is_pad_BL is not None:
        v_BHLE = v_BHLE.masked_fill(is_pad_BL[:, None, :, None], 0.0)
    memory_BHME = phi_k_BHLM.transpose(-1, -2) @ v_BHLE
    normaliser_BHM1 = phi_k_BHLM.sum(-2)[..., None]
    return (phi_q_BHQM @ memory_BHME) / (phi_q_BHQM @ normaliser_BHM1)


def _kernel(x: Tensor, projected: Tensor, largest: Tensor) -> Tensor:
    """Return the features of queries or keys; the factor 1 / sqrt M cancels but for rounding, and is kept for that."""
    half_square = x.square().sum(-1, keepdim=True) / 2 * x.shape[-1] ** -0.5
    return projected.shape[-1] ** -0.5 * (torch.exp(projected - half_square - largest) + EPSILON)  # type: ignore[no-any-return]


def released_features(n_features: int, head_width: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw M Gaussian directions, orthogonal within each block of E rows, as performer-pytorch does; M x E.

    Equal seeds give equal numbers here and there. Unlike those of `orthogonal_features` the directions keep the signs
    that LAPACK gives them, which favour one half of the sphere. OpenBioMed, performer_celllm.py:
    gaussian_orthogonal_random_matrix, with scaling 0.
    """
    blocks = [
        torch.linalg.qr(torch.randn(head_width, head_width, generator=generator))[0].t()
        for _ in range(-(-n_features // head_width))
    ]
    lengths_M1 = torch.randn(n_features, head_width, generator=generator).norm(dim=1, keepdim=True)
    return lengths_M1 * torch.cat(blocks)[:n_features]  # type: ignore[no-any-return]


def filled_up(genes_BL: Tensor, bins_BL: Tensor, *, length: int, n_genes: int) -> tuple[Tensor, Tensor]:
    """Append PAD until every cell has `length` tokens; a batch that is longer comes back as it is.

    The authors' class fills every batch up to its longest possible cell, 6,000 tokens, and since its attention counts
    padded keys, that length is as much a part of a checkpoint as the weights are.
    """
    missing = max(0, length - genes_BL.shape[1])
    return (
        functional.pad(genes_BL, (0, missing), value=n_genes + 1),
        functional.pad(bins_BL, (0, missing), value=PAD),
    )
