"""A safetensors file with one JSON object in its header, which names the format and the gene vocabulary.

Only numbers and JSON: opening the file of a stranger runs nothing of his.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from celllm.base.atomic import writing
from celllm.base.errors import InputError, VocabularyMismatch

ENTRY = "celllm"
"""Name of the header's only entry: safetensors writes several in an order that differs from run to run, and so would
the file's digest."""


def read(
    path: Path | str,
    *,
    form: str,
    remedy: str,
    vocabulary: str | None,
    vocabulary_remedy: str | None = None,
    entries: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and tensors of a file of the format `form`.

    `vocabulary` is the digest of the one it must have been made for; None: any. `entries` are what the header must have
    beside. InputError if the file is of another format or no safetensors file, or a number is not finite;
    VocabularyMismatch if its genes are others. Both say the remedy.
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
    missing = ", ".join(name for name in ("vocabulary", *entries) if name not in header)
    if missing:
        raise InputError(file=path, field="header", expected=f"an entry {missing}", found="none", remedy=remedy)
    for name, tensor in tensors.items():
        n_bad = 0 if tensor.dtype.kind != "f" else int((~np.isfinite(tensor)).sum())
        if n_bad:
            found = f"{n_bad} of {tensor.size} missing or infinite"
            raise InputError(file=path, field=name, expected="finite numbers", found=found, remedy=remedy)
    if vocabulary is not None and header["vocabulary"] != vocabulary:
        remedy = vocabulary_remedy or remedy
        raise VocabularyMismatch(file=path, found=header["vocabulary"], expected=vocabulary, remedy=remedy)
    return header, tensors


def write(path: Path | str, *, form: str, header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write header and tensors, whole or not at all."""
    metadata = {ENTRY: json.dumps({"format": form, **header}, sort_keys=True)}
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with writing(path) as part:
        part.write_bytes(save(arrays, metadata=metadata))  # save_file would make a file that none but its owner reads
