"""The chunked step has the gradient of the full batch, and holds one chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS, PAD
from celllm.model.encoder import Encoder
from celllm.pretrain import divide
from celllm.pretrain.chunks import by_number, sum_over_chunks, take
from celllm.pretrain.divide import Record, divide_and_conquer
from celllm.pretrain.losses import info_nce

N_CELLS = 7
CHUNKS = [1, 3, 100]


def encoder(dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> Encoder:
    settings = EncoderSettings(width=8, depth=2, heads=2, head_width=4, dropout=dropout)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return Encoder(settings, n_genes=30, gene_embedding=torch.randn(30, 8)).to(dtype).train()


def view(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    genes = torch.randint(30, (N_CELLS, 10), generator=generator)
    bins = torch.randint(6, (N_CELLS, 10), generator=generator)
    genes[:, 0], bins[:, 0] = 30, CLS
    for row in range(N_CELLS):  # lengths 4 to 10
        genes[row, 4 + row :], bins[row, 4 + row :] = 31, PAD
    return {"genes": genes, "bins": bins}


def embedding_by(module: Encoder) -> Callable[[Mapping[str, Tensor]], Tensor]:
    return lambda cells: module.embed(cells["genes"], cells["bins"])


def coupled(first: Tensor, second: Tensor) -> Tensor:
    return info_nce(first, second, temperature=0.1)


def gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def full_batch(module: Encoder, views: list[dict[str, Tensor]], chunk_size: int = N_CELLS) -> tuple[Tensor, Tensor]:
    """Reference: all graphs kept; with dropout, the chunks draw in the same order."""
    module.zero_grad()
    encode = embedding_by(module)
    whole = [torch.cat([encode(take(v, rows)) for rows in by_number(N_CELLS, chunk_size)]) for v in views]
    loss = coupled(*whole)
    loss.backward()
    return loss.detach(), gradients(module)


def chunked(module: Encoder, views: list[dict[str, Tensor]], chunk_size: int, **options: Any) -> tuple[Tensor, Tensor]:
    module.zero_grad()
    loss = divide_and_conquer(embedding_by(module), views, coupled, chunk_size=chunk_size, **options)
    return loss, gradients(module)


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("chunk_size", CHUNKS)
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_gradient_equals_that_of_the_full_batch(chunk_size: int, dtype: torch.dtype, bar: float) -> None:
    module = encoder(dtype=dtype)
    views = [view(0), view(1)]
    loss, expected = full_batch(module, views)
    found_loss, found = chunked(module, views, chunk_size)
    assert relative_difference(found, expected) < bar
    torch.testing.assert_close(found_loss, loss)
    assert not found_loss.requires_grad


@pytest.mark.parametrize("chunk_size", CHUNKS)
def test_the_gradient_is_equal_with_dropout_too(chunk_size: int) -> None:
    module = encoder(dropout=0.3)
    views = [view(0)] * 2
    state = torch.get_rng_state()
    _, expected = full_batch(module, views, chunk_size)
    torch.set_rng_state(state)
    record = Record()
    _, found = chunked(module, views, chunk_size, record=record)
    assert relative_difference(found, expected) < 1e-9
    assert record.pass_difference == 0


def test_without_replayed_random_numbers_the_gradient_is_another_and_the_record_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def not_at_all(state: object) -> Iterator[None]:
        yield

    module = encoder(dropout=0.3)
    views = [view(0)] * 2
    state = torch.get_rng_state()
    _, expected = full_batch(module, views, 3)
    torch.set_rng_state(state)
    monkeypatch.setattr(divide, "replay", not_at_all)
    record = Record()
    _, found = chunked(module, views, 3, record=record)
    assert relative_difference(found, expected) > 0.1
    assert record.pass_difference > 0.1


def test_random_numbers_go_on_after_the_step_as_after_one_pass() -> None:
    module = encoder(dropout=0.3)
    state = torch.get_rng_state()
    chunked(module, [view(0)] * 2, 3)
    after_two_passes = torch.rand(3)
    torch.set_rng_state(state)
    with torch.no_grad():
        full_batch_views = [
            embedding_by(module)(take(view(0), rows)) for _ in range(2) for rows in by_number(N_CELLS, 3)
        ]
    assert len(full_batch_views) == 6
    assert torch.equal(torch.rand(3), after_two_passes)


def test_a_redraw_between_the_passes_would_be_seen() -> None:
    module = encoder()
    views = [view(0), view(1)]
    _, expected = full_batch(module, views)

    def redrawn_aside(first: Tensor, second: Tensor) -> Tensor:
        for layer in module.layers:
            layer.attention.features_ME = layer.attention.features_ME.clone()
        module.redraw_features(torch.Generator().manual_seed(9))
        return coupled(first, second)

    module.zero_grad()
    record = Record()
    divide_and_conquer(embedding_by(module), views, redrawn_aside, chunk_size=3, record=record)
    assert record.pass_difference > 1e-3
    assert relative_difference(gradients(module), expected) > 1e-3

    def redrawing_loss(first: Tensor, second: Tensor) -> Tensor:
        module.redraw_features(torch.Generator().manual_seed(10))
        return coupled(first, second)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):  # the kept chunk's graph knows
        divide_and_conquer(embedding_by(module), views, redrawing_loss, chunk_size=3)


@pytest.mark.parametrize("chunk_size", CHUNKS)
@pytest.mark.parametrize("is_shared", [False, True], ids=["own forward", "shared forward"])
def test_losses_of_chunks_add_up_to_those_of_the_full_batch(chunk_size: int, is_shared: bool) -> None:
    module = encoder()
    views = [view(0), view(1)]
    is_target = torch.rand(N_CELLS, 10, generator=torch.Generator().manual_seed(3)) < 0.3
    is_target &= (views[0]["bins"] != PAD) & (views[0]["bins"] != CLS)  # unevenly spread over cells
    n_targets = int(is_target.sum())
    assert len(set(is_target.sum(1).tolist())) > 2

    def own_loss(hidden: Tensor, rows: slice) -> Tensor:
        logits = module.expression_logits(hidden[is_target[rows]])
        return nn.functional.cross_entropy(logits, views[0]["bins"][rows][is_target[rows]], reduction="sum") / n_targets

    hidden = module(**{f"{name}_BL": tensor for name, tensor in views[0].items()})
    second = embedding_by(module)(views[1])
    expected_loss = coupled(hidden[:, 0], second) + own_loss(hidden, slice(0, N_CELLS))
    expected_loss.backward()
    expected = gradients(module)

    def encode(cells: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        made = module(cells["genes"], cells["bins"])
        return made[:, 0], made if is_shared else None

    def per_chunk_loss(rows: slice, made: Tensor | None) -> Tensor:
        assert (made is not None) == is_shared
        if made is None:
            made = module(views[0]["genes"][rows], views[0]["bins"][rows])
        return own_loss(made, rows)

    module.zero_grad()
    loss = divide_and_conquer(encode, views, coupled, chunk_size=chunk_size, per_chunk_loss=per_chunk_loss)
    assert relative_difference(gradients(module), expected) < 1e-9
    torch.testing.assert_close(loss, expected_loss.detach())


def test_a_mean_of_the_chunks_means_would_be_wrong() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    values = torch.tensor([1.0, 2, 3, 10])
    weighted = sum_over_chunks(lambda rows, _: (weight * values[rows]).sum() / 4, n_cells=4, chunk_size=3)
    assert weighted.item() == pytest.approx(4)
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(4)
    of_means = sum_over_chunks(lambda rows, _: (weight * values[rows]).mean() / 2, n_cells=4, chunk_size=3)
    assert of_means.item() == pytest.approx(6)


class Held:
    """Counts the cells whose graph is alive, by the tensors that autograd keeps."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def encode(self, weight: Tensor) -> Callable[[Tensor], Tensor]:
        def embed(cells: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                return cells @ weight
            return _Counted.apply(cells @ weight, self)

        return embed


class _Counted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, held: Held) -> Tensor:
        ctx.held, ctx.n_cells = held, len(x)
        held.now += len(x)
        held.most = max(held.most, held.now)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ctx.held.now -= ctx.n_cells
        return gradient, None


