"""FAVOR+: softmax attention estimated with positive random features, linear in the number of genes.

Shapes: B cells, L tokens a cell, Q queries, H heads, E width of one head, M random features, F = E + 1; N heads of
one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

KERNEL_EPSILON = 1e-4  # performer-pytorch 1.1.4 and the authors' release; keeps every feature above zero
BLOCK_NUMBERS = 1 << 20
"""Numbers in a block's N x L x M features on a CPU: 4 MiB in float32, which stay in the cache between two products."""
NO_WEIGHT = 1e30
"""Taken off the exponent of a padded key: its features are exactly zero. Finite, since a product sees it."""


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
    exponentials has the size L x M. Those live a block of heads at a time, in memory that the next block uses again;
    the backward pass computes them anew: a little more time, for much less memory that a layer would keep.

    The shift of a query is its largest exponent, in which |q|^2 cancels; that of the keys is the largest exponent of a
    cell and head. So the largest feature is 1 whatever the size of q and k, and eps beside it small. (The released code
    and performer-pytorch take the largest projection, whereby every feature of a long vector falls below eps, and
    attention becomes the plain mean.)

    A cell's output depends on nothing but the cell: padded keys are left out of numerator, denominator and
    stabiliser, and the stabiliser is a maximum over the keys of one cell and head (the released code takes
    it over the whole batch and keeps padded keys in the denominator).

    Queries, keys and values are not scaled, and of the dtype of the features (from `orthogonal_features`), which get no
    gradient. The result, B x H x Q x E, lies in memory as B x Q x H x E on a CPU. A cell without any key would give
    nan; CLS is always one.

    Choromanski et al. 2021, arXiv:2009.14794. With many features it approaches softmax attention (tested).
    """
    return _Favor.apply(q_BHQE, k_BHLE, v_BHLE, features_ME, is_pad_BL)  # type: ignore[no-any-return]


def share_below_epsilon(q_BHQE: Tensor, k_BHLE: Tensor, features_ME: Tensor, is_pad_BL: Tensor | None = None) -> Tensor:
    """Return the share of random features of queries and keys that say less than epsilon, 0 to 1; of no gradient.

    Near 1 attention is the plain mean of the values, and nothing reaches queries and keys any more.
    """
    scale = features_ME.shape[1] ** -0.25
    exponents_q = (q_BHQE * scale) @ features_ME.t()
    exponents_k = (k_BHLE * scale) @ features_ME.t() - (k_BHLE * scale).square().sum(-1, keepdim=True) / 2
    phi_q = (exponents_q - exponents_q.amax(-1, keepdim=True)).exp()
    if is_pad_BL is not None:
        exponents_k = exponents_k.masked_fill(is_pad_BL[:, None, :, None], -torch.inf)
    phi_k = (exponents_k - exponents_k.amax((-1, -2), keepdim=True)).exp()
    n_keys = phi_k.numel() if is_pad_BL is None else int((~is_pad_BL).sum()) * phi_k[0, :, 0].numel()
    n_below_k = (phi_k < KERNEL_EPSILON).sum() - (phi_k.numel() - n_keys)
    return ((phi_q < KERNEL_EPSILON).sum() + n_below_k) / (phi_q.numel() + n_keys)  # type: ignore[no-any-return]


def _on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu"


class _Block(NamedTuple):
    """Heads worked on at once: some of one cell, or all of several."""

    cells: slice
    heads: slice

    def of(self, x_BH: Tensor) -> Tensor:
        """Return this block's part of a tensor B x H x …, as N x …; of a contiguous one always a view."""
        part = x_BH[self.cells, self.heads]
        return part[0] if len(part) == 1 else part.flatten(0, 1)


