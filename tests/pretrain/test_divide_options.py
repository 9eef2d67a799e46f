"""Token budgets, the kept chunk, checks and refusals of the chunked step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from celllm.pretrain.chunks import NonFiniteError, by_number, by_tokens, padding_fraction, take
from celllm.pretrain.divide import Record, divide_and_conquer
from celllm.pretrain.losses import info_nce

N_CELLS = 9


def coupled(first: Tensor, second: Tensor) -> Tensor:
    return info_nce(first, second, temperature=0.3)


def module_and_cells(dropout: float = 0.0) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 4)).double()
        return module, torch.randn(N_CELLS, 5, dtype=torch.float64)


def gradient(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


@pytest.mark.parametrize("max_tokens", [1, 7, 20, 1000])
def test_chunks_by_tokens_have_the_gradient_of_the_whole_batch(max_tokens: int) -> None:
    module, cells = module_and_cells()
    coupled(module(cells), module(cells + 1)).backward()
    expected = gradient(module)
    module.zero_grad()
    record = Record()
    chunks = by_tokens([3, 9, 1, 4, 4, 8, 2, 7, 5], max_tokens)
    divide_and_conquer(module, [cells, cells + 1], coupled, chunks=chunks, record=record)
    torch.testing.assert_close(gradient(module), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(record.embeddings[0], module(cells).detach())  # in the order of the cells


def test_chunks_by_tokens_keep_to_the_budget_and_hold_every_cell_once() -> None:
    lengths = np.random.default_rng(0).lognormal(7.2, 0.55, 512).astype(int) + 1
    chunks = by_tokens(lengths, 16_384)
    assert sorted(np.concatenate(chunks)) == list(range(512))
    for rows in chunks:
        assert len(rows) * lengths[rows].max() <= 16_384 or len(rows) == 1
    assert padding_fraction(lengths, chunks) < 0.05 < padding_fraction(lengths, by_number(512, 10))


def test_a_cell_beyond_the_budget_is_alone() -> None:
    assert [rows.tolist() for rows in by_tokens([2, 50, 2], 10)] == [[0, 2], [1]]
    with pytest.raises(ValueError, match="max_tokens must be at least 1 token, got 0"):
        by_tokens([1], 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either chunk_size or chunks"),
        ({"chunk_size": 2, "chunks": [slice(0, 9)]}, "give either chunk_size or chunks"),
        ({"chunks": [slice(0, 4)]}, "each of the 9 cells once, got 4 with 4 different"),
        ({"chunks": [slice(0, 9), np.array([3])]}, "each of the 9 cells once, got 10 with 9 different"),
    ],
    ids=["neither", "both", "missing cells", "a cell twice"],
)
def test_chunks_that_are_no_partition_are_refused(options: dict[str, Any], message: str) -> None:
    module, cells = module_and_cells()
    with pytest.raises(ValueError, match=message):
        divide_and_conquer(module, [cells] * 2, coupled, **options)


@pytest.mark.parametrize(
    ("n_kept", "again"),
    [(1, [4, 4, 1, 4, 4]), (2, [4, 4, 1, 4]), (4, [4, 4]), (6, []), (99, [])],
)
def test_the_last_chunks_are_not_encoded_twice(n_kept: int, again: list[int]) -> None:
    module, cells = module_and_cells()
    encoded: list[int] = []

    def encode(chunk: Tensor) -> Tensor:
        encoded.append(len(chunk))
        return module(chunk)

    record = Record()
    divide_and_conquer(
        encode, [cells, cells], coupled, chunk_size=4, n_kept=n_kept, parameters=module.parameters(), record=record
    )
    assert encoded == [4, 4, 1, 4, 4, 1, *again]
    assert record.pass_difference == 0
    found = gradient(module)
    module.zero_grad()
    coupled(module(cells), module(cells)).backward()
    torch.testing.assert_close(found, gradient(module), rtol=1e-9, atol=1e-12)


def test_gradients_that_were_there_are_added_to() -> None:
    module, cells = module_and_cells()
    divide_and_conquer(module, [cells, cells + 1], coupled, chunk_size=4)
    once = gradient(module)
    divide_and_conquer(module, [cells, cells + 1], coupled, chunk_size=4)
    torch.testing.assert_close(gradient(module), 2 * once)


class Made:
    """Cells that exist only when they are asked for."""

    device = torch.device("cpu")

    def __init__(self, cells: Tensor) -> None:
        self.cells, self.asked = cells, 0

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, rows: Any) -> Tensor:
        self.asked += 1
        return self.cells[rows]


def test_cells_may_be_made_when_they_are_asked_for() -> None:
    module, cells = module_and_cells()
    loss = divide_and_conquer(module, [cells] * 2, coupled, chunk_size=4)
    expected = gradient(module)
    module.zero_grad()
    view = Made(cells)
    assert divide_and_conquer(module, [view] * 2, coupled, chunk_size=4) == loss
    assert torch.equal(gradient(module), expected)
    assert view.asked == 11


def step_within_autocast() -> tuple[Tensor | None, Tensor]:
    module, cells = module_and_cells()
    module, cells = module.float(), cells.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        divide_and_conquer(module, [cells, cells + 1], coupled, chunk_size=4)
        found = module[0].weight.grad
        module.zero_grad()
        coupled(module(cells), module(cells + 1)).backward()
    expected = module[0].weight.grad
    assert expected is not None
    return found, expected


def test_an_autocast_around_the_whole_step_casts_alike_in_both_passes() -> None:
    found, expected = step_within_autocast()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.01)


def test_a_cast_in_one_pass_only_is_seen_in_the_record_and_the_gradient() -> None:
    module, cells = module_and_cells()
    module, cells = module.float(), cells.float()
    record = Record()
    divide_and_conquer(module, [cells, cells + 1], coupled, chunk_size=9, record=record)
    expected = gradient(module)

    def encode(chunk: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.is_grad_enabled()):
            return module(chunk)

    module.zero_grad()
    divide_and_conquer(encode, [cells, cells + 1], coupled, chunk_size=4, record=record)
    assert record.pass_difference > 1e-4
    assert (gradient(module) - expected).norm() > 1e-3 * expected.norm()


def own_loss_of(module: nn.Module, cells: Tensor) -> Callable[[Any, Any], Tensor]:
    return lambda rows, _: module(cells[rows]).square().sum() / N_CELLS


@pytest.mark.parametrize("n_views", [1, 2])
def test_the_check_finds_no_difference_with_dropout_and_own_losses(n_views: int) -> None:
    module, cells = module_and_cells(dropout=0.3)
    views = [cells] * n_views
    options = {"chunk_size": 4, "per_chunk_loss": own_loss_of(module, cells), "parameters": module.parameters()}
    state = torch.get_rng_state()
    divide_and_conquer(module, views, lambda *z: coupled(z[0], z[-1] + 1), **options)
    plain, after = gradient(module), torch.rand(3)
    module.zero_grad()
    torch.set_rng_state(state)
    record = Record()
    options["parameters"] = module.parameters()
    divide_and_conquer(module, views, lambda *z: coupled(z[0], z[-1] + 1), check=True, record=record, **options)
    assert record.check_difference < 1e-12
    assert torch.equal(gradient(module), plain)  # the check leaves gradient and random numbers as they are
    assert torch.equal(torch.rand(3), after)


def test_the_check_finds_an_encoder_that_looks_at_the_company_of_a_cell() -> None:
    module, cells = module_and_cells()
    record = Record()

    class Drifting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = module, 0

        def forward(self, chunk: Tensor) -> Tensor:
            self.calls += 1
            return self.inner(chunk) * (1 + 0.01 * self.calls)

    divide_and_conquer(Drifting(), [cells] * 2, coupled, chunk_size=4, check=True, record=record)
    assert record.check_difference > 1e-4
    assert record.pass_difference > 1e-3


def test_check_without_parameters_is_refused() -> None:
    module, cells = module_and_cells()
    with pytest.raises(ValueError, match=r"give parameters=model.parameters\(\)"):
        divide_and_conquer(lambda chunk: module(chunk), [cells] * 2, coupled, chunk_size=4, check=True)


class _Poison(torch.autograd.Function):
    """The identity, whose gradient is not finite where a cell starts with 7."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, is_bad: Tensor) -> Tensor:
        ctx.save_for_backward(is_bad)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return torch.where(ctx.saved_tensors[0][:, None], torch.inf, gradient), None


