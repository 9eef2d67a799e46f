"""Pretrained encoders as files: load, save, and the same architecture without the pretraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celllm.base import provenance
from celllm.base.errors import InputError
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.model import format as encoder_file
from celllm.model.encoder import Encoder
from celllm.model.format import EncoderFile


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder and what one needs to feed it.

    Parameters
    ----------
    encoder
        On the CPU, in evaluation mode; its gene embedding is frozen unless the recipe learned it.
    recipe
        How it was made; `recipe.tokens` says how cells become its tokens.
    vocabulary
        Digest of the gene vocabulary.
    panel
        Layout `full`: gene indices of the panel, in order; None for layout `nonzero`.
    digest
        Sha256 of the file.
    """

    encoder: Encoder
    recipe: Recipe
    vocabulary: str
    panel: np.ndarray | None
    digest: str


def load_encoder(path: Path | str, *, vocabulary: str | None) -> PretrainedEncoder:
    """Load a pretrained encoder.

    Parameters
    ----------
    path
        The file.
    vocabulary
        Digest the encoder must have been made for; None: any.

    Raises
    ------
    InputError
        If the file is no encoder, or its weights do not fit its own recipe.
    VocabularyMismatch
        If its genes are others than those of `vocabulary`.
    """
    content = encoder_file.read(path, vocabulary=vocabulary)
    recipe = recipes.parse(dict(content.recipe), file=path)
    weights = {name: torch.from_numpy(np.array(tensor)) for name, tensor in content.tensors.items()}
    try:
        encoder = _unfilled(recipe, weights)
        encoder.load_state_dict(weights, assign=True)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            file=path,
            field="weights",
            expected="one tensor for each weight of the recipe in the header",
            found=str(error).splitlines()[-1].strip(),
            remedy="pretrain again: remove the file, then snakemake --forcerun pretrain",
        ) from error
    encoder.embedding.genes.weight.requires_grad_(recipe.genes.method == "learned")
    return PretrainedEncoder(
        encoder=encoder.eval(),
        recipe=recipe,
        vocabulary=content.vocabulary,
        panel=None if content.panel is None else np.asarray(content.panel, dtype=np.int64),
        digest=provenance.digest(path),
    )


def save_encoder(
    path: Path | str,
    encoder: Encoder,
    *,
    recipe: Recipe,
    vocabulary: str,
    panel: Sequence[int] | np.ndarray | None = None,
    stamp: Mapping[str, Any] | None = None,
) -> None:
    """Write an encoder with its recipe, the vocabulary's digest, the panel and its provenance."""
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in encoder.state_dict().items()}
    content = EncoderFile(
        tensors=weights,
        recipe=recipe.model_dump(mode="json"),
        vocabulary=vocabulary,
        panel=None if panel is None else [int(gene) for gene in panel],
        provenance=stamp or {},
    )
    encoder_file.write(content, path)


def fresh(pretrained: PretrainedEncoder, seed: int) -> PretrainedEncoder:
    """Return the same architecture with newly drawn weights: the control that had no pretraining.

    A frozen gene embedding is an input of pretraining and stays; one that pretraining learned is drawn anew.
    """
    old = pretrained.encoder
    is_learned = pretrained.recipe.genes.method == "learned"
    table = None if is_learned else old.embedding.genes.weight[: old.n_genes].detach().clone()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        encoder = Encoder(
            old.settings,
            n_genes=old.n_genes,
            gene_embedding=table,
            n_tokens=old.to_expression.out_features,
            padded_length=old.padded_length,
        )
    return replace(pretrained, encoder=encoder.eval())


def _unfilled(recipe: Recipe, weights: Mapping[str, torch.Tensor]) -> Encoder:
    n_genes = len(weights["embedding.genes.weight"]) - 2  # without CLS and PAD
    n_tokens = len(weights["embedding.expression.weight"])
    with torch.device("meta"):
        return Encoder(
            recipe.encoder,
            n_genes=n_genes,
            gene_embedding=None,
            n_tokens=n_tokens,
            padded_length=recipe.padded_length,
        )
