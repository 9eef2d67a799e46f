"""`encoder.safetensors`: a pretrained encoder's weights, with its recipe and vocabulary in the header.

Only numbers and JSON: opening the file of a stranger runs nothing of his.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from celllm.contracts.atomic import writing
from celllm.errors import InputError, VocabularyMismatch

FORMAT = "celllm-encoder-1"


@dataclass(frozen=True)
class EncoderFile:
    """What the file holds.

    Parameters
    ----------
    tensors
        Weights by name, as the encoder's module calls them.
    recipe
        The whole recipe, as plain values.
    vocabulary
        Digest of the gene vocabulary.
    panel
        Layout `full`: gene indices of the panel, in order; None for layout `nonzero`.
    provenance
        What made it.
    """

    tensors: Mapping[str, np.ndarray]
    recipe: Mapping[str, Any]
    vocabulary: str
    panel: list[int] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path | str, *, vocabulary: str | None = None) -> EncoderFile:
    """Read an encoder file.

    Parameters
    ----------
    path
        The file.
    vocabulary
        Digest the encoder must have been made for; None: any.

    Raises
    ------
    InputError
        If the file is no encoder.
    VocabularyMismatch
        If its genes are others than those of `vocabulary`.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("celllm", "{}"))
            found = header.get("format")
            if found == FORMAT:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        found = f"no safetensors file ({error})"
    if found != FORMAT:
        raise InputError(
            file=path,
            field="format",
            expected=FORMAT,
            found=str(found),
            remedy="give the encoder.safetensors of a pretraining run: python -m celllm.cli.pretrain --help",
        )
    if vocabulary is not None and header["vocabulary"] != vocabulary:
        raise VocabularyMismatch(
            file=path,
            found=header["vocabulary"],
            expected=vocabulary,
            remedy="pretrain again on this vocabulary: remove the file, then snakemake --forcerun pretrain",
        )
    return EncoderFile(
        tensors=tensors,
        recipe=header["recipe"],
        vocabulary=header["vocabulary"],
        panel=header["panel"],
        provenance=header["provenance"],
    )


def write(encoder: EncoderFile, path: Path | str) -> None:
    """Write an encoder file, whole or not at all."""
    header = {
        "format": FORMAT,
        "recipe": dict(encoder.recipe),
        "vocabulary": encoder.vocabulary,
        "panel": encoder.panel,
        "provenance": dict(encoder.provenance),
    }
    # one entry: safetensors writes several in an order that differs from run to run, and so would the file's digest
    metadata = {"celllm": json.dumps(header, sort_keys=True)}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in encoder.tensors.items()}
    with writing(path) as part:
        save_file(tensors, str(part), metadata=metadata)