@pytest.mark.parametrize("where", ["embedding", "own loss", "gradient", "coupled loss"])
def test_what_is_not_finite_is_named_with_its_chunk_and_cells(where: str) -> None:
    module, cells = module_and_cells()
    weights = [p.detach().clone() for p in module.parameters()]
    chunks = by_tokens([3, 9, 1, 4, 4, 8, 2, 7, 5], 12)
    if where == "embedding":
        cells[5] = torch.nan

    def encode(chunk: Tensor) -> Tensor:
        z = module(chunk)
        return _Poison.apply(z, chunk[:, 0] == cells[5, 0]) if where == "gradient" else z

    def own_loss(rows: Any, _: Any) -> Tensor:
        total = module(cells[rows]).sum()
        return total * torch.inf if where == "own loss" and 5 in np.arange(N_CELLS)[rows] else total

    def loss(first: Tensor, second: Tensor) -> Tensor:
        return coupled(first, second) * (torch.nan if where == "coupled loss" else 1)

    with pytest.raises(NonFiniteError) as caught:
        divide_and_conquer(
            encode, [cells] * 2, loss, chunks=chunks, per_chunk_loss=own_loss, parameters=module.parameters()
        )
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(p, weight) for p, weight in zip(module.parameters(), weights, strict=True))
    if where == "coupled loss":
        assert str(caught.value) == "the loss over embeddings is not finite"
        return
    chunk = next(number for number, rows in enumerate(chunks) if 5 in rows)
    assert caught.value.chunk == chunk
    assert caught.value.rows is not None
    assert caught.value.rows.tolist() == chunks[chunk].tolist()
    named = {"embedding": "an embedding", "own loss": "the loss of a chunk", "gradient": "the gradient"}[where]
    assert str(caught.value).startswith(f"{named} is not finite in chunk {chunk}, cells ")


def test_a_view_without_cells_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one or more, got \[0\]"):
        divide_and_conquer(lambda chunk: chunk, [torch.zeros(0, 2)], lambda z: z.sum(), chunk_size=2)
    assert take({"a": torch.arange(4)}, np.array([2, 0]))["a"].tolist() == [2, 0]
