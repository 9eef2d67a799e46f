"""Gene tables by the command that the workflow calls: gene2vec. Other methods: test_pretrain, model/test_gene_table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from celllm.base.errors import InputError
from celllm.genes import edges, gene2vec
from celllm.genes import gene_embedding as gene_table
from celllm.genes.commands import embed_genes
from celllm.genes.edges import Edges
from celllm.harmonise import vocabulary
from celllm.harmonise.commands import build_vocabulary
from celllm.sources import raw

# Two genes of HGNC's complete set of October 2024, in the columns of the demo's table.
CODING = "protein-coding gene\tgene with protein product\tApproved"
MORE = (
    f"HGNC:12434\tTXK\t{CODING}\tTKL|PSCTK5|BTKL|RLK\tPTK4\t7294\tENSG00000074966\n"
    f"HGNC:7419\tMT-CO1\t{CODING}\tCOX1|COI\tMTCO1\t4512\tENSG00000198804\n"
)


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    """The demo's genes and two more, no edge, a recipe of width 4, the simulated vectors of three genes."""
    (tmp_path / "hgnc.tsv").write_text((root / "config/demo/hgnc_demo.tsv").read_text().rstrip("\n") + "\n" + MORE)
    raw.write("h", [raw.describe(tmp_path / "hgnc.tsv")], tmp_path / "hgnc.json")
    build_vocabulary.main(["--hgnc", str(tmp_path / "hgnc.json"), "--out", str(tmp_path / "genes.tsv")])
    none = np.zeros(0, dtype=np.int32)
    digest = vocabulary.read(tmp_path / "genes.tsv").digest
    edges.write(Edges(none, none, digest, "none"), tmp_path / "edges.parquet")
    fixture = root / "tests/fixtures/simulated_gene2vec_w2v.txt.gz"
    raw.write("g", [raw.describe(fixture)], tmp_path / "vectors.json")
    write_recipe(tmp_path)
    return tmp_path


def write_recipe(folder: Path, *, width: int = 4, **genes: Any) -> None:
    values = {
        "tokens": {"max_length": 24},
        "genes": {"method": "gene2vec", **genes},
        "encoder": {"width": width, "depth": 1, "heads": 2, "head_width": 4},
        "training": {"batch_cells": 10, "chunk_tokens": 128, "steps": 4},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))


def embed(folder: Path, *, seed: int = 0, vectors: bool = True, hgnc: bool = True) -> np.ndarray:
    names = {"recipe": "recipe.yaml", "network": "edges.parquet", "vocabulary": "genes.tsv", "table": "t.safetensors"}
    names |= {"gene2vec": "vectors.json"} if vectors else {}
    names |= {"hgnc": "hgnc.json"} if hgnc else {}
    options = [part for name, file in names.items() for part in (f"--{name}", str(folder / file))]
    embed_genes.main([*options, "--seed", str(seed)])
    return gene_table.read(folder / "t.safetensors", vocabulary=vocabulary.read(folder / "genes.tsv").digest).genes_GD


def test_genes_get_their_published_vectors_up_to_centre_and_scale(folder: Path, root: Path) -> None:
    found = embed(folder)
    names, vectors = gene2vec.read(root / "tests/fixtures/simulated_gene2vec_w2v.txt.gz")
    axis = vocabulary.read(folder / "genes.tsv").symbols
    ours = found[[axis.index(name) for name in names]]
    centred = vectors - vectors.mean(axis=0)
    np.testing.assert_allclose(ours, centred * (ours[1, 1] / centred[1, 1]), atol=1e-5)
    assert np.sqrt((found**2).mean()) == pytest.approx(1, abs=1e-5)


def test_genes_without_a_vector_are_counted_distinct_and_follow_the_seed(folder: Path) -> None:
    first = embed(folder)
    written = gene_table.read(folder / "t.safetensors")
    assert written.method == "gene2vec"
    assert written.report["genes_without_vector"] == len(first) - 3
    assert {"gene2vec", "hgnc"} <= set(written.provenance["inputs"])
    assert len(np.unique(first, axis=0)) == len(first)
    axis = vocabulary.read(folder / "genes.tsv").symbols
    np.testing.assert_array_equal(embed(folder), first)
    other = embed(folder, seed=1)
    changed = np.flatnonzero(
        np.abs(first / first[axis.index("TXK")] - other / other[axis.index("TXK")]).max(axis=1) > 0.01
    )
    assert set(changed) == set(range(len(first))) - {axis.index(name) for name in ("TXK", "CD3E", "MT-CO1")}


def test_a_recipe_of_another_width_is_refused_by_its_key(folder: Path) -> None:
    write_recipe(folder, width=8)
    with pytest.raises(InputError, match=r"(?s)encoder\.width.*expected: 4.*found: +8"):
        embed(folder)


@pytest.mark.parametrize(
    ("given", "found"),
    [({"vectors": False, "hgnc": False}, "neither"), ({"vectors": False}, "only one"), ({"hgnc": False}, "only one")],
    ids=["none", "hgnc alone", "vectors alone"],
)
def test_gene2vec_without_its_files_is_refused(folder: Path, given: dict[str, bool], found: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)genes\.method.*--gene2vec and --hgnc.*{found}"):
        embed(folder, **given)


def test_vectors_of_strangers_are_refused(folder: Path, root: Path) -> None:
    demo = root / "config/demo/hgnc_demo.tsv"  # which knows one of the three names
    raw.write("h", [raw.describe(demo)], folder / "hgnc.json")
    build_vocabulary.main(["--hgnc", str(folder / "hgnc.json"), "--out", str(folder / "genes.tsv")])
    with pytest.raises(InputError, match=r"(?s)two genes of the vocabulary.*1 of 3 names"):
        embed(folder)


def test_other_methods_need_no_vectors(folder: Path) -> None:
    write_recipe(folder, method="random")
    table = embed(folder, vectors=False, hgnc=False)
    assert len(np.unique(table, axis=0)) == len(table)
