"""Attention depends on nothing but the cell, and FAVOR+ approaches softmax."""

from __future__ import annotations

import pytest
import torch

from celllm.model.attention import orthogonal_features, softmax_attention
from celllm.model.favor import favor_attention, share_below_epsilon


def drawn(n_cells: int = 3, length: int = 7, *, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n_cells, 2, length, 8, generator=generator, dtype=dtype) for _ in range(3)]


def features(n_features: int, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return orthogonal_features(n_features, 8, torch.Generator().manual_seed(2)).to(dtype)


def test_features_are_orthogonal_within_a_block_and_as_long_as_gaussian_vectors() -> None:
    rows = orthogonal_features(2000, 8, torch.Generator().manual_seed(0))
    block = torch.nn.functional.normalize(rows[:8], dim=-1)
    torch.testing.assert_close(block @ block.t(), torch.eye(8), atol=1e-5, rtol=0)
    # a chi variable with 8 degrees of freedom has mean square 8
    assert rows.square().sum(1).mean().item() == pytest.approx(8, rel=0.05)
    assert rows.norm(dim=1).std().item() == pytest.approx(0.69, rel=0.1)
    assert torch.equal(features(20), features(20))


def test_favor_approaches_softmax_as_features_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    # with the kernel's usual epsilon, that and not the number of features would set the error in the end
    monkeypatch.setattr("celllm.model.favor.KERNEL_EPSILON", 1e-12)
    q, k, v = drawn()
    q, k = q / 2, k / 2
    exact = softmax_attention(q, k, v)

    def error(n_features: int, seed: int) -> float:
        rows = orthogonal_features(n_features, 8, torch.Generator().manual_seed(seed)).double()
        return (favor_attention(q, k, v, rows) - exact).abs().mean().item()

    few, more, many = (sum(error(m, seed) for seed in range(3)) / 3 for m in (16, 256, 5000))
    assert few > 2 * more > 4 * many
    assert many < 0.01


@pytest.mark.parametrize("kind", ["favor", "softmax"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_padded_key_contributes_nothing(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    q, k, v = drawn(dtype=dtype)
    is_pad = torch.zeros(3, 7, dtype=torch.bool)
    is_pad[:, 5:] = True
    projection = features(20, dtype=dtype)

    def attend(q, k, v, is_pad):
        return favor_attention(q, k, v, projection, is_pad) if kind == "favor" else softmax_attention(q, k, v, is_pad)

    bare = attend(q, k[:, :, :5], v[:, :, :5], None)
    k[:, :, 5:] *= 100  # were it seen by the stabiliser, exp would underflow for all others
    v[:, :, 5:] = 1e6
    torch.testing.assert_close(attend(q, k, v, is_pad), bare, atol=tolerance, rtol=0)


def written_out(q, k, v, projection, is_pad):
    """The formula, with sums over all pairs of queries and keys."""

    def phi(exponents, shift):
        return torch.exp(exponents - shift.detach()) + 1e-4

    x, y = q * 8**-0.25, k * 8**-0.25
    dots_q, dots_k = x @ projection.t(), y @ projection.t()
    hidden = is_pad[:, None, :, None]
    exponents_k = dots_k - 0.5 * y.square().sum(-1, keepdim=True)
    phi_q = phi(dots_q, dots_q.amax(-1, keepdim=True))
    phi_k = phi(exponents_k, exponents_k.masked_fill(hidden, -torch.inf).amax((-1, -2), keepdim=True))
    phi_k = phi_k.masked_fill(hidden, 0)
    weights = phi_q @ phi_k.transpose(-1, -2)
    return (weights @ v) / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("size", [2.0, 3.0])
def test_long_queries_and_keys_do_not_silence_attention(size: float) -> None:
    q, k, v = drawn(length=30)
    q, k = (size * q).requires_grad_(), size * k
    out = favor_attention(q, k, v, features(2000))
    # with the largest projection as stabiliser it was 5e-7 and 1e-14: the plain mean
    assert (out - v.mean(-2, keepdim=True)).square().mean() > 0.1
    assert torch.autograd.grad(out.square().sum(), q)[0].abs().max() > 0.1
    assert 0.5 < share_below_epsilon(q, k, features(2000)) < 0.99


def test_the_share_below_epsilon_is_counted_over_real_keys() -> None:
    q, k, _ = drawn(length=7)
    is_pad = torch.arange(7) >= torch.tensor([7, 4, 2])[:, None]
    alone = [
        share_below_epsilon(2 * q[i : i + 1], 2 * k[i : i + 1, :, :n], features(20)) * (7 + n)
        for i, n in enumerate((7, 4, 2))
    ]
    found = share_below_epsilon(2 * q, 2 * k, features(20), is_pad)
    torch.testing.assert_close(found, sum(alone) / (3 * 7 + 7 + 4 + 2))
    assert 0 < found < 1


@pytest.mark.parametrize("n_queries", [4, 1], ids=["as many queries as keys", "one query"])
def test_favor_has_the_value_and_the_gradient_of_the_formula(n_queries: int) -> None:
    q, k, v = (x[:2, :, :4].clone().requires_grad_() for x in drawn())
    q = q[:, :, :n_queries].detach().requires_grad_()
    projection = features(6)
    is_pad = torch.tensor([[False] * 4, [False, False, True, True]])
    found, expected = (attend(q, k, v, projection, is_pad) for attend in (favor_attention, written_out))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    pull = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    gradients = (torch.autograd.grad((out * pull).sum(), (q, k, v)) for out in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("cut", ["a head at a time", "all at once, as on a GPU"])
def test_how_heads_are_cut_into_blocks_changes_nothing(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # as the encoder hands them over: views of one tensor, heads side by side
    mixed = torch.randn(3, 7, 3 * 2 * 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    pull = torch.randn(3, 2, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    is_pad = torch.arange(7) >= torch.tensor([7, 4, 6])[:, None]

    def course() -> list[torch.Tensor]:
        x = mixed.clone().requires_grad_()
        q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in x.chunk(3, dim=-1))
        out = favor_attention(q, k, v, features(20), is_pad)
        return [out, *torch.autograd.grad((out * pull).sum(), x)]

    expected = course()
    if cut.startswith("a head"):
        monkeypatch.setattr("celllm.model.favor.BLOCK_NUMBERS", 1)
    else:
        monkeypatch.setattr("celllm.model.favor._on_cpu", lambda _: False)
    for found, whole in zip(course(), expected, strict=True):
        torch.testing.assert_close(found, whole, atol=1e-12, rtol=1e-12)
