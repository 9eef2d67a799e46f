"""The three losses, and embedding diagnostics, against naive loops and in known cases."""

from __future__ import annotations

import math

import pytest
import torch

from celllm.pretrain.diagnostics import alignment, effective_rank, mean_cosine, uniformity
from celllm.pretrain.losses import info_nce, majority_accuracy, malignancy_loss, masked_loss


def views() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    return first, first + 0.5 * torch.randn(6, 5, generator=generator, dtype=torch.float64)


def test_embeddings_that_tell_nothing_cost_log_of_the_batch_and_their_length_does_not_matter() -> None:
    same = torch.ones(8, 4)
    assert info_nce(same, same, temperature=0.05).item() == pytest.approx(math.log(8), rel=1e-6)
    first, second = views()
    stretched = second * torch.arange(1, 7)[:, None]
    assert info_nce(first, stretched, temperature=0.1).item() == pytest.approx(
        info_nce(first, second, temperature=0.1).item(), rel=1e-9
    )


def test_embeddings_of_16_bits_are_compared_in_32() -> None:
    first, second = (view.bfloat16() for view in views())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(first, second, temperature=0.05)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(info_nce(first.float(), second.float(), temperature=0.05).item(), rel=1e-6)


def test_spread_is_measured_on_the_unit_sphere() -> None:
    opposite = torch.tensor([[1.0, 0], [-3, 0]])
    assert mean_cosine(opposite) == pytest.approx(-1)
    assert uniformity(opposite) == pytest.approx(-8)  # squared distance 4, times -2
    collapsed = torch.ones(5, 3)
    assert mean_cosine(collapsed) == pytest.approx(1)
    assert uniformity(collapsed) == pytest.approx(0, abs=1e-5)
    assert alignment(opposite, 2 * opposite) == pytest.approx(0, abs=1e-6)
    assert alignment(opposite, -opposite) == pytest.approx(4)


def plain(first: torch.Tensor, second: torch.Tensor, *, symmetric: bool) -> torch.Tensor:
    unit = [torch.nn.functional.normalize(z, dim=-1) for z in (first, second)]
    logits = unit[0] @ unit[1].t() / 0.05
    own = torch.arange(len(logits))
    losses = [torch.nn.functional.cross_entropy(rows, own) for rows in (logits, logits.t())]
    return torch.stack(losses[: 1 + symmetric]).mean()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("tile_numbers", [1, 100, 10**6])
def test_tiles_of_any_size_have_the_value_and_gradient_of_the_whole_matrix(
    symmetric: bool, dtype: torch.dtype, bar: float, tile_numbers: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(57, 9, generator=generator, dtype=torch.float64)
    second = (first + torch.randn(57, 9, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
    first = first.to(dtype).requires_grad_()
    expected = plain(first, second, symmetric=symmetric)
    expected_gradients = torch.autograd.grad(3 * expected, [first, second])
    found = info_nce(first, second, temperature=0.05, symmetric=symmetric, tile_numbers=tile_numbers)
    assert found.item() == pytest.approx(expected.item(), rel=bar)
    for gradient, other in zip(torch.autograd.grad(3 * found, [first, second]), expected_gradients, strict=True):
        assert (gradient - other).norm() < bar * other.norm()


def test_no_similarities_of_all_pairs_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = torch.Tensor.__matmul__

    def watched(self: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        made = real(self, other)
        sizes.append(made.numel())
        return made

    first = torch.randn(300, 4, requires_grad=True)
    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    info_nce(first, first + 1, temperature=0.05, tile_numbers=1200).backward()
    assert max(sizes) == 1200 < 300 * 300


def test_spread_in_tiles_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.randn(40, 6, dtype=torch.float64)
    unit = torch.nn.functional.normalize(z, dim=-1)
    pairs = (unit @ unit.t())[*torch.triu_indices(40, 40, offset=1)]
    assert mean_cosine(z) == pytest.approx(pairs.mean().item(), abs=1e-12)
    monkeypatch.setattr("celllm.pretrain.diagnostics.TILE_NUMBERS", 40 * 7)
    assert uniformity(z) == pytest.approx((4 * pairs - 4).exp().mean().log().item(), rel=1e-12)


def test_the_effective_rank_counts_the_directions_in_which_embeddings_spread() -> None:
    line = torch.outer(torch.arange(1.0, 6.0), torch.tensor([1.0, 2.0, -1.0]))
    assert effective_rank(line) == pytest.approx(1, abs=1e-4)
    assert effective_rank(3 * torch.eye(7)) == pytest.approx(7)
    values = torch.tensor([3.0, 1.0])  # shares 3/4 and 1/4 of the singular values, not of their squares
    expected = (4 / 3) ** 0.75 * 4**0.25
    assert effective_rank(torch.diag(values)) == pytest.approx(expected)


LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0])
LABELS = torch.tensor([1, 0, 0, -1])


@pytest.mark.parametrize("labels", [LABELS, torch.full((4,), -1)], ids=["some known", "none"])
def test_malignancy_is_judged_of_known_cells_alone(labels: torch.Tensor) -> None:
    logits = LOGITS.clone().requires_grad_()
    made = malignancy_loss(logits, labels)
    made.loss_sum.backward()
    assert ((logits.grad != 0) == (labels >= 0)).all()
    expected = math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)) + math.log1p(math.exp(0.5))
    assert made.loss_sum.item() == pytest.approx(expected if made.n else 0, rel=1e-6)
    assert (made.n, made.n_correct) == ((3, 2) if labels is LABELS else (0, 0))


def test_the_majority_is_the_share_of_the_commonest_known_class() -> None:
    assert majority_accuracy(LABELS) == pytest.approx(2 / 3)
    assert math.isnan(majority_accuracy(torch.tensor([-1])))
    assert majority_accuracy(torch.tensor([0, 0, 3, 0, 5])) == pytest.approx(0.6)


def test_masked_losses_of_chunks_add_up_to_that_of_all() -> None:
    logits = torch.randn(11, 9, dtype=torch.float64)
    targets = torch.randint(6, (11,))
    whole = masked_loss(logits, targets)
    parts = [masked_loss(logits[rows], targets[rows]) for rows in (slice(0, 4), slice(4, 4), slice(4, 11))]
    expected = -logits.log_softmax(-1)[torch.arange(11), targets].sum()
    torch.testing.assert_close(whole.loss_sum, expected)
    torch.testing.assert_close(torch.stack([part.loss_sum for part in parts]).sum(), expected)
    assert sum(part.n for part in parts) == 11
    n_right = int((logits.argmax(-1) == targets).sum())
    assert sum(part.n_correct for part in parts) == whole.n_correct == n_right
