"""Encoders survive the disk, and `fresh` forgets what pretraining taught."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.model.encoder import Encoder
from celllm.model.store import fresh, load_encoder, save_encoder

GENES = torch.tensor([[20, 3, 5, 7]])
BINS = torch.tensor([[6, 1, 2, 0]])


def recipe(method: str = "random") -> Recipe:
    return recipes.parse(
        {
            "tokens": {"max_length": 16},
            "genes": {"method": method},
            "encoder": {"width": 8, "depth": 1, "heads": 2, "head_width": 4},
            "training": {"batch_cells": 4, "chunk_tokens": 64, "steps": 1},
        },
        file="recipe",
    )


def saved(path: Path, method: str = "random") -> Encoder:
    table = None if method == "learned" else torch.randn(20, 8)
    encoder = Encoder(recipe(method).encoder, n_genes=20, gene_embedding=table).eval()
    save_encoder(path, encoder, recipe=recipe(method), vocabulary="abc", panel=[3, 5], stamp={"stage": "x"})
    return encoder


@pytest.mark.parametrize("method", ["random", "learned"])
def test_a_loaded_encoder_gives_the_same_numbers(tmp_path: Path, method: str) -> None:
    encoder = saved(tmp_path / "e.safetensors", method)
    loaded = load_encoder(tmp_path / "e.safetensors", vocabulary="abc")
    assert torch.equal(loaded.encoder(GENES, BINS), encoder(GENES, BINS))
    assert loaded.recipe == recipe(method)
    assert loaded.panel is not None
    assert loaded.panel.tolist() == [3, 5]
    assert len(loaded.digest) == 64
    trained = {name for name, parameter in loaded.encoder.named_parameters() if parameter.requires_grad}
    assert ("embedding.genes.weight" in trained) == (method == "learned")
    assert "to_expression.weight" in trained


def test_a_fresh_encoder_keeps_the_frozen_table_and_nothing_else(tmp_path: Path) -> None:
    saved(tmp_path / "e.safetensors")
    old = load_encoder(tmp_path / "e.safetensors", vocabulary=None)
    new = fresh(old, 1)
    assert torch.equal(new.encoder.embedding.genes.weight, old.encoder.embedding.genes.weight)
    assert not new.encoder.embedding.genes.weight.requires_grad
    for name, tensor in new.encoder.named_parameters():
        if tensor.ndim == 2 and name != "embedding.genes.weight":
            assert not torch.equal(tensor, old.encoder.get_parameter(name)), name
    again, other = fresh(old, 1), fresh(old, 2)
    assert torch.equal(again.encoder(GENES, BINS), new.encoder(GENES, BINS))
    assert not torch.equal(other.encoder(GENES, BINS), new.encoder(GENES, BINS))


def test_a_fresh_encoder_forgets_a_learned_table(tmp_path: Path) -> None:
    saved(tmp_path / "e.safetensors", "learned")
    old = load_encoder(tmp_path / "e.safetensors", vocabulary=None)
    assert not torch.equal(fresh(old, 1).encoder.embedding.genes.weight[:20], old.encoder.embedding.genes.weight[:20])


def test_an_encoder_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "e.safetensors")
    with pytest.raises(VocabularyMismatch, match="pretrain again"):
        load_encoder(tmp_path / "e.safetensors", vocabulary="xyz")


def test_weights_that_do_not_fit_the_recipe_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    wide = recipe().model_copy(update={"encoder": recipe().encoder.model_copy(update={"width": 12})})
    encoder = Encoder(recipe().encoder, n_genes=20, gene_embedding=None)
    save_encoder(path, encoder, recipe=wide, vocabulary="abc")
    with pytest.raises(InputError, match="weights"):
        load_encoder(path, vocabulary=None)
