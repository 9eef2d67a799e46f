"""`encoder.safetensors`: an encoder's weights, with recipe, vocabulary's digest, panel and provenance in the header."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celllm.base import provenance, tensors
from celllm.base.errors import InputError
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded

FORMAT = "celllm-encoder-1"
FIRST_GENES = "first_genes"


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder and what one needs to feed it."""

    encoder: Encoder
    """On the CPU, in evaluation mode; its gene embedding is frozen unless pretraining moved it."""
    recipe: Recipe
    """How it was made; `recipe.tokens` says how cells become its tokens."""
    vocabulary: str
    """Digest of the gene vocabulary."""
    panel: np.ndarray | None
    """Layout `full`: gene indices of the panel, in order; None for layout `nonzero`."""
    digest: str
    """Sha256 of the file."""
    first_genes_GD: torch.Tensor | None = None
    """What a gene embedding that pretraining moved started from; None where it stayed."""


def load_encoder(path: Path | str, *, vocabulary: str | None = None) -> PretrainedEncoder:
    """Load a pretrained encoder, made for the vocabulary of this digest (None: any).

    InputError if the file is no encoder, or its weights do not fit its own recipe; VocabularyMismatch.
    """
    header, arrays = tensors.read(
        path,
        form=FORMAT,
        remedy="give the encoder.safetensors of a pretraining run: celllm pretrain --help",
        vocabulary=vocabulary,
        vocabulary_remedy="pretrain again on this vocabulary: remove the file, then snakemake --forcerun pretrain",
        entries=("recipe", "panel"),
    )
    values = header["recipe"]
    if isinstance(values, dict) and isinstance(values.get("training"), dict):
        values["training"].pop("compile", None)  # a key that recipes of 0.1.0 had
    recipe = recipes.parse(values, file=path)
    weights = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    first_genes_GD = weights.pop(FIRST_GENES, None)
    try:
        # torch.device("meta") would draw nothing, but imports torch._dynamo: 3 s
        with torch.random.fork_rng(devices=[]):
            encoder = Encoder(
                recipe.encoder,
                n_genes=len(weights["embedding.genes.weight"]) - 2,  # without CLS and PAD
                gene_embedding=None,
                n_tokens=len(weights["embedding.expression.weight"]),
                padded_length=recipe.padded_length,
            )
        encoder.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            file=path,
            field="weights",
            expected="one tensor for each weight of the recipe in the header",
            found=str(error).splitlines()[-1].strip(),
            remedy="pretrain again: remove the file, then snakemake --forcerun pretrain",
        ) from error
    encoder.embedding.genes.weight.requires_grad_(recipe.genes.is_trained)
    return PretrainedEncoder(
        encoder=encoder.eval(),
        recipe=recipe,
        vocabulary=header["vocabulary"],
        panel=None if header["panel"] is None else np.asarray(header["panel"], dtype=np.int64),
        digest=provenance.digest(path),
        first_genes_GD=first_genes_GD,
    )


def save_encoder(
    path: Path | str,
    encoder: Encoder,
    *,
    recipe: Recipe,
    vocabulary: str,
    panel: Sequence[int] | np.ndarray | None = None,
    stamp: Mapping[str, Any] | None = None,
    first_genes_GD: np.ndarray | None = None,
    half: Collection[str] = (),
) -> None:
    """Write an encoder with its recipe, the vocabulary's digest, the panel and its provenance, whole or not at all.

    Where pretraining moved the gene embedding, `first_genes_GD` is what it started from. Weights named in `half` are
    rounded to float16; all are float32 again once they are loaded.
    """
    header = {
        "recipe": recipe.model_dump(mode="json"),
        "vocabulary": vocabulary,
        "panel": None if panel is None else [int(gene) for gene in panel],
        "provenance": dict(stamp or {}),
    }
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in encoder.state_dict().items()}
    weights |= {name: weights[name].astype(np.float16) for name in half}
    if first_genes_GD is not None:
        weights[FIRST_GENES] = np.asarray(first_genes_GD, dtype=np.float32)
    tensors.write(path, form=FORMAT, header=header, tensors=weights)


def fresh(pretrained: PretrainedEncoder, seed: int) -> PretrainedEncoder:
    """Return the same architecture with newly drawn weights: the control that had no pretraining.

    The gene embedding is an input of pretraining: it is the one that pretraining started from.
    """
    old, genes_GD = pretrained.encoder, pretrained.first_genes_GD
    if genes_GD is None:
        genes_GD = old.embedding.genes.weight[: old.n_genes].detach().clone()
    with seeded(seed, torch.device("cpu")):
        encoder = Encoder(
            old.settings,
            n_genes=old.n_genes,
            gene_embedding=genes_GD,
            n_tokens=old.to_expression.out_features,
            padded_length=old.padded_length,
        )
    encoder.embedding.genes.weight.requires_grad_(pretrained.recipe.genes.is_trained)
    return replace(pretrained, encoder=encoder.eval())
