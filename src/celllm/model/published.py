"""Published checkpoints of CellLM and scBERT: what is in them, by name and shape, read without running any of it.

Both are state dicts of a `PerformerLM` under the same names; they differ in the number of token kinds and in the rows
of the gene table behind the genes. This module knows their side only; `model.imported` translates.

Shapes: D width, T token kinds of the checkpoint, R rows of its gene table, M random features, E width of one head.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from celllm.base.errors import InputError

Layout = Literal["celllm", "scbert"]
STATE = "model_state_dict"  # where both projects put the weights beside the optimiser's state
COUNTER = "performer.calls_since_last_redraw"  # of training forwards; we count optimiser steps, so it has no use
N_KINDS = {"celllm": 8, "scbert": 7}
"""T: bins 0 to 5, then CLS and PAD (CellLM), or one id that is PAD and MASK (scBERT)."""
N_SPECIAL_GENES = {"celllm": 2, "scbert": 1}
"""Rows of the gene table behind the genes: CLS and PAD (CellLM), the token without a gene (scBERT)."""
SIZED_BY = {
    "token_emb.weight": "token kinds x width",
    "pos_emb.emb.weight": "genes and special rows x width",
    "performer.net.layers.0.0.fn.fast_attention.projection_matrix": "random features x head width",
    "performer.net.layers.0.0.fn.to_q.weight": "heads x head width, width",
    "performer.net.layers.0.1.fn.fn.w1.weight": "feed-forward x width",
}
"""The tensors whose shapes give the sizes of all others."""
QUERIES, WIDE = list(SIZED_BY)[3:]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a checkpoint.

    Parameters
    ----------
    width, kinds, rows
        D, T and R.
    depth, heads, head_width, n_features, feedforward
        Layers; heads a layer, E and M; hidden width of the feed-forward block.
    """

    width: int
    kinds: int
    rows: int
    depth: int
    heads: int
    head_width: int
    n_features: int
    feedforward: int


def read_state(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict without running anything that the file might hold.

    Raises
    ------
    InputError
        If the file is none of torch, asks for code to be run, or holds no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(
            file=path,
            field="(whole file)",
            expected="what torch.save writes, tensors and plain values only",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="keep its state dict alone, on a machine that you can spare: torch.save(model.state_dict(), file)",
        ) from error
    if isinstance(content, Mapping) and STATE in content:
        content = content[STATE]
    is_state = isinstance(content, Mapping) and content and all(isinstance(x, Tensor) for x in content.values())
    if not is_state:
        raise InputError(
            file=path,
            field="(whole file)",
            expected=f"a state dict, alone or as {STATE}",
            found=f"keys {', '.join(map(str, content))}" if isinstance(content, Mapping) else type(content).__name__,
            remedy="give the checkpoint that the authors publish, or torch.save(model.state_dict(), file)",
        )
    return dict(content)


def sizes_of(state: Mapping[str, Tensor], *, layout: Layout, n_genes: int, file: Path | str) -> Sizes:
    """Read the sizes off the shapes, and hold every tensor against them, the layout and the vocabulary.

    Raises
    ------
    InputError
        If a key is missing, unknown, or of another shape than the sizes ask for; it names the first such key.
    """
    for key, meaning in SIZED_BY.items():
        found = _shape(state.get(key))
        if key not in state or state[key].ndim != 2 or not state[key].numel():
            raise _wrong(key, f"a matrix, {meaning}", found, layout=layout, file=file)
    (kinds, width), (rows, _), (n_features, head_width), (inner, _), (feedforward, _) = (
        state[key].shape for key in SIZED_BY
    )
    layers = {int(match[1]) for key in state if (match := re.match(r"performer\.net\.layers\.(\d+)\.", key))}
    if kinds != N_KINDS[layout]:
        key, expected = "token_emb.weight", f"{N_KINDS[layout]} rows, the token kinds of layout {layout}"
        raise _wrong(key, expected, _shape(state[key]), layout=layout, file=file)
    if rows != n_genes + N_SPECIAL_GENES[layout]:
        key = "pos_emb.emb.weight"
        raise InputError(
            file=file,
            field=key,
            expected=f"{n_genes + N_SPECIAL_GENES[layout]} rows: {n_genes} genes and {N_SPECIAL_GENES[layout]} more",
            found=_shape(state[key]),
            remedy="give as --genes the list of genes that the checkpoint was trained with, in its order",
        )
    if inner % head_width or feedforward % width:
        key, unit = (QUERIES, head_width) if inner % head_width else (WIDE, width)
        raise _wrong(key, f"rows that are a multiple of {unit}", _shape(state[key]), layout=layout, file=file)
    sizes = Sizes(
        width=width,
        kinds=kinds,
        rows=rows,
        depth=len(layers),
        heads=inner // head_width,
        head_width=head_width,
        n_features=n_features,
        feedforward=feedforward,
    )
    _check(state, sizes, file=file)
    return sizes


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that the authors' class has at these sizes."""
    width, inner, wide = sizes.width, sizes.heads * sizes.head_width, sizes.feedforward
    shapes: dict[str, tuple[int, ...]] = {
        "token_emb.weight": (sizes.kinds, width),
        "pos_emb.emb.weight": (sizes.rows, width),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "to_out.weight": (sizes.kinds, width),
        "to_out.bias": (sizes.kinds,),
    }
    of_a_layer: dict[str, tuple[int, ...]] = {
        "0.norm.weight": (width,),
        "0.norm.bias": (width,),
        "0.fn.fast_attention.projection_matrix": (sizes.n_features, sizes.head_width),
        "0.fn.to_q.weight": (inner, width),
        "0.fn.to_k.weight": (inner, width),
        "0.fn.to_v.weight": (inner, width),
        "0.fn.to_out.weight": (width, inner),
        "0.fn.to_out.bias": (width,),
        "1.norm.weight": (width,),
        "1.norm.bias": (width,),
        "1.fn.fn.w1.weight": (wide, width),
        "1.fn.fn.w1.bias": (wide,),
        "1.fn.fn.w2.weight": (width, wide),
        "1.fn.fn.w2.bias": (width,),
    }
    for i in range(sizes.depth):
        shapes |= {f"performer.net.layers.{i}.{name}": shape for name, shape in of_a_layer.items()}
    return shapes


def _check(state: Mapping[str, Tensor], sizes: Sizes, *, file: Path | str) -> None:
    """Refuse a missing key, another shape, and what our encoder has no place for."""
    expected = shapes(sizes)
    for key, shape in expected.items():
        if key not in state or tuple(state[key].shape) != shape:
            raise _wrong(key, " x ".join(map(str, shape)), _shape(state.get(key)), layout=None, file=file)
    for key in state:
        if key not in expected and key != COUNTER:
            what = "biases on queries, keys and values" if re.search(r"to_[qkv]\.bias$", key) else "this tensor"
            raise InputError(
                file=file,
                field=key,
                expected="only tensors that the encoder can represent",
                found=f"{_shape(state[key])}; the encoder has no place for {what}",
                remedy="give a pretraining checkpoint; one fine-tuned or of another architecture cannot be imported",
            )


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else " x ".join(map(str, tensor.shape)) or "a single number"


def _wrong(key: str, expected: str, found: str, *, layout: Layout | None, file: Path | str) -> InputError:
    tried = f"; if it is no {layout} checkpoint, choose another --layout" if layout else ""
    remedy = f"give the published checkpoint, whole{tried}"
    return InputError(file=file, field=key, expected=expected, found=found, remedy=remedy)
