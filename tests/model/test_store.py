"""Encoders survive the disk, files that are none are refused, and `fresh` forgets what pretraining taught."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tests.recipes import tiny

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.config.recipe import Recipe
from celllm.model.encoder import Encoder
from celllm.model.store import fresh, load_encoder, save_encoder

GENES = torch.tensor([[20, 3, 5, 7]])
BINS = torch.tensor([[6, 1, 2, 0]])


def recipe(trainable: str = "frozen", *, width: int = 8) -> Recipe:
    return tiny(genes={"trainable": trainable}, encoder={"width": width, "depth": 1, "head_width": 4})


def saved(path: Path, trainable: str = "frozen", *, panel: list[int] | None = None) -> Encoder:
    encoder = Encoder(recipe().encoder, n_genes=20, gene_embedding=torch.randn(20, 8)).eval()
    first_genes_GD = encoder.embedding.genes.weight[:20].numpy() + 1 if trainable == "trained" else None
    more = {"panel": panel, "stamp": {"stage": "x"}, "first_genes_GD": first_genes_GD}
    save_encoder(path, encoder, recipe=recipe(trainable), vocabulary="abc", **more)
    return encoder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.safetensors"


@pytest.mark.parametrize(("trainable", "panel"), [("frozen", [3, 5]), ("trained", None)])
def test_a_loaded_encoder_gives_the_same_numbers(path: Path, trainable: str, panel: list[int] | None) -> None:
    encoder = saved(path, trainable, panel=panel)
    loaded = load_encoder(path, vocabulary="abc")
    assert torch.equal(loaded.encoder(GENES, BINS), encoder(GENES, BINS))
    assert (loaded.recipe, loaded.vocabulary, len(loaded.digest)) == (recipe(trainable), "abc", 64)
    assert (None if loaded.panel is None else loaded.panel.tolist()) == panel
    trained = {name for name, parameter in loaded.encoder.named_parameters() if parameter.requires_grad}
    assert ("embedding.genes.weight" in trained) == (trainable == "trained")
    assert "to_expression.weight" in trained


def test_equal_encoders_are_equal_files(path: Path) -> None:
    save_encoder(path.with_name("a"), saved(path), recipe=recipe(), vocabulary="abc", stamp={"stage": "x"})
    assert path.with_name("a").read_bytes() == path.read_bytes()


def test_another_vocabulary_and_a_file_of_another_kind_are_refused(path: Path) -> None:
    saved(path)
    with pytest.raises(VocabularyMismatch, match=r"pretrain again(?s:.*)snakemake --forcerun pretrain"):
        load_encoder(path, vocabulary="xyz")
    path.write_text(json.dumps({}))
    with pytest.raises(InputError, match="no safetensors file"):
        load_encoder(path)
    save_file({"genes": np.zeros(2, np.float32)}, str(path), metadata={"celllm": '{"format": "celllm-genes-1"}'})
    with pytest.raises(InputError, match="celllm-genes-1"):
        load_encoder(path)
    header = {"format": "celllm-encoder-1", "vocabulary": "abc", "panel": None, "recipe": "none"}
    save_file({"genes": np.zeros(2, np.float32)}, str(path), metadata={"celllm": json.dumps(header)})
    with pytest.raises(InputError, match="values together"):
        load_encoder(path)
    encoder = Encoder(recipe().encoder, n_genes=20, gene_embedding=None)
    save_encoder(path, encoder, recipe=recipe(width=12), vocabulary="abc")
    with pytest.raises(InputError, match="weights"):
        load_encoder(path)


def test_a_write_that_fails_leaves_the_old_file(path: Path) -> None:
    encoder = saved(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_encoder(path, encoder, recipe=recipe(), vocabulary="abc", stamp={"bad": {1, 2}})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("trainable", ["frozen", "trained"])
def test_a_fresh_encoder_has_the_gene_embedding_that_pretraining_started_from_and_nothing_else(
    path: Path, trainable: str
) -> None:
    saved(path, trainable)
    old = load_encoder(path)
    new, again, other = (fresh(old, seed).encoder for seed in (1, 1, 2))
    assert new.embedding.genes.weight.requires_grad == (trainable == "trained")
    moved = 1 if trainable == "trained" else 0
    torch.testing.assert_close(new.embedding.genes.weight[:20], old.encoder.embedding.genes.weight[:20] + moved)
    for name, tensor in new.named_parameters():
        if tensor.ndim == 2 and name != "embedding.genes.weight":
            assert not torch.equal(tensor, old.encoder.get_parameter(name)), name
    assert torch.equal(again(GENES, BINS), new(GENES, BINS))
    assert not torch.equal(other(GENES, BINS), new(GENES, BINS))
