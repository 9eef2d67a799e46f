"""The commands of the gene network and embedding, as the workflow calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse
from tests.recipes import tiny_values

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.config import recipe as recipes
from celllm.corpus import writer
from celllm.genes import commands, gene2vec, gene_embedding, network
from celllm.genes.network import Edges
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.harmonise.normalise import log_normalised
from celllm.harmonise.vocabulary import Vocabulary, of_locus_group
from celllm.sources import hgnc, raw

# Two genes of HGNC's complete set of October 2024, in the columns of the demo's table.
CODING = "protein-coding gene\tgene with protein product\tApproved"
MORE = (
    f"HGNC:12434\tTXK\t{CODING}\tTKL|PSCTK5|BTKL|RLK\tPTK4\t7294\tENSG00000074966\n"
    f"HGNC:7419\tMT-CO1\t{CODING}\tCOX1|COI\tMTCO1\t4512\tENSG00000198804\n"
)


def write_annotation(table: Path, folder: Path) -> Vocabulary:
    """Write the manifest of a gene annotation, and the vocabulary of its genes."""
    raw.write("h", [raw.describe(table)], folder / "hgnc.json")
    genes = of_locus_group(hgnc.read(table), "protein-coding gene")
    vocabulary_file.write(genes, folder / "genes.tsv")
    return vocabulary_file.read(folder / "genes.tsv")


@pytest.fixture
def genes(root: Path, tmp_path: Path) -> Vocabulary:
    return write_annotation(root / "config/demo/hgnc_demo.tsv", tmp_path)


def built(folder: Path, **options: Any) -> Edges:
    path = folder / "edges.parquet"
    commands.build_network(hgnc=folder / "hgnc.json", vocabulary=folder / "genes.tsv", network=path, **options)
    return network.read(path, vocabulary=vocabulary_file.read(folder / "genes.tsv"))


def manifest(folder: Path, *paths: Path) -> Path:
    raw.write("n", [raw.describe(path) for path in paths], folder / "n.json")
    return folder / "n.json"


def test_published_edges_follow_old_symbols_and_drop_strangers(tmp_path: Path, genes: Vocabulary) -> None:
    pairs = pd.DataFrame({"a": ["FYB", "CARS1", "FYB1", "NOGENE"], "b": ["CARS", "FYB1", "FYB", "CARS"]})
    pairs.to_parquet(tmp_path / "pairs.parquet")
    made = built(tmp_path, edges=manifest(tmp_path, tmp_path / "pairs.parquet"))
    assert [genes.symbols[i] for i in (made.a_E[0], made.b_E[0])] == ["CARS1", "FYB1"]
    assert len(made.a_E) == 1
    assert made.source == "pairs.parquet"
    assert made.provenance["stage"] == "build_network"


@pytest.mark.parametrize(("given", "found"), [((), "neither"), (("edges", "coexpression"), "both")])
def test_a_network_has_one_source(tmp_path: Path, genes: Vocabulary, given: tuple[str, ...], found: str) -> None:
    with pytest.raises(InputError, match=rf"--edges, --coexpression(?s:.*)found: +{found}"):
        built(tmp_path, **dict.fromkeys(given, tmp_path / "n.json"))


def test_the_string_network_keeps_most_of_its_edges(mirror: Path, tmp_path: Path) -> None:
    write_annotation(mirror / "hgnc_complete_set_2024-10.txt.gz", tmp_path)
    made = built(tmp_path, edges=manifest(tmp_path, mirror / "ppi_string_highconf_symbols.parquet"))
    assert 0.97 * 156_186 < len(made.a_E) <= 156_186
    assert len(np.union1d(made.a_E, made.b_E)) > 13_500


def write_shards(folder: Path, cells: ad.AnnData, genes: Vocabulary) -> Path:
    cells.write_h5ad(folder / "d.h5ad")
    options = {"n_genes": genes.n_genes, "shard_cells": 50, "tested": (), "hashes": {}, "provenance": {}}
    writer.write(folder / "d.h5ad", folder / "shards.json", vocabulary=genes.digest, **options)
    return folder / "shards.json"


def test_coexpression_comes_from_the_shards(
    tmp_path: Path, genes: Vocabulary, generator: np.random.Generator, aligned: Any
) -> None:
    shared = generator.poisson(3, 80)
    matrix = np.zeros((80, genes.n_genes), dtype=np.int32)
    matrix[:, 7] = shared
    matrix[:, 3] = 2 * shared
    matrix[:, 100:110] = generator.poisson(50, (80, 10))
    shards = write_shards(tmp_path, aligned(matrix, genes), genes)
    made = built(tmp_path, coexpression=shards)
    assert (3, 7) in set(zip(made.a_E.tolist(), made.b_E.tolist(), strict=True))
    assert made.source == "co-expression in 80 cells"
    a, b = network.coexpression(log_normalised(sparse.csr_matrix(matrix)))
    np.testing.assert_array_equal([made.a_E, made.b_E], [a, b])

    vocabulary_file.write(Vocabulary(genes.genes[::-1].reset_index(drop=True)), tmp_path / "genes.tsv")
    with pytest.raises(VocabularyMismatch, match="snakemake --forcerun write_shards"):
        built(tmp_path, coexpression=shards)


def write_recipe(folder: Path, *, width: int = 4, **genes: Any) -> None:
    values = tiny_values(genes={"method": "gene2vec", **genes}, encoder={"width": width})
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    """The demo's genes and two more, no edge, a recipe of width 4, the simulated vectors of three genes."""
    (tmp_path / "hgnc.tsv").write_text((root / "config/demo/hgnc_demo.tsv").read_text().rstrip("\n") + "\n" + MORE)
    genes = write_annotation(tmp_path / "hgnc.tsv", tmp_path)
    none = np.zeros(0, dtype=np.int32)
    network.write(Edges(none, none, genes.digest, "none"), tmp_path / "edges.parquet")
    fixture = root / "tests/fixtures/simulated_gene2vec_w2v.txt.gz"
    raw.write("g", [raw.describe(fixture)], tmp_path / "vectors.json")
    write_recipe(tmp_path)
    return tmp_path


