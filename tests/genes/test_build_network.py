"""The gene network by the command that the workflow calls."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.corpus import writer
from celllm.corpus.writer import Excluded
from celllm.genes import edges, network
from celllm.genes.commands import build_network
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary
from celllm.harmonise.commands import build_vocabulary
from celllm.harmonise.normalise import log_normalised
from celllm.sources import raw


@pytest.fixture
def genes(root, tmp_path):
    raw.write("h", [raw.describe(root / "config/demo/hgnc_demo.tsv")], tmp_path / "hgnc.json")
    build_vocabulary.main(["--hgnc", str(tmp_path / "hgnc.json"), "--out", str(tmp_path / "genes.tsv")])
    return vocabulary.read(tmp_path / "genes.tsv")


def run(folder, *source):
    tail = ["--hgnc", "hgnc.json", "--vocabulary", "genes.tsv", "--network", "edges.parquet"]
    build_network.main([*source, *(str(folder / x) if not x.startswith("--") else x for x in tail)])


def test_published_edges_follow_old_symbols_and_drop_strangers(tmp_path, genes):
    pairs = pd.DataFrame({"a": ["FYB", "CARS1", "FYB1", "NOGENE"], "b": ["CARS", "FYB1", "FYB", "CARS"]})
    pairs.to_parquet(tmp_path / "pairs.parquet")
    raw.write("n", [raw.describe(tmp_path / "pairs.parquet")], tmp_path / "n.json")
    run(tmp_path, "--edges", str(tmp_path / "n.json"))
    made = edges.read(tmp_path / "edges.parquet", vocabulary=genes)
    assert [genes.symbols[i] for i in (made.a_E[0], made.b_E[0])] == ["CARS1", "FYB1"]
    assert len(made.a_E) == 1
    assert made.source == "pairs.parquet"


def test_a_network_in_another_format_is_refused(tmp_path, genes):
    (tmp_path / "links.txt.gz").write_bytes(b"")
    raw.write("n", [raw.describe(tmp_path / "links.txt.gz")], tmp_path / "n.json")
    with pytest.raises(InputError, match=r"(?s)parquet.*STRING's.*found: +links\.txt\.gz"):
        run(tmp_path, "--edges", str(tmp_path / "n.json"))


@pytest.mark.parametrize(("option", "expected"), [([], 1), (["--min-score", "901"], 0)])
def test_strings_own_files_make_a_network_from_the_least_score_on(tmp_path, genes, option, expected):
    symbols = genes.symbols[:2]
    (tmp_path / "9606.protein.links.txt").write_text("protein1 protein2 combined_score\np q 900\nq p 900\np r 500\n")
    names = "".join(f"{i}\t{name}\n" for i, name in zip("pqr", [*symbols, "NOGENE"], strict=True))
    (tmp_path / "9606.protein.info.txt").write_text(f"protein_external_id\tpreferred_name\n{names}")
    files = [raw.describe(tmp_path / f"9606.protein.{part}.txt") for part in ("links", "info")]
    raw.write("n", files, tmp_path / "n.json")
    run(tmp_path, "--edges", str(tmp_path / "n.json"), *option)
    made = edges.read(tmp_path / "edges.parquet", vocabulary=genes)
    assert list(zip(made.a_E.tolist(), made.b_E.tolist(), strict=True)) == [(0, 1)] * expected
    assert made.source == "9606.protein.links.txt, 9606.protein.info.txt"


def test_the_string_network_keeps_most_of_its_edges(mirror, tmp_path):
    raw.write("h", [raw.describe(mirror / "hgnc_complete_set_2024-10.txt.gz")], tmp_path / "hgnc.json")
    build_vocabulary.main(["--hgnc", str(tmp_path / "hgnc.json"), "--out", str(tmp_path / "genes.tsv")])
    raw.write("n", [raw.describe(mirror / "ppi_string_highconf_symbols.parquet")], tmp_path / "n.json")
    run(tmp_path, "--edges", str(tmp_path / "n.json"))
    made = edges.read(tmp_path / "edges.parquet", vocabulary=vocabulary.read(tmp_path / "genes.tsv"))
    assert 0.97 * 156_186 < len(made.a_E) <= 156_186
    assert len(np.union1d(made.a_E, made.b_E)) > 13_500


def test_coexpression_comes_from_the_shards(tmp_path, genes, generator):
    obs = pd.DataFrame(
        {
            "sample": "s",
            "donor": "s",
            "study": "d",
            "label": "",
            "is_malignant": 0,
            "n_counts": 1.0,
            "n_genes": 1,
            "cell_hash": "a",
        },
        index=[f"d:{i}" for i in range(80)],
    )
    shared = generator.poisson(3, 80)
    matrix = np.zeros((80, genes.n_genes), dtype=np.int32)
    matrix[:, 7] = shared
    matrix[:, 3] = 2 * shared
    matrix[:, 100:110] = generator.poisson(50, (80, 10))
    cells = counts.build(
        sparse.csr_matrix(matrix),
        obs,
        vocabulary=genes,
        dataset="d",
        units="counts",
        simulated=False,
        provenance={},
    )
    counts.write(cells, tmp_path / "d.h5ad")
    writer.write(
        [tmp_path / "d.h5ad"],
        tmp_path / "shards.json",
        vocabulary=genes.digest,
        n_genes=genes.n_genes,
        excluded=Excluded(ids=(), hashes={}),
        shard_cells=50,
        seed=0,
        provenance={},
    )
    run(tmp_path, "--coexpression", str(tmp_path / "shards.json"))
    made = edges.read(tmp_path / "edges.parquet", vocabulary=genes)
    assert (3, 7) in set(zip(made.a_E.tolist(), made.b_E.tolist(), strict=True))
    assert made.source == "co-expression in 80 cells"
    a, b = network.coexpression(log_normalised(sparse.csr_matrix(matrix)))
    assert made.a_E.tolist() == a.tolist()
    assert made.b_E.tolist() == b.tolist()