class _Blocks:
    """The heads of all cells, cut into blocks that fit a CPU's cache; elsewhere they are one block.

    Each product has memory of its own, which it writes into for one block after the other. Few blocks are best where
    threads wait for one another, so what is not L x M is done for all heads at once.
    """

    def __init__(self, x_BHLE: Tensor, n_features: int) -> None:
        n_cells, n_heads, length, _ = x_BHLE.shape
        self.all = [_Block(slice(None), slice(None))]
        if _on_cpu(x_BHLE):
            fit = max(1, BLOCK_NUMBERS // max(1, length * n_features))
            heads, cells = min(n_heads, fit), max(1, fit // n_heads)
            self.all = [
                _Block(slice(cell, cell + cells), slice(head, head + heads))
                for cell in range(0, n_cells, cells)
                for head in range(0, n_heads, heads)
            ]
        self._memory: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[_Block]:
        return iter(self.all)

    def multiply(self, x_NLE: Tensor, weights: Tensor, name: str) -> Tensor:
        """Multiply N matrices by N others, or by one, into the memory of this name; its last block is overwritten."""
        weights = weights.expand(len(x_NLE), -1, -1)
        shape = (len(x_NLE), x_NLE.shape[1], weights.shape[2])
        n = shape[0] * shape[1] * shape[2]
        if name not in self._memory or len(self._memory[name]) < n:
            self._memory[name] = x_NLE.new_empty(n)
        return torch.bmm(x_NLE, weights, out=self._memory[name][:n].view(shape))

    def multiply_into(self, block: _Block, out_BH: Tensor, x_NLE: Tensor, weights: Tensor) -> None:
        """Multiply as `multiply`, into the block's part of a tensor B x H x L x …, in whatever order it is stored."""
        part = out_BH[block.cells, block.heads]
        if len(part) == 1:
            torch.bmm(x_NLE, weights.expand(len(x_NLE), -1, -1), out=part[0])
        else:
            part.copy_(self.multiply(x_NLE, weights, "out").view(part.shape))


def _empty(x_BHQE: Tensor, width: int) -> Tensor:
    """Allocate B x H x Q x width like x; on a CPU in the order B x Q x H x width, which the layers around read."""
    n_cells, n_heads, length, _ = x_BHQE.shape
    if _on_cpu(x_BHQE):
        return x_BHQE.new_empty(n_cells, length, n_heads, width).transpose(1, 2)
    return x_BHQE.new_empty(n_cells, n_heads, length, width)


def _with_ones(v_BHLE: Tensor, is_pad_BL: Tensor | None) -> Tensor:
    """Put a column of ones beside the values, B x H x L x F, and zero the rows of padded keys."""
    values_BHLF = torch.cat([v_BHLE, v_BHLE.new_ones(1).expand(*v_BHLE.shape[:-1], 1)], dim=-1)
    return values_BHLF if is_pad_BL is None else values_BHLF.masked_fill_(is_pad_BL[:, None, :, None], 0.0)


class _Favor(torch.autograd.Function):
    """`favor_attention` and its gradient.

    For the gradient write A for the queries' exponentials and K for the keys', V for the values with their ones,
    m = K^T V + eps 1 1^T V for the memory and S = A m + eps 1 1^T m for the sums, whose last column divides the others.
    A query's exponent is linear in q, a key's but for -|k|^2 / 2, whose gradient needs the row sums of the exponents'
    gradient: those of the rows of V times those of K dm. Shifts are constants to the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        q_BHQE: Tensor,
        k_BHLE: Tensor,
        v_BHLE: Tensor,
        features_ME: Tensor,
        is_pad_BL: Tensor | None,
    ) -> Tensor:
        n_features, width = features_ME.shape
        scale = width**-0.25
        weights_EM = (features_ME * scale).t().contiguous()
        shift_k = torch.linalg.vector_norm(k_BHLE, dim=-1, keepdim=True).square_().mul_(0.5 * scale**2).contiguous()
        shift_q = shift_k.new_empty(*q_BHQE.shape[:3], 1)
        if is_pad_BL is not None:
            shift_k.masked_fill_(is_pad_BL[:, None, :, None], NO_WEIGHT)
        values_BHLF = _with_ones(v_BHLE, is_pad_BL)
        memory_BHMF = values_BHLF.new_empty(*q_BHQE.shape[:2], n_features, width + 1)
        sums_BHQF = values_BHLF.new_empty(*q_BHQE.shape[:3], width + 1)

        blocks = _Blocks(k_BHLE, n_features)
        for block in blocks:
            phi = blocks.multiply(block.of(k_BHLE), weights_EM, "phi")
            shift = block.of(shift_k)
            shift.add_((phi.amax(-1, keepdim=True) - shift).amax(-2, keepdim=True))
            torch.bmm(phi.sub_(shift).exp_().mT, block.of(values_BHLF), out=block.of(memory_BHMF))
        memory_BHMF.add_(values_BHLF.sum(-2, keepdim=True), alpha=KERNEL_EPSILON)

        blocks = _Blocks(q_BHQE, n_features)
        for block in blocks:
            phi = blocks.multiply(block.of(q_BHQE), weights_EM, "phi")
            shift = block.of(shift_q).copy_(phi.amax(-1, keepdim=True))
            torch.bmm(phi.sub_(shift).exp_(), block.of(memory_BHMF), out=block.of(sums_BHQF))
        sums_BHQF.add_(memory_BHMF.sum(-2, keepdim=True), alpha=KERNEL_EPSILON)
        divisor = sums_BHQF[..., -1:].clone()
        out_BHQE = torch.div(sums_BHQF[..., :-1], divisor, out=_empty(q_BHQE, width))
        ctx.save_for_backward(
            q_BHQE, k_BHLE, v_BHLE, features_ME, is_pad_BL, out_BHQE, shift_q, shift_k, divisor, memory_BHMF
        )
        return out_BHQE

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_BHQE: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        q_BHQE, k_BHLE, v_BHLE, features_ME, is_pad_BL, out_BHQE, shift_q, shift_k, divisor, memory_BHMF = (
            ctx.saved_tensors
        )
        n_features, width = features_ME.shape
        scale = width**-0.25
        scaled_ME = features_ME * scale
        # the shift rides along as one more column with weight -1, so that the product is the whole exponent
        weights_FM = torch.cat([scaled_ME.t(), scaled_ME.new_full((1, n_features), -1.0)])

        dsums_BHQF = torch.cat([grad_BHQE, (grad_BHQE * out_BHQE).sum(-1, keepdim=True).neg_()], dim=-1).div_(divisor)
        dmemory_BHMF, dq_BHQE = torch.empty_like(memory_BHMF), _empty(q_BHQE, width)
        shifted_q_BHQF = torch.cat([q_BHQE, shift_q], dim=-1)
        blocks = _Blocks(q_BHQE, n_features)
        for block in blocks:
            phi = blocks.multiply(block.of(shifted_q_BHQF), weights_FM, "phi").exp_()
            dsums = block.of(dsums_BHQF)
            torch.bmm(phi.mT, dsums, out=block.of(dmemory_BHMF))
            dexponent = blocks.multiply(dsums, block.of(memory_BHMF).mT, "dexponent").mul_(phi)
            blocks.multiply_into(block, dq_BHQE, dexponent, scaled_ME)
        dmemory_BHMF.add_(dsums_BHQF.sum(-2, keepdim=True), alpha=KERNEL_EPSILON)

        values_BHLF = _with_ones(v_BHLE, is_pad_BL)
        dvalues_BHLF, dk_BHLE = torch.empty_like(values_BHLF), _empty(k_BHLE, width)
        shifted_k_BHLF = torch.cat([k_BHLE, shift_k], dim=-1)
        blocks = _Blocks(k_BHLE, n_features)
        for block in blocks:
            phi = blocks.multiply(block.of(shifted_k_BHLF), weights_FM, "phi").exp_()
            dmemory = block.of(dmemory_BHMF)
            torch.bmm(phi, dmemory, out=block.of(dvalues_BHLF))
            dexponent = blocks.multiply(block.of(values_BHLF), dmemory.mT, "dexponent").mul_(phi)
            blocks.multiply_into(block, dk_BHLE, dexponent, scaled_ME)
        dk_BHLE.addcmul_(k_BHLE, (values_BHLF * dvalues_BHLF).sum(-1, keepdim=True), value=-(scale**2))
        dv_BHLE = dvalues_BHLF.add_(dmemory_BHMF.sum(-2, keepdim=True), alpha=KERNEL_EPSILON)[..., :-1]
        if is_pad_BL is not None:
            dv_BHLE.masked_fill_(is_pad_BL[:, None, :, None], 0.0)
        return dq_BHQE, dk_BHLE, dv_BHLE, None, None
