"""Attention `released` has the defects that ours has not: see test_encoder.py for the invariances it breaks."""

from __future__ import annotations

import torch

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS, PAD
from celllm.model.encoder import Encoder
from celllm.model.released import released_features

N_GENES = 200
SETTINGS = EncoderSettings(width=32, depth=2, heads=2, head_width=16, dropout=0.0, attention="released")


@torch.no_grad()
def encoder(*, padded_length: int | None = None) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        table = torch.randn(N_GENES, 32)
        made = Encoder(SETTINGS, n_genes=N_GENES, gene_embedding=table, padded_length=padded_length)
    return made.double().eval().requires_grad_(False)


def cells(*lengths: int, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    genes = torch.full((len(lengths), max(lengths)), N_GENES + 1)
    bins = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(seed + row)
        genes[row, :length] = torch.randperm(N_GENES, generator=generator)[:length]
        bins[row, :length] = torch.randint(6, (length,), generator=generator)
    genes[:, 0], bins[:, 0] = N_GENES, CLS
    return genes, bins


def lengthened(genes: torch.Tensor, bins: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Append n PAD to each cell."""
    return tuple(torch.nn.functional.pad(x, (0, n), value=v) for x, v in ((genes, N_GENES + 1), (bins, PAD)))


def test_padding_and_the_other_cells_of_the_batch_move_cls() -> None:
    made = encoder()
    one = cells(150)
    assert (made.embed(*lengthened(*one, 150)) - made.embed(*one)).abs().max() > 0.1
    genes, bins = cells(60, 60, 60, 60)
    assert (made.embed(genes, bins)[:1] - made.embed(genes[:1], bins[:1])).abs().max() > 1e-6


def test_a_padded_length_makes_the_padding_of_the_batch_irrelevant() -> None:
    made, one = encoder(padded_length=300), cells(20)
    found = made(*lengthened(*one, 50))
    assert found.shape == (1, 70, 32)
    torch.testing.assert_close(found[:, :20], made(*one), atol=1e-12, rtol=0)
    torch.testing.assert_close(found[:, :20], encoder()(*lengthened(*one, 280))[:, :20], atol=1e-12, rtol=0)


def test_hidden_states_of_padding_are_zeros_and_places_asked_for_are_those_of_the_whole() -> None:
    made = encoder(padded_length=64)
    genes, bins = cells(30, 12)
    whole = made(genes, bins)
    assert whole[1, 12:].abs().max() == 0
    positions = torch.tensor([[0, 3, 29], [0, 11, 20]])
    expected = whole.gather(1, positions[:, :, None].expand(-1, -1, 32))
    torch.testing.assert_close(made.at(genes, bins, positions), expected, atol=1e-12, rtol=0)


def test_features_are_orthogonal_within_a_block_and_redrawn_only_when_told() -> None:
    rows = torch.nn.functional.normalize(released_features(40, 16, torch.Generator().manual_seed(0)), dim=-1)
    torch.testing.assert_close(rows[16:32] @ rows[16:32].t(), torch.eye(16), atol=1e-5, rtol=0)
    made = encoder().train()
    before = made.layers[0].attention.features_ME.clone()
    made(*cells(20))
    assert torch.equal(made.layers[0].attention.features_ME, before)
    made.redraw_features(torch.Generator().manual_seed(4))
    expected = released_features(len(before), 16, torch.Generator().manual_seed(4))
    assert torch.equal(made.layers[0].attention.features_ME.float(), expected)
