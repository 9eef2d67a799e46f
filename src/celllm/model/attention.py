"""Attention over the genes of a cell: FAVOR+ (linear in the number of genes) and exact softmax.

Shapes: B cells, L tokens a cell, Q queries, H heads, E width of one head, M random features, D width of the encoder.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from celllm.model.released import released_attention, released_features

KERNEL_EPSILON = 1e-4  # performer-pytorch 1.1.4 and the authors' release; keeps every feature above zero


def default_features(head_width: int) -> int:
    """Return int(E ln E), the number of random features that performer-pytorch takes for a head of width E."""
    return max(1, int(head_width * math.log(head_width)))


def orthogonal_features(
    n_features: int,
    head_width: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw M Gaussian directions that are orthogonal within each block of E rows.

    A row's direction comes from the QR decomposition of a Gaussian matrix, its length from the norm of an
    independent Gaussian vector (a chi distribution), so that each row alone is a plain Gaussian vector while
    the rows of a block spread out better than independent ones: lower variance of the kernel estimate.

    Parameters
    ----------
    n_features
        Number of rows, M; the last block may be cut.
    head_width
        Length of a row, E.
    generator
        Source of randomness on the CPU; None takes torch's own.

    Notes
    -----
    Choromanski et al. 2021, arXiv:2009.14794, section 2.4; performer-pytorch calls this scaling 0, and leaves the signs
    as they come. Signs: Mezzadri 2007, arXiv:math-ph/0609050.
    """
    n_blocks = -(-n_features // head_width)
    gaussian = torch.randn(n_blocks, head_width, head_width, generator=generator)
    q, r = torch.linalg.qr(gaussian)
    # LAPACK's signs favour one half of the sphere, which would bias the kernel; those of R make Q uniform
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None, :]
    directions = q.transpose(1, 2).reshape(-1, head_width)[:n_features]
    lengths = torch.randn(n_features, head_width, generator=generator).norm(dim=1)
    return lengths[:, None] * directions  # type: ignore[no-any-return]


def favor_attention(
    q_BHQE: Tensor,
    k_BHLE: Tensor,
    v_BHLE: Tensor,
    features_ME: Tensor,
    is_pad_BL: Tensor | None = None,
) -> Tensor:
    """Approximate softmax attention with positive random features, in time and memory linear in L.

    With phi(x) = exp(P x / E^(1/4) - |x|^2 / (2 sqrt E) - shift) + eps, attention is
    phi(q) (phi(K)^T V) / phi(q) sum(phi(K)), and the sums over keys are formed once for all queries. The constant eps
    is multiplied out and a column of ones stands beside V for the denominator, so nothing but the two
    exponentials has the size L x M.

    A cell's output depends on nothing but the cell: padded keys are left out of numerator, denominator and
    stabiliser, and the stabiliser is a maximum over the keys of one cell and head (the released code takes
    it over the whole batch and keeps padded keys in the denominator).

    Parameters
    ----------
    q_BHQE, k_BHLE, v_BHLE
        Queries, keys and values, none of them scaled.
    features_ME
        Rows from `orthogonal_features`.
    is_pad_BL
        True where a key is padding; None where no key is.

    Returns
    -------
    B x H x Q x E, in the dtype of `v_BHLE`. A cell without any key would give nan; CLS is always one.

    Notes
    -----
    Choromanski et al. 2021, arXiv:2009.14794. With many features it approaches softmax attention (tested).
    """
    # |x|^2 / 2 rides along as one more column with weight -1, so that one product gives the whole exponent and, in the
    # backward pass, its whole gradient; what is subtracted afterwards is a constant of no consequence to the gradient
    scale = k_BHLE.shape[-1] ** -0.25
    weights = torch.cat([features_ME.t() * scale, -features_ME.new_ones(1, len(features_ME))])
    half_q_BHQ1 = (0.5 * scale**2) * q_BHQE.square().sum(-1, keepdim=True)
    half_k_BHL1 = (0.5 * scale**2) * k_BHLE.square().sum(-1, keepdim=True)

    phi_q_BHQM = torch.cat([q_BHQE, half_q_BHQ1], dim=-1) @ weights
    phi_q_BHQM = phi_q_BHQM.sub_(_largest(phi_q_BHQM, half_q_BHQ1)).exp_()

    phi_k_BHLM = torch.cat([k_BHLE, half_k_BHL1], dim=-1) @ weights
    largest_BHL1 = _largest(phi_k_BHLM, half_k_BHL1)
    values_BHLF = torch.cat([v_BHLE, v_BHLE.new_ones(1).expand(*v_BHLE.shape[:-1], 1)], dim=-1)
    if is_pad_BL is None:
        shift = largest_BHL1.amax(dim=-2, keepdim=True)
    else:
        is_pad_BHL1 = is_pad_BL[:, None, :, None]
        values_BHLF = values_BHLF.masked_fill(is_pad_BHL1, 0.0)
        shift = largest_BHL1.masked_fill(is_pad_BHL1, -math.inf).amax(dim=-2, keepdim=True)
        shift = shift.masked_fill(is_pad_BHL1, math.inf)  # exp(-inf): no weight
    phi_k_BHLM = phi_k_BHLM.sub_(shift).exp_()

    epsilon = KERNEL_EPSILON
    memory_BHMF = phi_k_BHLM.transpose(-1, -2) @ values_BHLF + epsilon * values_BHLF.sum(-2, keepdim=True)
    sums_BHQF = phi_q_BHQM @ memory_BHMF + epsilon * memory_BHMF.sum(-2, keepdim=True)
    return sums_BHQF[..., :-1] / sums_BHQF[..., -1:]  # type: ignore[no-any-return]


