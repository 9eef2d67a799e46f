"""Published checkpoints as our encoder: CellLM's as OpenBioMed lays it out, and scBERT's.

Both are state dicts of a `PerformerLM` under the same names. They differ in what a token is, so embedding and output
are translated by layout; the layers are the same in both, and attend as `released` (see `model.released`).

Shapes: D width, T token kinds of the checkpoint, R rows of its gene embedding, M random features, E width of one head.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from celllm.base.errors import InputError
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.corpus.tokens import MASK, N_BINS, N_TOKENS
from celllm.model.encoder import Encoder

Layout = Literal["celllm", "scbert"]
STATE = "model_state_dict"  # where both projects put the weights
LAYERS = "performer.net.layers."
COUNTER = "performer.calls_since_last_redraw"  # of training forwards; we count optimiser steps, so it has no use
N_KINDS = {"celllm": 8, "scbert": 7}
"""T: bins 0 to 5, then CLS and PAD (CellLM), or one id that is PAD and MASK (scBERT)."""
N_SPECIAL_GENES = {"celllm": 2, "scbert": 1}
"""Rows of the gene embedding behind the genes: CLS and PAD (CellLM), the token without a gene (scBERT)."""
SIZED_BY = {
    "token_emb.weight": "token kinds x width",
    "pos_emb.emb.weight": "genes and special rows x width",
    "performer.net.layers.0.0.fn.fast_attention.projection_matrix": "random features x head width",
    "performer.net.layers.0.0.fn.to_q.weight": "heads x head width, width",
    "performer.net.layers.0.1.fn.fn.w1.weight": "feed-forward x width",
}
"""The tensors whose shapes give the sizes of all others."""
QUERIES, WIDE = list(SIZED_BY)[3:]
MAX_LENGTH = 6000
"""CellLM's longest cell, CLS included; OpenBioMed, configs/ctc/cellLM.json. No checkpoint says it."""
WHOLE = "give the published checkpoint, whole"
NEVER = -1e9  # logit of a token kind that the checkpoint does not have


@dataclass(frozen=True)
class Sizes:
    """Sizes of a checkpoint: D, T and R; layers; heads a layer, E and M; hidden width of the feed-forward block."""

    width: int
    kinds: int
    rows: int
    depth: int
    heads: int
    head_width: int
    n_features: int
    feedforward: int


@dataclass(frozen=True)
class Imported:
    """A published encoder in our terms, on the CPU and in evaluation mode."""

    encoder: Encoder
    recipe: Recipe
    """Sizes and token rule. No checkpoint says how it was trained: `training` holds the smallest values there are."""
    panel: list[int] | None
    """scBERT: every gene, in the checkpoint's order; CellLM: None."""


def import_encoder(path: Path | str, *, layout: Layout, n_genes: int, max_length: int = MAX_LENGTH) -> Imported:
    """Read a published checkpoint.

    `celllm`: 8 token kinds, genes then CLS then PAD; every row has its place here.

    `scbert`: 7 token kinds, the last both PAD and MASK; every gene is a token, silent or not, and behind them stands
    one of bin 0 without a gene. That token becomes our CLS, which stands first; nothing else tells positions apart. Our
    PAD and MASK both get the last kind's row; CLS and PAD, which it cannot predict, get a logit of -1e9.

    The file is what `torch.save` wrote: the state dict, alone or as `model_state_dict`; nothing in it is run.
    `max_length`, of CellLM, is the longest cell, to which every batch is filled up; scBERT's is n_genes + 1. Gene
    embeddings in float64 are rounded to float32. InputError if there is anything but tensors and plain values, or a key
    is missing, unknown or of another shape than the checkpoint's sizes ask for.

    PharMolix/OpenBioMed, performer_celllm.py and configs/; TencentAILabHealthcare/scBERT, described in its paper and
    README.
    """
    state = _state(path)
    sizes = _sizes(state, layout=layout, n_genes=n_genes, file=path)
    _check(state, sizes, file=path)
    recipe = _recipe(sizes, layout=layout, n_genes=n_genes, max_length=max_length, file=path)
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


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that the authors' class has at these sizes."""
    width = sizes.width
    found: dict[str, tuple[int, ...]] = {
        "token_emb.weight": (sizes.kinds, width),
        "pos_emb.emb.weight": (sizes.rows, width),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "to_out.weight": (sizes.kinds, width),
        "to_out.bias": (sizes.kinds,),
    }
    for i in range(sizes.depth):
        found |= {f"{LAYERS}{i}.{name}": shape for name, (_, shape) in _layer(sizes).items()}
    return found


def _layer(sizes: Sizes) -> dict[str, tuple[str | None, tuple[int, ...]]]:
    """Return our name and the shape of each tensor of a layer; queries, keys and values (None) are one tensor here."""
    width, inner, wide = sizes.width, sizes.heads * sizes.head_width, sizes.feedforward
    return {
        "0.norm.weight": ("attention_norm.weight", (width,)),
        "0.norm.bias": ("attention_norm.bias", (width,)),
        "0.fn.fast_attention.projection_matrix": ("attention.features_ME", (sizes.n_features, sizes.head_width)),
        "0.fn.to_q.weight": (None, (inner, width)),
        "0.fn.to_k.weight": (None, (inner, width)),
        "0.fn.to_v.weight": (None, (inner, width)),
        "0.fn.to_out.weight": ("attention.to_out.weight", (width, inner)),
        "0.fn.to_out.bias": ("attention.to_out.bias", (width,)),
        "1.norm.weight": ("feedforward_norm.weight", (width,)),
        "1.norm.bias": ("feedforward_norm.bias", (width,)),
        "1.fn.fn.w1.weight": ("feedforward.0.weight", (wide, width)),
        "1.fn.fn.w1.bias": ("feedforward.0.bias", (wide,)),
        "1.fn.fn.w2.weight": ("feedforward.2.weight", (width, wide)),
        "1.fn.fn.w2.bias": ("feedforward.2.bias", (width,)),
    }


