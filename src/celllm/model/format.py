"""`encoder.safetensors`: a pretrained encoder's weights, with its recipe and vocabulary in the header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from celllm.base import tensors

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
    header, found = tensors.read(
        path,
        form=FORMAT,
        remedy="give the encoder.safetensors of a pretraining run: celllm pretrain --help",
        vocabulary=vocabulary,
        vocabulary_remedy="pretrain again on this vocabulary: remove the file, then snakemake --forcerun pretrain",
    )
    return EncoderFile(
        tensors=found,
        recipe=header["recipe"],
        vocabulary=header["vocabulary"],
        panel=header["panel"],
        provenance=header["provenance"],
    )


def write(encoder: EncoderFile, path: Path | str) -> None:
    """Write an encoder file, whole or not at all."""
    header = {
        "recipe": dict(encoder.recipe),
        "vocabulary": encoder.vocabulary,
        "panel": encoder.panel,
        "provenance": dict(encoder.provenance),
    }
    tensors.write(path, form=FORMAT, header=header, tensors=encoder.tensors)
