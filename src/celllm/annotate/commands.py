"""Commands for one's own cells."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from celllm.base.app import commands

app = commands()


@app.command
def embed_cells(
    *,
    encoder: Path,
    cells: Path,
    vocabulary: Path,
    embeddings: Path,
    threads: int = 1,
    accelerator: Literal["auto", "cpu", "cuda"] = "auto",
    stage: str = "embed_cells",
) -> None:
    r"""Embed cells with a pretrained encoder, frozen.

    Parameters
    ----------
    encoder
        encoder.safetensors
    cells
        aligned cells, in any units that a fit takes
    vocabulary
        the vocabulary's genes.tsv
    embeddings
        file to write the embeddings to, parquet
    threads
        threads of torch on a CPU
    accelerator
        kind of device; auto: a GPU if there is one
    stage
        name and version of the workflow's stage, for the file's provenance

    Example::

        python -m celllm embed_cells --encoder results/pretrain/celllm/seed0/encoder.safetensors \
            --cells results/cells/pbmc68k_reduced.h5ad --vocabulary results/vocabulary/genes.tsv \
            --embeddings embeddings.parquet
    """
    from celllm.annotate import embeddings as embeddings_file
    from celllm.base.provenance import stamp
    from celllm.harmonise import cells as cells_file
    from celllm.harmonise import vocabulary as vocabulary_file
    from celllm.model import inference
    from celllm.model.device import device_of
    from celllm.model.store import load_encoder

    device = device_of(accelerator, threads=threads)
    genes = vocabulary_file.read(vocabulary)
    pretrained = load_encoder(encoder, vocabulary=genes.digest)
    aligned = cells_file.read(cells, vocabulary=genes)
    embedded_ND = inference.embed_cells(pretrained, aligned.X, units=aligned.uns["units"], device=device)
    provenance = stamp(stage, {"encoder": encoder, "cells": cells, "vocabulary": vocabulary})
    labels = list(aligned.obs["label"])
    embeddings_file.write(list(aligned.obs_names), embedded_ND, labels, embeddings, provenance=provenance)