def embed(folder: Path, *, seed: int = 0, without: tuple[str, ...] = ()) -> np.ndarray:
    published = {"gene2vec": folder / "vectors.json", "hgnc": folder / "hgnc.json"}
    commands.embed_genes(
        recipe=recipes.read(folder / "recipe.yaml"),
        network=folder / "edges.parquet",
        vocabulary=folder / "genes.tsv",
        seed=seed,
        embedding=folder / "embedding.safetensors",
        **{name: path for name, path in published.items() if name not in without},
    )
    digest = vocabulary_file.read(folder / "genes.tsv").digest
    return gene_embedding.read(folder / "embedding.safetensors", vocabulary=digest).genes_GD


def test_genes_get_their_published_vectors_up_to_centre_and_scale(folder: Path, root: Path) -> None:
    found = embed(folder)
    names, vectors = gene2vec.read(root / "tests/fixtures/simulated_gene2vec_w2v.txt.gz")
    axis = vocabulary_file.read(folder / "genes.tsv").symbols
    ours = found[[axis.index(name) for name in names]]
    centred = vectors - vectors.mean(axis=0)
    np.testing.assert_allclose(ours, centred * (ours[1, 1] / centred[1, 1]), atol=1e-5)
    assert np.sqrt((found**2).mean()) == pytest.approx(1, abs=1e-5)


def test_genes_without_a_vector_are_counted_distinct_and_follow_the_seed(folder: Path) -> None:
    first = embed(folder)
    written = gene_embedding.read(folder / "embedding.safetensors")
    assert written.method == "gene2vec"
    assert written.report["genes_without_vector"] == len(first) - 3
    assert {"gene2vec", "hgnc"} <= set(written.provenance["inputs"])
    assert len(np.unique(first, axis=0)) == len(first)
    np.testing.assert_array_equal(embed(folder), first)
    other = embed(folder, seed=1)
    axis = vocabulary_file.read(folder / "genes.tsv").symbols
    known = axis.index("TXK")
    changed = np.flatnonzero(np.abs(first / first[known] - other / other[known]).max(axis=1) > 0.01)
    assert set(changed) == set(range(len(first))) - {axis.index(name) for name in ("TXK", "CD3E", "MT-CO1")}


@pytest.mark.parametrize(
    ("recipe", "without", "message"),
    [
        ({"width": 8}, (), r"encoder\.width.*expected: 4.*found: +8"),
        ({}, ("gene2vec", "hgnc"), r"genes\.method.*--gene2vec and --hgnc.*no --gene2vec and no --hgnc"),
        ({}, ("hgnc",), r"genes\.method.*--gene2vec and --hgnc.*no --hgnc"),
        ({"method": "imported"}, (), r"genes\.method.*came with a published checkpoint"),
        ({"method": "svd"}, (), r"edges\.parquet: a, b.*more than 4 genes.*a network of 0 genes"),
    ],
)
def test_an_embedding_that_cannot_be_made_is_refused(
    folder: Path, recipe: dict[str, Any], without: tuple[str, ...], message: str
) -> None:
    write_recipe(folder, **recipe)
    with pytest.raises(InputError, match=f"(?s){message}"):
        embed(folder, without=without)


def test_vectors_of_strangers_are_refused_and_other_methods_need_none(folder: Path, root: Path) -> None:
    write_recipe(folder, method="random")
    found = embed(folder, without=("gene2vec", "hgnc"))
    assert len(np.unique(found, axis=0)) == len(found)
    write_recipe(folder)
    write_annotation(root / "config/demo/hgnc_demo.tsv", folder)  # which knows one of the three names
    with pytest.raises(InputError, match=r"(?s)two genes of the vocabulary.*1 of 3 names"):
        embed(folder)
