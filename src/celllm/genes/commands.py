"""Commands of the gene network and the gene embedding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from celllm.base.app import Stage, Threads, VocabularyFile, commands
from celllm.base.errors import InputError
from celllm.config.recipe import RecipeOption

if TYPE_CHECKING:
    from celllm.genes.network import Edges
    from celllm.harmonise.vocabulary import Vocabulary

app = commands()


@app.command
def build_network(
    *,
    hgnc: Path,
    vocabulary: VocabularyFile,
    network: Path,
    edges: Path | None = None,
    coexpression: Path | None = None,
    stage: Stage = "build_network",
) -> None:
    r"""Build the gene network on the vocabulary, from a published edge list or from co-expression.

    Parameters
    ----------
    hgnc
        manifest of HGNC's gene annotation
    network
        file to write the edges to
    edges
        manifest of a published edge list: STRING's files, or a parquet table of symbols; this or --coexpression
    coexpression
        manifest of the shards in whose cells genes are correlated

    Example::

        python -m celllm build_network --coexpression results/shards/manifest.json \
            --hgnc resources/raw/hgnc_demo/manifest.json --vocabulary results/vocabulary/genes.tsv \
            --network edges.parquet
    """
    import numpy as np

    from celllm.base.provenance import stamp
    from celllm.genes import network as network_file
    from celllm.harmonise import vocabulary as vocabulary_file

    genes = vocabulary_file.read(vocabulary)
    if edges is not None and coexpression is None:
        made = _published(edges, hgnc, genes)
    elif coexpression is not None and edges is None:
        made = _coexpressed(coexpression, genes)
    else:
        raise InputError(
            file="build_network",
            field="--edges, --coexpression",
            expected="one of the two, as source of the network",
            found="neither" if edges is None else "both",
            remedy="give one of them: celllm build_network --help",
        )
    inputs = {"hgnc": hgnc, "vocabulary": vocabulary, "source": edges or coexpression}
    provenance = stamp(stage, {role: path for role, path in inputs.items() if path is not None})
    network_file.write(replace(made, provenance=provenance), network)
    n_connected = len(np.union1d(made.a_E, made.b_E))
    print(f"{len(made.a_E)} edges between {n_connected} of {genes.n_genes} genes")


def _published(manifest: Path, hgnc: Path, genes: Vocabulary) -> Edges:
    """Map the ends of a published network to the vocabulary; edges that lose an end are dropped."""
    import numpy as np

    from celllm.genes import network, published
    from celllm.harmonise.symbols import SymbolIndex, map_names
    from celllm.sources import hgnc as hgnc_file
    from celllm.sources import raw

    files = raw.read(manifest)
    first, second = published.read_published(files)
    names = sorted({*first, *second})
    index = SymbolIndex(hgnc_file.read(raw.read(hgnc).only().path))
    index_of = dict(zip(names, map_names(names, index, genes).index_N.tolist(), strict=True))
    a_E, b_E = network.from_pairs(*(np.array([index_of[name] for name in end], np.int64) for end in (first, second)))
    return network.Edges(a_E, b_E, genes.digest, source=", ".join(file.name for file in files.files))


def _coexpressed(manifest: Path, genes: Vocabulary) -> Edges:
    """Correlate genes over the pretraining cells, which hold no test cell."""
    import numpy as np

    from celllm.corpus.reader import cells_of
    from celllm.genes import network
    from celllm.harmonise.normalise import log_normalised

    cells = cells_of(manifest, genes)
    a_E, b_E = network.coexpression(log_normalised(cells.rows(np.arange(cells.n_cells))))
    return network.Edges(a_E, b_E, genes.digest, source=f"co-expression in {cells.n_cells} cells")


@app.command
def embed_genes(
    *,
    recipe: RecipeOption,
    network: Path,
    vocabulary: VocabularyFile,
    seed: int,
    embedding: Path,
    gene2vec: Path | None = None,
    hgnc: Path | None = None,
    shards: Path | None = None,
    threads: Threads = 1,
    stage: Stage = "embed_genes",
) -> None:
    r"""Embed the genes of the vocabulary from their network, the corpus or gene2vec, as a recipe says.

    Parameters
    ----------
    recipe
        recipe: files laid over one another, or JSON; `genes` says the method, `encoder.width` the width
    network
        the network's edges.parquet
    seed
        random seed of features, initial weights, masks and noise
    embedding
        file to write the embedding to
    gene2vec
        manifest of the published vectors, for genes.method gene2vec alone
    hgnc
        manifest of HGNC's gene annotation, by which the names of these vectors are mapped
    shards
        manifest of the pretraining cells, for genes.method corpus and corpus_network

    Example::

        python -m celllm embed_genes \
            --recipe config/recipes/paper.yaml config/recipes/tiny.yaml config/recipes/demo.yaml \
            --network results/network/edges.parquet --vocabulary results/vocabulary/genes.tsv \
            --seed 0 --embedding embedding.safetensors
    """
    import time

    import torch

    from celllm.base.provenance import stamp
    from celllm.genes import gene_embedding, methods
    from celllm.harmonise import vocabulary as vocabulary_file

    torch.set_num_threads(threads)
    genes = vocabulary_file.read(vocabulary)
    files = {"network": network, "gene2vec": gene2vec, "hgnc": hgnc, "shards": shards}
    started = time.perf_counter()
    method = recipe.genes.method
    genes_GD, report = methods.embedded(recipe, genes, files, seed=seed)
    read = {name: path for name in methods.FILES[method] if (path := files[name]) is not None}
    provenance = stamp(stage, {"vocabulary": vocabulary, **read}, recipe=recipe.digest, seed=seed)
    gene_embedding.write(gene_embedding.GeneEmbedding(genes_GD, genes.digest, method, report, provenance), embedding)
    counts = "".join(
        f", {n} {name.removeprefix('genes_').replace('_', ' ')}" for name, n in report.items() if "genes_" in name
    )
    losses = report["losses"]
    course = f"; loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} epochs" if losses else ""
    print(f"{genes.n_genes} genes by {method}{counts}{course}; {time.perf_counter() - started:.0f} s")
