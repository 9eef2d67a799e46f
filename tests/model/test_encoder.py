"""The encoder has the paper's size, and a cell's embedding depends on nothing but the cell."""

from __future__ import annotations

import pytest
import torch

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS, PAD
from celllm.model.encoder import Encoder, evaluating

N_GENES = 50
SETTINGS = EncoderSettings(width=16, depth=2, heads=2, head_width=8, dropout=0.1)


KINDS = [
    *({"attention": attention} for attention in ("favor", "softmax", "none")),
    {"attention": "none", "expression": "value", "pooling": "mean"},
    {"attention": "softmax", "expression": "value", "cls": "mean_of_tokens", "pooling": "both"},
]


def encoder(*, seed: int = 0, **choices: str) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        table = torch.randn(N_GENES, 16)
        return Encoder(SETTINGS.model_copy(update=choices), n_genes=N_GENES, gene_embedding=table)


def cells(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    genes = torch.full((len(lengths), max(lengths)), N_GENES + 1)
    bins = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        genes[row, :length] = torch.randint(N_GENES, (length,), generator=generator)
        bins[row, :length] = torch.randint(6, (length,), generator=generator)
    genes[:, 0], bins[:, 0] = N_GENES, CLS
    return genes, bins, torch.rand(genes.shape, generator=generator) * (bins < CLS)


@pytest.mark.parametrize("choices", KINDS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_an_embedding_depends_neither_on_padding_nor_on_the_batch_nor_on_position(
    choices: dict[str, str], dtype: torch.dtype, tolerance: float
) -> None:
    made = encoder(**choices).to(dtype).eval()
    tokens = cells([12, 30, 5])
    with torch.no_grad():
        alone = torch.cat([made.embed(*(part[i : i + 1, :n] for part in tokens)) for i, n in enumerate([12, 30, 5])])
        together = made.embed(*tokens)
        reordered = made.embed(*(part.flip(0) for part in tokens)).flip(0)
    assert together.shape[1] == made.embedding_width
    torch.testing.assert_close(together, alone, atol=tolerance, rtol=0)
    torch.testing.assert_close(reordered, alone, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("n_layers", "lengths"), [(0, [12, 30, 5]), (1, [12, 30, 5]), (1, [9, 9]), (2, [9, 9])])
@pytest.mark.parametrize("choices", KINDS, ids=str)
def test_a_pass_in_two_parts_or_for_some_tokens_gives_the_numbers_of_the_whole(
    n_layers: int, lengths: list[int], choices: dict[str, str]
) -> None:
    made = encoder(**choices).double().eval()
    genes, bins, values = cells(lengths)
    whole = made(genes, bins, values)
    below = made.below(genes, bins, values, n_layers=n_layers)
    assert torch.equal(made.above(below, bins, n_layers=n_layers), whole)
    positions = torch.tensor([[0, 3, 8], [0, 8, 1], [4, 0, 0]])[: len(genes)]
    expected = whole.gather(1, positions[:, :, None].expand(-1, -1, 16))
    for found in (
        made.at(genes, bins, positions, values),
        made.above(below, bins, n_layers=n_layers, positions_BQ=positions),
    ):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    expected = made.pooled(whole, bins)
    assert choices.get("pooling", "cls") == "mean" or torch.equal(expected[:, :16], whole[:, 0])
    torch.testing.assert_close(made.embed(genes, bins, values), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("attention", ["favor", "softmax", "none"])
def test_a_layer_that_starts_at_zero_changes_nothing_and_learns(attention: str) -> None:
    made = encoder(attention=attention, cls="mean_of_tokens", residual_start="zero").eval()
    tokens = cells([12, 30])
    start = made.embedding(*tokens)[:, 0]
    torch.testing.assert_close(made.embed(*tokens), torch.nn.functional.layer_norm(start, [16]))
    made.embed(*tokens)[:, 0].sum().backward()
    for layer in made.layers:
        assert layer.feedforward[2].weight.grad.any()
        assert layer.attention is None or layer.attention.to_out.weight.grad.any()


def test_a_given_gene_embedding_is_frozen_and_a_learned_one_gets_a_gradient_but_for_pad() -> None:
    weight = encoder().embedding.genes.weight
    assert not weight.requires_grad
    assert torch.equal(weight[N_GENES], torch.ones(16))  # CLS
    assert torch.equal(weight[N_GENES + 1], torch.zeros(16))
    with pytest.raises(ValueError, match=r"must be 50 x 16, got \(49, 16\)"):
        Encoder(SETTINGS, n_genes=N_GENES, gene_embedding=torch.zeros(49, 16))
    made = Encoder(SETTINGS, n_genes=N_GENES, gene_embedding=None)
    made(*cells([12, 5])).sum().backward()
    gradient = made.embedding.genes.weight.grad
    assert gradient is not None
    assert gradient[N_GENES].abs().sum() > 0
    assert gradient[N_GENES + 1].abs().sum() == 0


def test_dropout_makes_two_views_differ_in_training_and_not_in_evaluation() -> None:
    made = encoder().train()
    genes, bins, _ = cells([12])
    assert not torch.equal(made.embed(genes, bins), made.embed(genes, bins))
    with evaluating(made):
        assert torch.equal(made.embed(genes, bins), made.embed(genes, bins))
    assert made.training


def test_only_the_layers_asked_for_are_trained() -> None:
    made = encoder()
    made.train_only([-1])
    made(*cells([12])).sum().backward()
    trained = {
        name.rsplit(".", 1)[0].split(".attention")[0] for name, p in made.named_parameters() if p.grad is not None
    }
    assert all(name.startswith(("layers.1", "norm")) for name in trained)
    assert any(name.startswith("layers.1") for name in trained)