def _largest(exponent: Tensor, half_square: Tensor) -> Tensor:
    """Return the largest projection of each row, as a constant: the exponent's largest without its |x|^2 / 2."""
    return exponent.detach().amax(dim=-1, keepdim=True) + half_square.detach()


def softmax_attention(q_BHQE: Tensor, k_BHLE: Tensor, v_BHLE: Tensor, is_pad_BL: Tensor | None = None) -> Tensor:
    """Attend exactly, through torch's fused kernel; arguments as in `favor_attention`."""
    allowed = None if is_pad_BL is None else ~is_pad_BL[:, None, None, :]
    return functional.scaled_dot_product_attention(q_BHQE, k_BHLE, v_BHLE, attn_mask=allowed)


class Attention(nn.Module):
    """Multi-head attention without bias on queries, keys and values (paper section 5).

    Parameters
    ----------
    width, heads, head_width
        D, H and E; H x E need not equal D.
    n_features
        Random features a head, M; None takes `default_features`. Not trained; unused by `softmax`.
    kind
        `favor`, `softmax`, or `released`: the authors', defects included.
    """

    features_ME: Tensor

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        head_width: int,
        n_features: int | None,
        kind: Literal["favor", "softmax", "released"],
    ) -> None:
        super().__init__()
        self.heads, self.head_width, self.kind = heads, head_width, kind
        self.inner = heads * head_width
        self.to_qkv = nn.Linear(width, 3 * self.inner, bias=False)
        self.to_out = nn.Linear(self.inner, width)
        n_features = n_features or default_features(head_width)
        self.draw = released_features if kind == "released" else orthogonal_features
        self.register_buffer("features_ME", self.draw(n_features, head_width))

    def redraw(self, generator: torch.Generator) -> None:
        """Replace the random features; outputs change, so never between the two passes of a step."""
        n_features, head_width = self.features_ME.shape
        self.features_ME.copy_(self.draw(n_features, head_width, generator))

    def forward(self, x_BLD: Tensor, is_pad_BL: Tensor | None, *, queries_BQD: Tensor | None = None) -> Tensor:
        """Attend to every token that is no padding, from the tokens `queries_BQD` or (None) from all; B x Q x D."""
        if queries_BQD is None:
            q_BQI, k_BLI, v_BLI = self.to_qkv(x_BLD).chunk(3, dim=-1)
        else:
            weight_q, weight_kv = self.to_qkv.weight.split([self.inner, 2 * self.inner])
            q_BQI = functional.linear(queries_BQD, weight_q)
            k_BLI, v_BLI = functional.linear(x_BLD, weight_kv).chunk(2, dim=-1)
        q, k, v = (y.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2) for y in (q_BQI, k_BLI, v_BLI))
        if self.kind == "softmax":
            attended_BHQE = softmax_attention(q, k, v, is_pad_BL)
        else:
            attend = released_attention if self.kind == "released" else favor_attention
            # exponentials of sums lose too much in 16 bits
            with torch.autocast(x_BLD.device.type, enabled=False):
                full = self.features_ME.dtype
                attended_BHQE = attend(q.to(full), k.to(full), v.to(full), self.features_ME, is_pad_BL)
        return self.to_out(attended_BHQE.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