def _state(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict without running anything that the file might hold."""
    field = "(whole file)"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        expected = "what torch.save writes, tensors and plain values only"
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "keep its state dict alone, on a machine that you can spare: torch.save(model.state_dict(), file)"
        raise _wrong(field, expected, found, file=path, remedy=remedy) from error
    if isinstance(content, Mapping) and STATE in content:
        content = content[STATE]
    is_state = isinstance(content, Mapping) and content and all(isinstance(x, Tensor) for x in content.values())
    if not is_state:
        found = f"keys {', '.join(map(str, content))}" if isinstance(content, Mapping) else type(content).__name__
        remedy = "give the checkpoint that the authors publish, or torch.save(model.state_dict(), file)"
        raise _wrong(field, f"a state dict, alone or as {STATE}", found, file=path, remedy=remedy)
    return dict(content)


def _sizes(state: Mapping[str, Tensor], *, layout: Layout, n_genes: int, file: Path | str) -> Sizes:
    """Read the sizes off the shapes, and hold them against layout and vocabulary."""
    remedy = f"{WHOLE}; if it is no {layout} checkpoint, choose another --layout"
    for key, meaning in SIZED_BY.items():
        if key not in state or state[key].ndim != 2 or not state[key].numel():
            raise _wrong(key, f"a matrix, {meaning}", _shape(state.get(key)), file=file, remedy=remedy)
    (kinds, width), (rows, _), (n_features, head_width), (inner, _), (feedforward, _) = (
        state[key].shape for key in SIZED_BY
    )
    if kinds != N_KINDS[layout]:
        key, expected = "token_emb.weight", f"{N_KINDS[layout]} rows, the token kinds of layout {layout}"
        raise _wrong(key, expected, _shape(state[key]), file=file, remedy=remedy)
    if rows != n_genes + N_SPECIAL_GENES[layout]:
        key, remedy = (
            "pos_emb.emb.weight",
            "give as --genes the genes that the checkpoint was trained with, in its order",
        )
        expected = f"{n_genes + N_SPECIAL_GENES[layout]} rows: {n_genes} genes and {N_SPECIAL_GENES[layout]} more"
        raise _wrong(key, expected, _shape(state[key]), file=file, remedy=remedy)
    if inner % head_width or feedforward % width:
        key, unit = (QUERIES, head_width) if inner % head_width else (WIDE, width)
        raise _wrong(key, f"rows that are a multiple of {unit}", _shape(state[key]), file=file, remedy=remedy)
    depth = len({key.split(".")[3] for key in state if key.startswith(LAYERS)})
    heads = inner // head_width
    return Sizes(width, kinds, rows, depth, heads, head_width, n_features, feedforward)


def _check(state: Mapping[str, Tensor], sizes: Sizes, *, file: Path | str) -> None:
    """Refuse a missing key, another shape, and what our encoder has no place for; the first such key is named."""
    expected = shapes(sizes)
    for key, shape in expected.items():
        if key not in state or tuple(state[key].shape) != shape:
            raise _wrong(key, " x ".join(map(str, shape)), _shape(state.get(key)), file=file)
    for key in state:
        if key not in expected and key != COUNTER:
            what = "biases on queries, keys and values" if re.search(r"to_[qkv]\.bias$", key) else "this tensor"
            found = f"{_shape(state[key])}; the encoder has no place for {what}"
            remedy = "give a pretraining checkpoint; one fine-tuned or of another architecture cannot be imported"
            raise _wrong(key, "only tensors that the encoder can represent", found, file=file, remedy=remedy)


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else " x ".join(map(str, tensor.shape)) or "a single number"


def _wrong(key: str, expected: str, found: str, *, file: Path | str, remedy: str = WHOLE) -> InputError:
    return InputError(file=file, field=key, expected=expected, found=found, remedy=remedy)


def _recipe(sizes: Sizes, *, layout: Layout, n_genes: int, max_length: int, file: Path | str) -> Recipe:
    values: dict[str, Any] = {
        "tokens": {"max_length": max_length, "truncation": "head"},
        "genes": {"method": "imported"},
        "encoder": {
            "attention": "released",
            "dropout": 0.0,
            "feedforward_factor": sizes.feedforward // sizes.width,
            **{name: getattr(sizes, name) for name in ("width", "depth", "heads", "head_width", "n_features")},
        },
        "training": {"batch_cells": 2, "chunk_tokens": 1, "steps": 1},
        "our_choices": ["training.batch_cells", "training.chunk_tokens", "training.steps"],
    }
    if layout == "scbert":
        values["tokens"] |= {"layout": "full", "max_length": n_genes + 1, "panel_size": n_genes}
    return recipes.parse(values, file=file)


def _layers(state: Mapping[str, Tensor], sizes: Sizes) -> dict[str, Tensor]:
    """Return the weights of all layers and the final norm under our names."""
    weights = {name: state[name] for name in ("norm.weight", "norm.bias")}
    for i in range(sizes.depth):
        theirs = f"{LAYERS}{i}."
        weights |= {f"layers.{i}.{ours}": state[theirs + name] for name, (ours, _) in _layer(sizes).items() if ours}
        qkv = [state[f"{theirs}0.fn.to_{x}.weight"] for x in "qkv"]
        weights[f"layers.{i}.attention.to_qkv.weight"] = torch.cat(qkv)
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
