"""The methods that a recipe may name as `genes.method`, each with the files it reads.

Shapes: G genes of the vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from celllm.base.errors import InputError
from celllm.config.recipe import Recipe
from celllm.corpus.reader import cells_of
from celllm.genes import corpus, embed, gene2vec
from celllm.genes import network as network_file
from celllm.genes.embed import Embedded
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.randomness import Purpose, stream_seed, torch_generator

if TYPE_CHECKING:
    import torch

FILES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("graphmae", "svd", "random"), ("network",)),
    "gene2vec": ("gene2vec", "hgnc"),
    "corpus": ("shards",),
    "corpus_network": ("shards", "network"),
}
"""By method: names of the files it needs."""


def embedded(recipe: Recipe, genes: Vocabulary, files: Mapping[str, Path | None], *, seed: int) -> Embedded:
    """Embed the genes of the vocabulary by the recipe's method, G x D, at the recipe's `genes.scale`.

    InputError if the method makes no embedding, a file that it needs is not given, or there is too little in it for D.
    """
    method = recipe.genes.method
    if method not in FILES:
        raise InputError(
            file="--recipe",
            field="genes.method",
            expected=", ".join(FILES),
            found=f"{method}: such an embedding came with a published checkpoint and is made nowhere else",
            remedy="choose one of the methods that make an embedding",
        )
    given = {name: path for name in FILES[method] if (path := files.get(name)) is not None}
    missing = [f"--{name}" for name in FILES[method] if name not in given]
    if missing:
        raise InputError(
            file="--recipe",
            field="genes.method",
            expected=f"the options {' and '.join(f'--{name}' for name in FILES[method])}, which {method} needs",
            found=f"no {' and no '.join(missing)}",
            remedy="give them (gene2vec: its data set in the config), or choose another genes.method",
        )
    generator = torch_generator(seed, 0, Purpose.GENE_EMBEDDING)
    genes_GD, report = _made(recipe, genes, given, seed=seed, generator=generator)
    return genes_GD * np.float32(recipe.genes.scale), report


def _made(
    recipe: Recipe, genes: Vocabulary, files: Mapping[str, Path], *, seed: int, generator: torch.Generator
) -> Embedded:
    method, width = recipe.genes.method, recipe.encoder.width
    if method == "gene2vec":
        vectors_ND, genes_N = gene2vec.on_axis(files["gene2vec"], files["hgnc"], genes, width=width)
        return embed.from_vectors(vectors_ND, genes_N, n_genes=genes.n_genes, generator=generator)
    parts: list[embed.Vectors] = []
    report: dict[str, Any] = {"losses": []}
    if "shards" in files:
        of_corpus = width if method == "corpus" else width - width // 2
        parts.append(_of_corpus(files["shards"], genes, width=of_corpus, seed=seed))
        report["genes_without_cells"] = int((~parts[0].any(axis=1)).sum())
        width -= of_corpus
    if "network" in files:
        edges = network_file.read(files["network"], vocabulary=genes)
        try:
            of_network, more = embed.from_network(
                edges.a_E, edges.b_E, n_genes=genes.n_genes, width=width, settings=recipe.genes, generator=generator
            )
        except ValueError as error:
            expected, instead = f"a network of more than {width} genes", "genes.method random in the recipe"
            raise _too_small(files["network"], "a, b", expected, error, f"{instead}, or another network") from error
        parts.append(of_network)
        report |= more
    return np.concatenate(parts, axis=1), report


def _of_corpus(manifest: Path, genes: Vocabulary, *, width: int, seed: int) -> embed.Vectors:
    cells = cells_of(manifest, genes)
    try:
        vectors_GD = corpus.singular_vectors(
            cells.rows,
            n_cells=cells.n_cells,
            n_genes=cells.n_genes,
            width=width,
            seed=stream_seed(seed, 0, Purpose.GENE_EMBEDDING),
        )
    except ValueError as error:
        expected, instead = f"more than {width} cells and genes", "another genes.method or a larger corpus"
        raise _too_small(manifest, "cells", expected, error, instead) from error
    return embed.at_unit_scale(vectors_GD)


def _too_small(file: Path, field: str, expected: str, found: ValueError, instead: str) -> InputError:
    remedy = f"choose a smaller encoder.width, {instead}"
    return InputError(file=file, field=field, expected=expected, found=str(found), remedy=remedy)
