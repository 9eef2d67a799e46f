"""A safetensors file with one JSON object in its header, which names the format and the gene vocabulary.

Only numbers and JSON: opening the file of a stranger runs nothing of his.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from celllm.base.atomic import writing
from celllm.base.errors import InputError, VocabularyMismatch

ENTRY = "celllm"
"""Name of the header's only entry: safetensors writes several in an order that differs from run to run, and so would
the file's digest."""


def read(
    path: Path | str, *, form: str, remedy: str, vocabulary: str | None, vocabulary_remedy: str | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and tensors of a file of the format `form`.

    `vocabulary` is the digest of the one it must have been made for; None: any. InputError if the file is of another
    format, or no safetensors file; VocabularyMismatch if its genes are others. Both say the remedy.
    """
    tensors = {}
    try:
        with safe_open(str(path), framework="numpy") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
            found = header.get("format")
            if found == form:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        found = f"no safetensors file ({error})"
    if found != form:
        raise InputError(file=path, field="format", expected=form, found=str(found), remedy=remedy)
    if vocabulary is not None and header["vocabulary"] != vocabulary:
        remedy = vocabulary_remedy or remedy
        raise VocabularyMismatch(file=path, found=header["vocabulary"], expected=vocabulary, remedy=remedy)
    return header, tensors


def write(path: Path | str, *, form: str, header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write header and tensors, whole or not at all."""
    metadata = {ENTRY: json.dumps({"format": form, **header}, sort_keys=True)}
    with writing(path) as part:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, str(part), metadata=metadata
        )
