"""Attention over the genes of a cell: FAVOR+ (linear in the number of genes) and exact softmax.

Shapes: B cells, L tokens a cell, Q queries, H heads, E width of one head, M random features, D width of the encoder.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from celllm.model.favor import favor_attention, share_below_epsilon
from celllm.model.released import released_attention, released_features


def orthogonal_features(n_features: int, head_width: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw M Gaussian directions that are orthogonal within each block of E rows.

    A row's direction comes from the QR decomposition of a Gaussian matrix, its length from the norm of an
    independent Gaussian vector (a chi distribution), so that each row alone is a plain Gaussian vector while
    the rows of a block spread out better than independent ones: lower variance of the kernel estimate.

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


def softmax_attention(q_BHQE: Tensor, k_BHLE: Tensor, v_BHLE: Tensor, is_pad_BL: Tensor | None = None) -> Tensor:
    """Attend exactly, through torch's fused kernel; arguments as in `favor_attention`."""
    allowed = None if is_pad_BL is None else ~is_pad_BL[:, None, None, :]
    return functional.scaled_dot_product_attention(q_BHQE, k_BHLE, v_BHLE, attn_mask=allowed)


class Attention(nn.Module):
    """Multi-head attention without bias on queries, keys and values (paper section 5).

    H x E need not equal D. The M random features are not trained, and unused by `softmax`; `released` is the authors'
    kind, defects included.
    """

    features_ME: Tensor

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        head_width: int,
        n_features: int,
        kind: Literal["favor", "softmax", "released"],
    ) -> None:
        super().__init__()
        self.heads, self.head_width, self.kind = heads, head_width, kind
        self.inner = heads * head_width
        self.to_qkv = nn.Linear(width, 3 * self.inner, bias=False)
        self.to_out = nn.Linear(self.inner, width)
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
        q, k, v = (self._by_head(y) for y in (q_BQI, k_BLI, v_BLI))
        if self.kind == "softmax":
            attended_BHQE = softmax_attention(q, k, v, is_pad_BL)
        else:
            attend = released_attention if self.kind == "released" else favor_attention
            # exponentials of sums lose too much in 16 bits
            with torch.autocast(x_BLD.device.type, enabled=False):
                full = self.features_ME.dtype
                attended_BHQE = attend(q.to(full), k.to(full), v.to(full), self.features_ME, is_pad_BL)
        return self.to_out(attended_BHQE.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    @torch.no_grad()
    def share_below_epsilon(self, x_BLD: Tensor, is_pad_BL: Tensor | None) -> Tensor:
        """Return the share of features of these tokens' queries and keys that say nothing: see `favor`."""
        full = self.features_ME.dtype
        q, k, _ = (self._by_head(y).to(full) for y in self.to_qkv(x_BLD).chunk(3, dim=-1))
        return share_below_epsilon(q, k, self.features_ME, is_pad_BL)

    def _by_head(self, y_BLI: Tensor) -> Tensor:
        return y_BLI.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # type: ignore[no-any-return]