@pytest.mark.parametrize("n_cells", [8, 64])
def test_the_graph_held_grows_with_the_chunk_and_not_with_the_batch(n_cells: int) -> None:
    weight = torch.randn(3, 3, requires_grad=True)
    cells = torch.randn(n_cells, 3)
    held = Held()
    divide_and_conquer(held.encode(weight), [cells, cells], coupled, chunk_size=4)
    assert (held.now, held.most) == (0, 4)
    whole = Held()
    encode = whole.encode(weight)
    coupled(encode(cells), encode(cells)).backward()
    assert whole.most == 2 * n_cells


def test_a_chunks_own_loss_is_not_held_beside_the_embeddings_graph() -> None:
    weight = torch.randn(3, 3, requires_grad=True)
    cells = torch.randn(12, 3)
    held = Held()
    encode = held.encode(weight)
    divide_and_conquer(
        encode, [cells, cells], coupled, chunk_size=4, per_chunk_loss=lambda rows, _: encode(cells[rows]).sum()
    )
    assert (held.now, held.most) == (0, 4)


def test_a_cache_of_16_bits_is_kept_in_32() -> None:
    weight = torch.randn(3, 3, requires_grad=True)
    record = Record()
    divide_and_conquer(
        lambda cells: (cells @ weight).bfloat16(), [torch.randn(5, 3)] * 2, coupled, chunk_size=2, record=record
    )
    assert all(cache.dtype == torch.float32 for cache in record.embeddings)
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("views", "chunk_size", "message"),
    [
        ([torch.zeros(4, 2)], 0, "chunk_size must be at least 1 cell, got 0"),
        ([torch.zeros(4, 2), torch.zeros(5, 2)], 2, r"same number of cells, one or more, got \[4, 5\]"),
        ([], 2, "got no view"),
    ],
    ids=["no chunk", "uneven views", "no view"],
)
def test_impossible_batches_are_refused(views: list[Tensor], chunk_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        divide_and_conquer(lambda cells: cells, views, lambda *z: z[0].sum(), chunk_size=chunk_size)
