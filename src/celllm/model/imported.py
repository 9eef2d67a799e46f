"""Published checkpoints as our encoder: CellLM's as OpenBioMed lays it out, and scBERT's.

The two differ in what a token is, so embedding and output are translated by layout; the layers are the same in both,
and attend as `released` (see `model.released`).

Shapes: D width, T token kinds of the checkpoint, R rows of its gene embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.corpus.tokens import MASK, N_BINS, N_TOKENS
from celllm.model.encoder import Encoder
from celllm.model.published import Layout, Sizes, read_state, sizes_of

MAX_LENGTH = 6000
"""CellLM's longest cell, CLS included; OpenBioMed, configs/ctc/cellLM.json. No checkpoint says it."""
NEVER = -1e9  # logit of a token kind that the checkpoint does not have


@dataclass(frozen=True)
class Imported:
    """A published encoder in our terms.

    Parameters
    ----------
    encoder
        On the CPU, in evaluation mode.
    recipe
        Sizes and token rule. The file does not say how it was trained, so `training` holds the smallest values that a
        recipe may have, and `our_choices` lists them.
    panel
        scBERT: every gene, in the checkpoint's order; CellLM: None.
    """

    encoder: Encoder
    recipe: Recipe
    panel: list[int] | None


def import_encoder(path: Path | str, *, layout: Layout, n_genes: int, max_length: int = MAX_LENGTH) -> Imported:
    """Read a published checkpoint.

    `celllm`: 8 token kinds, genes then CLS then PAD; every row has its place here.

    `scbert`: 7 token kinds, the last both PAD and MASK; every gene is a token, silent or not, and behind them stands
    one of bin 0 without a gene. That token becomes our CLS, which stands first; nothing else tells places apart. Our
    PAD and MASK both get the last kind's row; CLS and PAD, which it cannot predict, get a logit of -1e9.

    Parameters
    ----------
    path
        What `torch.save` wrote: the state dict, alone or as `model_state_dict`. Nothing in it is run.
    layout
        Whose it is.
    n_genes
        Genes of the vocabulary, in the checkpoint's order.
    max_length
        CellLM: the longest cell, to which every batch is filled up. scBERT's is n_genes + 1.

    Raises
    ------
    InputError
        If the file holds anything but tensors and plain values, or a key is missing, unknown or of another shape than
        the checkpoint's sizes ask for.

    Notes
    -----
    PharMolix/OpenBioMed, performer_celllm.py and configs/; TencentAILabHealthcare/scBERT, described in its paper and
    README. Gene tables in float64 are rounded to float32.
    """
    state = read_state(path)
    sizes = sizes_of(state, layout=layout, n_genes=n_genes, file=path)
    values: dict[str, Any] = {
        "tokens": {"max_length": max_length, "truncation": "head"},
        "genes": {"method": "imported"},
        "encoder": {"attention": "released", "dropout": 0.0, **_encoder_settings(sizes)},
        "training": {"batch_cells": 2, "chunk_tokens": 1, "steps": 1},
        "our_choices": ["training.batch_cells", "training.chunk_tokens", "training.steps"],
    }
    if layout == "scbert":
        values["tokens"] |= {"layout": "full", "max_length": n_genes + 1, "panel_size": n_genes}
    recipe = recipes.parse(values, file=path)
    weights = _layers(state, sizes) | (_celllm_tokens(state) if layout == "celllm" else _scbert_tokens(state))
    weights = {name: tensor.to(torch.float32) for name, tensor in weights.items()}
    with torch.device("meta"):
        encoder = Encoder(
            recipe.encoder,
            n_genes=n_genes,
            gene_embedding=None,
            n_tokens=len(weights["to_expression.bias"]),
            padded_length=recipe.padded_length,
        )
    encoder.load_state_dict(weights, assign=True)
    encoder.embedding.genes.weight.requires_grad_(False)  # noqa: FBT003 - torch's own signature
    return Imported(encoder.eval(), recipe, list(range(n_genes)) if layout == "scbert" else None)


def _encoder_settings(sizes: Sizes) -> dict[str, int]:
    return {
        "width": sizes.width,
        "depth": sizes.depth,
        "heads": sizes.heads,
        "head_width": sizes.head_width,
        "feedforward_factor": sizes.feedforward // sizes.width,
        "n_features": sizes.n_features,
    }


def _layers(state: Mapping[str, Tensor], sizes: Sizes) -> dict[str, Tensor]:
    """Return the weights of all layers and the final norm under our names."""
    renamed = {
        "attention_norm.weight": "0.norm.weight",
        "attention_norm.bias": "0.norm.bias",
        "attention.features_ME": "0.fn.fast_attention.projection_matrix",
        "attention.to_out.weight": "0.fn.to_out.weight",
        "attention.to_out.bias": "0.fn.to_out.bias",
        "feedforward_norm.weight": "1.norm.weight",
        "feedforward_norm.bias": "1.norm.bias",
        "feedforward.0.weight": "1.fn.fn.w1.weight",
        "feedforward.0.bias": "1.fn.fn.w1.bias",
        "feedforward.2.weight": "1.fn.fn.w2.weight",
        "feedforward.2.bias": "1.fn.fn.w2.bias",
    }
    weights = {"norm.weight": state["norm.weight"], "norm.bias": state["norm.bias"]}
    for i in range(sizes.depth):
        theirs = f"performer.net.layers.{i}."
        weights |= {f"layers.{i}.{ours}": state[theirs + name] for ours, name in renamed.items()}
        weights[f"layers.{i}.attention.to_qkv.weight"] = torch.cat(
            [state[f"{theirs}0.fn.to_{x}.weight"] for x in "qkv"]
        )
    return weights


def _celllm_tokens(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        "embedding.genes.weight": state["pos_emb.emb.weight"],
        "embedding.expression.weight": state["token_emb.weight"],
        "to_expression.weight": state["to_out.weight"],
        "to_expression.bias": state["to_out.bias"],
    }


def _scbert_tokens(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    genes_RD, kinds_TD = state["pos_emb.emb.weight"], state["token_emb.weight"]
    rows = [*range(N_BINS), 0, N_BINS, N_BINS]  # of the checkpoint, in our order: bins, CLS, PAD, MASK
    weight = kinds_TD.new_zeros(N_TOKENS, kinds_TD.shape[1])
    bias = kinds_TD.new_full((N_TOKENS,), NEVER)
    ours = [*range(N_BINS), MASK]  # the checkpoint's kinds, in its order
    weight[ours], bias[ours] = state["to_out.weight"], state["to_out.bias"]
    return {
        "embedding.genes.weight": torch.cat([genes_RD, torch.zeros_like(genes_RD[:1])]),
        "embedding.expression.weight": kinds_TD[rows],
        "to_expression.weight": weight,
        "to_expression.bias": bias,
    }
