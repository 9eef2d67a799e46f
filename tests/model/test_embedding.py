"""Tokens carry expression as a bin or as a value, and CLS may start from the mean of what is visible."""

from __future__ import annotations

import pytest
import torch

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS, MASK, PAD
from celllm.model.embedding import TokenEmbedding, mean_of_genes

N_GENES = 9
GENES = torch.tensor([[N_GENES, 1, 4, 7, 2], [N_GENES, 3, 3, N_GENES + 1, N_GENES + 1]])
BINS = torch.tensor([[CLS, 0, 3, MASK, 5], [CLS, 2, 1, PAD, PAD]])
VALUES = torch.tensor([[0, 0.5, 3.25, 9.0, 7.5], [0, 2.5, 1.5, 0, 0]])


def embedding(**choices: str) -> TokenEmbedding:
    settings = EncoderSettings(width=6, depth=1, heads=1, head_width=4, **choices)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return TokenEmbedding(settings, N_GENES, gene_embedding_GD=None)


@pytest.mark.parametrize("expression", ["bins", "value"])
def test_a_token_is_its_gene_and_its_expression_and_a_masked_one_has_no_value(expression: str) -> None:
    made = embedding(expression=expression)
    genes, kinds = made.genes.weight, made.expression.weight
    found = made(GENES, BINS, VALUES)
    visible = genes[4] + kinds[3] if expression == "bins" else 3.25 * genes[4]
    torch.testing.assert_close(found[0, 2], visible)
    torch.testing.assert_close(found[0, 3], genes[7] + kinds[MASK])
    torch.testing.assert_close(found[0, 0], genes[N_GENES] + kinds[CLS])
    if expression == "value":
        with pytest.raises(ValueError, match="needs the values"):
            made(GENES, BINS)


@pytest.mark.parametrize("attention", ["softmax", "none"])
@pytest.mark.parametrize("expression", ["bins", "value"])
def test_cls_starts_as_the_normalised_mean_of_visible_genes(expression: str, attention: str) -> None:
    made = embedding(expression=expression, cls="mean_of_tokens", attention=attention)
    plain = embedding(expression=expression)(GENES, BINS, VALUES)
    found = made(GENES, BINS, VALUES)
    for cell, seen in enumerate([[1, 2, 4], [1, 2]]):
        mean = torch.nn.functional.layer_norm(plain[cell, seen].mean(0), [6], eps=1e-8)
        torch.testing.assert_close(found[cell, 0], mean)
        others = plain[cell, 1:] + mean if attention == "none" else plain[cell, 1:]
        torch.testing.assert_close(found[cell, 1:], others)


def test_asked_for_places_are_those_of_the_whole_and_a_cell_without_genes_starts_from_zeros() -> None:
    made, positions = embedding(attention="none"), torch.tensor([[0, 3, 1], [2, 0, 0]])
    expected = made(GENES, BINS).gather(1, positions[:, :, None].expand(-1, -1, 6))
    torch.testing.assert_close(made(GENES, BINS, positions_BQ=positions), expected)
    assert not made(torch.tensor([[N_GENES, N_GENES + 1]]), torch.tensor([[CLS, PAD]]))[0, 0].any()


def test_the_mean_of_genes_leaves_out_cls_and_padding_and_counts_bin_0_and_hidden_ones() -> None:
    bins = torch.tensor([[CLS, 0, 3, MASK, PAD], [CLS, 2, PAD, PAD, PAD], [CLS, PAD, PAD, PAD, PAD]])
    hidden = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    found = mean_of_genes(hidden, bins)
    torch.testing.assert_close(found[0], hidden[0, 1:4].mean(0))
    torch.testing.assert_close(found[1], hidden[1, 1])
    assert not found[2].any()  # a cell without genes


def test_more_padding_changes_no_mean_whatever_stands_there() -> None:
    bins = torch.tensor([[CLS, 0, 3, 5]])
    hidden = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    longer = torch.cat([hidden, torch.full((1, 3, 4), torch.nan)], dim=1)
    found = mean_of_genes(longer, torch.cat([bins, torch.full((1, 3), PAD)], dim=1))
    torch.testing.assert_close(found, mean_of_genes(hidden, bins), rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), hidden)
    torch.testing.assert_close(gradient[0, :, 0], torch.tensor([0, 1 / 3, 1 / 3, 1 / 3]))


def test_short_floats_are_summed_in_float32() -> None:
    hidden = torch.full((1, 1001, 1), 1.0, dtype=torch.bfloat16)
    hidden[:, 1] = 2.0
    found = mean_of_genes(hidden, torch.tensor([[CLS] + [1] * 1000]))
    assert found.item() == pytest.approx(1.001, rel=1e-6)  # bfloat16 knows no such number
