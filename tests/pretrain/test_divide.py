"""The chunked step has the gradient of the full batch, holds one chunk, and names what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS, PAD
from celllm.model.encoder import Encoder
from celllm.pretrain import divide
from celllm.pretrain.chunks import NonFiniteError, by_number, by_tokens, padding_fraction, take
from celllm.pretrain.divide import Record, divide_and_conquer
from celllm.pretrain.losses import info_nce

N_CELLS = 7
LENGTHS = [4, 10, 5, 9, 6, 8, 7]
CHUNKS: list[dict[str, Any]] = [{"chunk_size": n} for n in (1, 3, 100)] + [
    {"chunks": by_tokens(LENGTHS, n)} for n in (1, 20)
]


def coupled(first: Tensor, second: Tensor) -> Tensor:
    return info_nce(first, second, temperature=0.1)


def gradient(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def assert_near(found: Tensor, expected: Tensor, bar: float = 1e-9) -> None:
    assert (found - expected).norm() < bar * expected.norm()


class Embedding(nn.Module):
    """An encoder whose call embeds cells; its hidden states come along if they are shared."""

    def __init__(self, dropout: float = 0.0, *, is_shared: bool = False) -> None:
        super().__init__()
        settings = EncoderSettings(width=8, depth=2, heads=2, head_width=4, dropout=dropout)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.encoder = Encoder(settings, n_genes=30, gene_embedding=torch.randn(30, 8)).double()
        self.is_shared = is_shared

    def forward(self, cells: dict[str, Tensor]) -> Any:
        hidden = self.encoder(cells["genes"], cells["bins"])
        return (hidden[:, 0], hidden) if self.is_shared else hidden[:, 0]


def view(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    genes = torch.randint(30, (N_CELLS, 10), generator=generator)
    bins = torch.randint(6, (N_CELLS, 10), generator=generator)
    genes[:, 0], bins[:, 0] = 30, CLS
    for row, length in enumerate(LENGTHS):
        genes[row, length:], bins[row, length:] = 31, PAD
    return {"genes": genes, "bins": bins}


VIEWS = [view(0), view(1)]


def linear(dropout: float = 0.0) -> tuple[nn.Module, Tensor]:
    """A small module and cells for it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 4)).double()
        return module, torch.randn(N_CELLS, 5, dtype=torch.float64)


@pytest.mark.parametrize("options", CHUNKS, ids=str)
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_gradient_equals_that_of_the_full_batch(options: dict[str, Any], dtype: torch.dtype, bar: float) -> None:
    module = Embedding().to(dtype)
    expected_loss = coupled(*map(module, VIEWS))
    expected_loss.backward()
    expected, record = gradient(module), Record()
    module.zero_grad()
    loss = divide_and_conquer(module, VIEWS, coupled, record=record, **options)
    assert_near(gradient(module), expected, bar)
    torch.testing.assert_close(loss, expected_loss.detach())
    assert not loss.requires_grad
    torch.testing.assert_close(record.embeddings[0], module(VIEWS[0]).detach())  # in the order of the cells
    divide_and_conquer(module, VIEWS, coupled, **options)
    assert_near(gradient(module), 2 * expected, bar)  # gradients that were there are added to


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_with_dropout_both_passes_draw_the_same_and_the_step_as_much_as_one(chunk_size: int) -> None:
    module, state = Embedding(dropout=0.3), torch.get_rng_state()
    whole = [torch.cat([module(take(v, rows)) for rows in by_number(N_CELLS, chunk_size)]) for v in VIEWS]
    after = torch.rand(3)
    coupled(*whole).backward()
    expected, record = gradient(module), Record()
    module.zero_grad()
    torch.set_rng_state(state)
    divide_and_conquer(module, VIEWS, coupled, chunk_size=chunk_size, record=record)
    assert torch.equal(torch.rand(3), after)
    assert_near(gradient(module), expected)
    assert record.pass_difference == 0


@contextmanager
def not_replayed(_: object) -> Iterator[None]:
    yield


