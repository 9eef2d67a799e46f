"""Cells embedded with and without what is kept of frozen layers: the same numbers, for less work."""

import numpy as np
import pytest
import torch

from celllm.bench.methods import frozen
from celllm.bench.methods.frozen import DRAWS, FrozenLayers, Kept, token_source
from celllm.model.store import load_encoder


@pytest.fixture
def pretrained(encoder_file, vocabulary):
    return load_encoder(encoder_file, vocabulary=vocabulary.digest)


@pytest.fixture
def source(pretrained, pairs):
    few = pairs.expression.multiply(pairs.expression > 0.4).tocsr()  # all of them fit
    return token_source(few, "zscore", rule=pretrained.recipe.tokens, panel=None)


@pytest.fixture
def seen(pretrained):
    """How many cells the lowest layer was shown, batch by batch."""
    batches = []
    pretrained.encoder.layers[0].register_forward_hook(lambda _module, inputs, _output: batches.append(len(inputs[0])))
    return batches


def layers_of(source, encoder, n_frozen):
    return FrozenLayers(Kept(source.values, source), encoder, n_frozen=n_frozen)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("n_frozen", [1, 2])
def test_kept_hidden_states_change_no_embedding_and_no_gradient(pretrained, source, pool, n_frozen):
    encoder = pretrained.encoder
    keeping, plain = (layers_of(source, encoder, n) for n in (n_frozen, None))
    keeping.embedded(np.arange(0, 30, 3))  # kept from a batch of other lengths
    found = []
    for embedder in (keeping, plain):
        encoder.zero_grad()
        embedded = embedder.embedded(np.array([7, 3, 12, 28]), pool=pool)
        embedded.pow(2).sum().backward()
        found.append((embedded.detach(), encoder.norm.weight.grad.clone()))

    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("limit", "wanted"), [(2**30, [3, 1]), (100, [3, 2, 3])])
def test_frozen_layers_are_run_once_a_line_and_nothing_is_kept_beyond_the_limit(
    pretrained, source, seen, monkeypatch, limit, wanted
):
    monkeypatch.setattr(frozen, "MAX_KEPT_BYTES", limit)
    embedder = layers_of(source, pretrained.encoder, 1)
    for rows in ([0, 1, 2], [2, 1], [1, 5, 0]):
        embedder.embedded(np.array(rows))

    assert seen == wanted


def test_a_cell_that_is_cut_at_random_shows_a_few_subsets_each_run_once(pretrained, pairs, seen):
    long = type(pairs.expression)(np.abs(pairs.expression.toarray()) + 0.01)
    source = token_source(long, "zscore", rule=pretrained.recipe.tokens, panel=None)
    layers = layers_of(source, pretrained.encoder, 1)
    first, again, second = (layers.embedded(np.arange(4), draw=draw) for draw in (0, 0, 1))
    generator = np.random.default_rng(0)
    drawn = [layers.embedded(np.arange(1), generator) for _ in range(30)]

    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, second, rtol=1e-3)
    assert len({tuple(one[0].tolist()) for one in drawn}) == DRAWS
    assert sum(seen) == 2 * 4 + DRAWS - 2
    plain = layers_of(source, pretrained.encoder, None)
    torch.testing.assert_close(plain.embedded(np.arange(4), draw=1), second, atol=1e-5, rtol=1e-4)
