"""Commands for one's own cells."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

import celllm
from celllm.base.app import Accelerator, Stage, Threads, VocabularyFile, commands

app = commands()
Out = Annotated[Path, Parameter(name=["--out", "-o"])]
Cores = Annotated[
    int | None,
    Parameter(help="Threads of torch on a CPU; by default all cores.", validator=validators.Number(gte=1)),
]


def helped(command: Callable[..., None]) -> Callable[..., None]:
    """Explain a command by the docstring of the Python call of its name, which is not imported: torch takes seconds."""
    spec = find_spec(celllm.CALLS[command.__name__])
    tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    summary, _, example = cleandoc(command.__doc__ or "").partition("\n\n")
    _, _, explained = (ast.get_docstring(functions[command.__name__]) or "").partition("\n\n")
    command.__doc__ = "\n\n".join([summary, explained, example])
    return command


@helped
@app.command
def embed(
    cells: Path,
    /,
    *,
    out: Out,
    encoder: Path | None = None,
    counts: str | None = None,
    genes: str | None = None,
    threads: Cores = None,
) -> None:
    r"""Embed the cells of an h5ad file: a copy of it with obsm["X_celllm"] and uns["celllm"], all else untouched.

    Example::

        celllm embed my.h5ad -o embedded.h5ad
    """
    from celllm.annotate.embed import embed

    _use(threads)
    embed(cells, out, encoder=encoder, counts=counts, genes=genes)


@helped
@app.command
def annotate(
    query: Path,
    /,
    *,
    out: Out,
    reference: Path | None = None,
    labels: str | None = None,
    donors: str | None = None,
    model: Path | None = None,
    save: Path | None = None,
    encoder: Path | None = None,
    way: Literal["embedding", "joined", "pca", "genes"] | None = None,
    threshold: float = 0.5,
    novelty: float = 0.02,
    clusters: str | None = None,
    counts: str | None = None,
    genes: str | None = None,
    threads: Cores = None,
) -> None:
    r"""Label the cells of an h5ad file after a reference, in the way that does best on the reference.

    Example::

        celllm annotate query.h5ad --reference reference.h5ad --labels cell_type -o labelled.h5ad
    """
    from celllm.annotate.label import annotate

    _use(threads)
    of_reference: dict[str, Any] = {"labels": labels, "donors": donors, "way": way, "model": model, "save": save}
    options: dict[str, Any] = {"threshold": threshold, "novelty": novelty, "clusters": clusters}
    options |= {"counts": counts, "genes": genes}
    annotate(query, reference, out, encoder=encoder, **of_reference, **options)


@helped
@app.command
def adapt(
    cells: Path,
    /,
    *,
    out: Out,
    encoder: Path | None = None,
    steps: int = 500,
    learning_rate: float | None = None,
    labels: str | None = None,
    counts: str | None = None,
    genes: str | None = None,
    seed: int = 0,
    threads: Cores = None,
) -> None:
    r"""Go on pretraining an encoder on the cells of an h5ad file, without their labels.

    Example::

        celllm adapt my.h5ad -o adapted --steps 200 --labels cell_type
    """
    from celllm.annotate.adapt import adapt

    _use(threads)
    options: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate, "labels": labels, "seed": seed}
    adapt(cells, out, encoder=encoder, counts=counts, genes=genes, **options)


@app.command
def package_encoder(
    *,
    encoder: Path,
    vocabulary: VocabularyFile,
    hgnc: Path,
    folder: Path,
    shards: Path | None = None,
    catalogue: Path | None = None,
    cells: tuple[Path, ...] = (),
    components: Path | None = None,
    seed: int | None = None,
    stage: Stage = "package_encoder",
) -> None:
    r"""Make the folder of an encoder, which `embed`, `annotate` and `adapt` take: encoder, genes, card, golden cells.

    Parameters
    ----------
    encoder
        encoder.safetensors of a pretraining run
    hgnc
        manifest of HGNC's gene annotation
    folder
        folder to write
    shards
        manifest of the corpus, for the card
    catalogue
        catalogue of the benchmark, for the card's citations and titles
    cells
        aligned labelled cells, none of the corpus: the card compares the embedding of them with cheaper ways
    components
        principal components of the corpus, one of these ways
    seed
        random seed of the pretraining, for the card

    Example::

        celllm package_encoder --encoder results/pretrain/celllm/seed0/encoder.safetensors \
            --vocabulary results/vocabulary/genes.tsv --hgnc resources/raw/hgnc_2024/manifest.json --folder my_encoder
    """
    from celllm.annotate.package import package

    of_card: dict[str, Any] = {"shards": shards, "catalogue": catalogue, "cells": cells, "components": components}
    written = package(folder, encoder, vocabulary, hgnc, seed=seed, stage=stage, **of_card)
    print(f"{folder}: encoder {written.pretrained.digest[:12]}, {written.vocabulary.n_genes:,} genes")


@app.command
def embed_cells(
    *,
    encoder: Path,
    cells: Path,
    vocabulary: VocabularyFile,
    embeddings: Path,
    threads: Threads = 1,
    accelerator: Accelerator = "auto",
    stage: Stage = "embed_cells",
) -> None:
    r"""Embed cells with a pretrained encoder, frozen.

    Parameters
    ----------
    encoder
        encoder.safetensors
    cells
        aligned cells, in any units that a fit takes
    embeddings
        file to write the embeddings to, parquet

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
    embeddings_file.write(list(aligned.obs.index), embedded_ND, labels, embeddings, provenance=provenance)


def _use(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
