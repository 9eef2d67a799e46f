"""The gene network: published pairs, co-expression, and the file edges.parquet."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.genes import network, published
from celllm.genes.network import Edges
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import raw

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
LINKS = FIXTURES / "simulated.protein.links.v11.0.txt.gz"
INFO = FIXTURES / "simulated.protein.info.v11.0.txt.gz"


def vocabulary(*symbols):
    rows = [{"symbol": s, "hgnc_id": f"HGNC:{i}", "ensembl": "", "entrez": ""} for i, s in enumerate(symbols)]
    return Vocabulary(pd.DataFrame(rows))


ABC = vocabulary("A", "B", "C")


def made(a, b):
    return Edges(a_E=np.array(a, np.int32), b_E=np.array(b, np.int32), vocabulary=ABC.digest, source="by hand")


def pairs(edges):
    return list(zip(edges[0].tolist(), edges[1].tolist(), strict=True))


def test_edges_read_back_what_was_written(tmp_path):
    network.write(made([0, 0], [1, 2]), tmp_path / "edges.parquet")
    back = network.read(tmp_path / "edges.parquet", vocabulary=ABC)
    assert pairs((back.a_E, back.b_E)) == [(0, 1), (0, 2)]
    assert back.b_E.dtype == np.int32
    assert back.source == "by hand"
    with pytest.raises(VocabularyMismatch, match="build_network"):
        network.read(tmp_path / "edges.parquet", vocabulary=vocabulary("A", "C", "B"))


@pytest.mark.parametrize(("a", "b"), [([1], [0]), ([1], [1]), ([0], [3]), ([-1], [0])])
def test_an_edge_out_of_order_or_range_is_refused(tmp_path, a, b):
    network.write(made(a, b), tmp_path / "edges.parquet")
    with pytest.raises(InputError, match="0 <= a < b < 3"):
        network.read(tmp_path / "edges.parquet", vocabulary=ABC)


def test_a_table_that_is_no_network_is_refused(tmp_path):
    pd.DataFrame({"a": [0], "b": [1]}).to_parquet(tmp_path / "edges.parquet")
    with pytest.raises(InputError, match="metadata vocabulary, source"):
        network.read(tmp_path / "edges.parquet")


def manifest_of(folder, *paths):
    raw.write("n", [raw.describe(path) for path in paths], folder / "manifest.json")
    return raw.read(folder / "manifest.json")


def test_published_pairs_must_have_columns_a_and_b(tmp_path):
    pd.DataFrame({"a": ["A"], "b": ["B"]}).to_parquet(tmp_path / "pairs.parquet")
    assert published.read_published(manifest_of(tmp_path, tmp_path / "pairs.parquet")) == (["A"], ["B"])
    pd.DataFrame({"from": ["A"], "to": ["B"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"other\.parquet: columns a, b"):
        published.read_published(manifest_of(tmp_path, tmp_path / "other.parquet"))


@pytest.mark.parametrize(
    ("min_score", "expected"),
    [
        (700, {("ARF5", "CALM2"), ("CALM2", "ARHGEF9")}),
        (699, {("ARF5", "CALM2"), ("CALM2", "ARHGEF9"), ("ARF5", "ARHGEF9")}),
    ],
)
def test_strings_links_are_pairs_of_symbols_from_the_score_on(tmp_path, min_score, expected, monkeypatch):
    monkeypatch.setattr(published, "LINES", 2)
    first, second = published.read_published(manifest_of(tmp_path, LINKS, INFO), min_score=min_score)
    found = list(zip(first, second, strict=True))
    assert set(found) == expected | {(b, a) for a, b in expected}
    assert len(found) == 2 * len(expected)


def test_the_header_of_string_v12_is_known(tmp_path):
    text = gzip.decompress(INFO.read_bytes()).replace(b"protein_external_id", b"#string_protein_id")
    (tmp_path / "x.protein.info.v12.0.txt").write_bytes(text)
    first, _ = published.read_published(manifest_of(tmp_path, LINKS, tmp_path / "x.protein.info.v12.0.txt"))
    assert set(first) == {"ARF5", "CALM2", "ARHGEF9"}


def test_links_without_names_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"protein\.info(?s:.*)found: +simulated\.protein\.links"):
        published.read_published(manifest_of(tmp_path, LINKS))


def test_a_protein_without_a_name_is_named(tmp_path):
    lines = gzip.decompress(INFO.read_bytes()).splitlines(keepends=True)[:3]
    (tmp_path / "x.protein.info.txt").write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"x\.protein\.info\.txt: protein_external_id(?s:.*)9606\.ENSP00000253401"):
        published.read_published(manifest_of(tmp_path, LINKS, tmp_path / "x.protein.info.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "No columns to parse", id="empty"),
        pytest.param(b"protein1\tprotein2\tcombined_score\na\tb\t900\n", "the columns protein1\tprotein2", id="tabs"),
        pytest.param(b"protein1 protein2 combined_score\na b x\n", "the columns protein1, protein2", id="text"),
        pytest.param(LINKS.read_bytes()[:-12], "EOFError", id="truncated"),
    ],
)
def test_links_of_another_layout_are_refused(tmp_path, content, message):
    (tmp_path / "x.protein.links.txt.gz").write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.protein\.links\.txt\.gz: \(whole file\)\n(?s:.*){message}"):
        published.read_published(manifest_of(tmp_path, tmp_path / "x.protein.links.txt.gz", INFO))


def test_edges_are_undirected_unique_and_without_loops():
    first, second = np.array([3, 1, 1, 2, -1, 0]), np.array([1, 3, 1, 0, 2, -1])
    assert pairs(network.from_pairs(first, second)) == [(0, 2), (1, 3)]


def by_hand(values, k):
    dense = values.toarray()
    chosen = set()
    varying = [g for g in range(dense.shape[1]) if dense[:, g].std() > 0]
    for gene in varying:
        others = [(-np.corrcoef(dense[:, gene], dense[:, o])[0, 1], o) for o in varying if o != gene]
        chosen |= {tuple(sorted((gene, o))) for r, o in sorted(others)[:k] if r < 0}
    return sorted(chosen)


@pytest.fixture
def values(generator):
    drawn = generator.gamma(1.0, 1.0, (60, 25)) * (generator.random((60, 25)) < 0.6)
    drawn[:, 5] = 0
    drawn[:, 6] = 1.5
    return sparse.csr_matrix(drawn)


@pytest.mark.parametrize("k", [1, 3, 30])
def test_coexpression_keeps_the_strongest_positive_partners(values, k, monkeypatch):
    found = pairs(network.coexpression(values, n_partners=k))
    assert found == by_hand(values, k)
    assert not {5, 6} & {gene for pair in found for gene in pair}  # which never vary
    monkeypatch.setattr(network, "BLOCK_GENES", 7)
    assert pairs(network.coexpression(values, n_partners=k)) == found


def test_the_order_of_cells_does_not_matter(values, generator):
    turned = values[generator.permutation(60)]
    assert pairs(network.coexpression(turned, n_partners=3)) == pairs(network.coexpression(values, n_partners=3))


def test_cells_without_any_expression_give_no_edge():
    assert pairs(network.coexpression(sparse.csr_matrix((4, 3)))) == []