@pytest.mark.parametrize("kind", ["no replay", "redraw"])
def test_passes_that_differ_are_in_the_record(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    module, record = Embedding(dropout=0.3 if kind == "no replay" else 0.0), Record()

    def loss(first: Tensor, second: Tensor) -> Tensor:
        if kind == "redraw":
            for layer in module.encoder.layers:
                layer.attention.features_ME = layer.attention.features_ME.clone()
            module.encoder.redraw_features(torch.Generator().manual_seed(9))
        return coupled(first, second)

    if kind == "no replay":
        monkeypatch.setattr(divide, "replay", not_replayed)
    divide_and_conquer(module, VIEWS, loss, chunk_size=3, record=record)
    assert record.pass_difference > 1e-4


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
@pytest.mark.parametrize("is_shared", [False, True], ids=["own forward", "shared forward"])
def test_losses_of_chunks_add_up_to_those_of_the_full_batch(chunk_size: int, is_shared: bool) -> None:
    module, bins = Embedding(is_shared=is_shared), VIEWS[0]["bins"]
    is_target = torch.rand(N_CELLS, 10, generator=torch.Generator().manual_seed(3)) < 0.3
    is_target &= (bins != PAD) & (bins != CLS)  # unevenly spread over cells

    def own_loss(rows: Any, hidden: Tensor | None) -> Tensor:
        assert (hidden is not None) == is_shared
        hidden = module.encoder(VIEWS[0]["genes"][rows], bins[rows]) if hidden is None else hidden
        logits = module.encoder.expression_logits(hidden[is_target[rows]])
        return nn.functional.cross_entropy(logits, bins[rows][is_target[rows]], reduction="sum") / is_target.sum()

    first, second = (module(one) for one in VIEWS)
    hidden = first[1] if is_shared else None
    expected = coupled(first[0], second[0]) if is_shared else coupled(first, second)
    expected = expected + own_loss(slice(0, N_CELLS), hidden)
    expected.backward()
    expected_gradient = gradient(module)
    module.zero_grad()
    loss = divide_and_conquer(module, VIEWS, coupled, chunk_size=chunk_size, per_chunk_loss=own_loss)
    assert_near(gradient(module), expected_gradient)
    torch.testing.assert_close(loss, expected.detach())


class Held(torch.autograd.Function):
    """Counts the cells whose graph is alive, by the tensors that autograd keeps."""

    now = most = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.n_cells = len(x)
        Held.now += len(x)
        Held.most = max(Held.most, Held.now)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        Held.now -= ctx.n_cells
        return gradient


@pytest.mark.parametrize(("n_cells", "has_own_loss"), [(8, False), (64, False), (12, True)])
def test_the_graph_held_grows_with_the_chunk_and_not_with_the_batch(n_cells: int, has_own_loss: bool) -> None:
    weight, cells = torch.randn(3, 3, requires_grad=True), torch.randn(n_cells, 3)
    Held.now = Held.most = 0

    def encode(chunk: Tensor) -> Tensor:
        return Held.apply(chunk @ weight) if torch.is_grad_enabled() else chunk @ weight

    own_loss = (lambda rows, _: encode(cells[rows]).sum()) if has_own_loss else None
    divide_and_conquer(encode, [cells, cells], coupled, chunk_size=4, per_chunk_loss=own_loss)
    assert (Held.now, Held.most) == (0, 4)
    coupled(encode(cells), encode(cells)).backward()
    assert Held.most == 2 * n_cells


def test_a_cache_of_16_bits_is_kept_in_32() -> None:
    weight, record = torch.randn(3, 3, requires_grad=True), Record()
    cells = [torch.randn(5, 3)] * 2
    divide_and_conquer(lambda chunk: (chunk @ weight).bfloat16(), cells, coupled, chunk_size=2, record=record)
    assert all(cache.dtype == torch.float32 for cache in record.embeddings)
    assert weight.grad is not None


def test_chunks_by_tokens_keep_to_the_budget_and_hold_every_cell_once() -> None:
    lengths = np.random.default_rng(0).lognormal(7.2, 0.55, 512).astype(int) + 1
    chunks = by_tokens(lengths, 16_384)
    assert sorted(np.concatenate(chunks)) == list(range(512))
    for rows in chunks:
        assert len(rows) * lengths[rows].max() <= 16_384 or len(rows) == 1
    assert padding_fraction(lengths, chunks) < 0.05 < padding_fraction(lengths, by_number(512, 10))
    assert [rows.tolist() for rows in by_tokens([2, 50, 2], 10)] == [[0, 2], [1]]  # beyond the budget: alone
    with pytest.raises(ValueError, match="max_tokens must be at least 1 token, got 0"):
        by_tokens([1], 0)


FOUR = torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("views", "options", "message"),
    [
        ([FOUR], {"chunk_size": 0}, "chunk_size must be at least 1 cell, got 0"),
        ([FOUR, torch.zeros(5, 2)], {"chunk_size": 2}, r"same number of cells, one or more, got \[4, 5\]"),
        ([], {"chunk_size": 2}, "got no view"),
        ([torch.zeros(0, 2)], {"chunk_size": 2}, r"one or more, got \[0\]"),
        ([FOUR], {}, "give either chunk_size or chunks"),
        ([FOUR], {"chunk_size": 2, "chunks": [slice(0, 4)]}, "give either chunk_size or chunks"),
        ([FOUR], {"chunks": [slice(0, 3)]}, "each of the 4 cells once, got 3 with 3 different"),
        ([FOUR], {"chunks": [slice(0, 4), np.array([3])]}, "each of the 4 cells once, got 5 with 4 different"),
        ([FOUR], {"chunk_size": 2, "check": True}, r"give parameters=model.parameters\(\)"),
    ],
)
def test_impossible_batches_are_refused(views: list[Tensor], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        divide_and_conquer(lambda cells: cells, views, lambda *z: z[0].sum(), **options)


@pytest.mark.parametrize(("n_kept", "again"), [(1, [3, 3, 1, 3, 3]), (2, [3, 3, 1, 3]), (4, [3, 3]), (99, [])])
def test_the_last_chunks_are_not_encoded_twice(n_kept: int, again: list[int]) -> None:
    module, cells = linear()
    encoded: list[int] = []

    def encode(chunk: Tensor) -> Tensor:
        encoded.append(len(chunk))
        return module(chunk)

    parameters = list(module.parameters())
    divide_and_conquer(encode, [cells] * 2, coupled, chunk_size=3, n_kept=n_kept, parameters=parameters)
    assert encoded == [3, 3, 1, 3, 3, 1, *again]
    found = gradient(module)
    module.zero_grad()
    coupled(module(cells), module(cells)).backward()
    assert_near(found, gradient(module))


@pytest.mark.parametrize("n_views", [1, 2])
def test_the_check_finds_no_difference_with_dropout_and_own_losses_and_changes_nothing(n_views: int) -> None:
    module, cells = linear(dropout=0.3)
    found, record, state = [], Record(), torch.get_rng_state()
    for check in (False, True):
        module.zero_grad()
        torch.set_rng_state(state)
        divide_and_conquer(
            module,
            [cells] * n_views,
            lambda *z: coupled(z[0], z[-1] + 1),
            chunk_size=3,
            per_chunk_loss=lambda rows, _: module(cells[rows]).square().sum() / N_CELLS,
            check=check,
            record=record,
        )
        found.append((gradient(module), torch.rand(3)))
    assert record.check_difference < 1e-12
    for plain, checked in zip(*found, strict=True):
        assert torch.equal(plain, checked)


class Poison(torch.autograd.Function):
    """The identity, whose gradient is not finite for some cells."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, is_bad: Tensor) -> Tensor:
        ctx.save_for_backward(is_bad)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return torch.where(ctx.saved_tensors[0][:, None], torch.inf, gradient), None


@pytest.mark.parametrize("what", ["an embedding", "the loss of a chunk", "the gradient", "the loss over embeddings"])
def test_what_is_not_finite_is_named_with_its_chunk_and_cells(what: str) -> None:
    module, cells = linear()
    weights = [p.detach().clone() for p in module.parameters()]
    chunks = by_tokens(LENGTHS, 20)
    if what == "an embedding":
        cells[5] = torch.nan

    def encode(chunk: Tensor) -> Tensor:
        return Poison.apply(module(chunk), chunk[:, 0] == cells[5, 0]) if what == "the gradient" else module(chunk)

    def own_loss(rows: Any, _: Any) -> Tensor:
        is_bad = what == "the loss of a chunk" and 5 in np.arange(N_CELLS)[rows]
        return module(cells[rows]).sum() * (torch.inf if is_bad else 1)

    def loss(first: Tensor, second: Tensor) -> Tensor:
        return coupled(first, second) * (torch.nan if what == "the loss over embeddings" else 1)

    options: dict[str, Any] = {"chunks": chunks, "per_chunk_loss": own_loss, "parameters": module.parameters()}
    with pytest.raises(NonFiniteError, match=f"^{what} is not finite") as caught:
        divide_and_conquer(encode, [cells] * 2, loss, **options)
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(p, weight) for p, weight in zip(module.parameters(), weights, strict=True))
    if what != "the loss over embeddings":
        assert 5 in chunks[caught.value.chunk]
        assert caught.value.rows.tolist() == chunks[caught.value.chunk].tolist()
        assert f"in chunk {caught.value.chunk}, cells " in str(caught.value)
