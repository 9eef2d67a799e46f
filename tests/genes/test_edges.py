"""edges.parquet: the gene network."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.genes import edges
from celllm.genes.edges import Edges
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import raw

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
LINKS = FIXTURES / "simulated.protein.links.v11.0.txt.gz"
INFO = FIXTURES / "simulated.protein.info.v11.0.txt.gz"


def vocabulary(*symbols):
    rows = [{"symbol": s, "hgnc_id": f"HGNC:{i}", "ensembl": "", "entrez": ""} for i, s in enumerate(symbols)]
    return Vocabulary(pd.DataFrame(rows))


ABC = vocabulary("A", "B", "C")


def made(a, b, digest=ABC.digest):
    return Edges(a_E=np.array(a, np.int32), b_E=np.array(b, np.int32), vocabulary=digest, source="by hand")


def test_edges_read_back_what_was_written(tmp_path):
    edges.write(made([0, 0], [1, 2]), tmp_path / "edges.parquet")
    back = edges.read(tmp_path / "edges.parquet", vocabulary=ABC)
    assert back.a_E.tolist() == [0, 0]
    assert back.b_E.tolist() == [1, 2]
    assert back.b_E.dtype == np.int32
    assert back.source == "by hand"


def test_edges_of_another_vocabulary_are_refused(tmp_path):
    edges.write(made([0], [1]), tmp_path / "edges.parquet")
    with pytest.raises(VocabularyMismatch, match="build_network"):
        edges.read(tmp_path / "edges.parquet", vocabulary=vocabulary("A", "C", "B"))


@pytest.mark.parametrize(("a", "b"), [([1], [0]), ([1], [1]), ([0], [3]), ([-1], [0])])
def test_an_edge_out_of_order_or_range_is_refused(tmp_path, a, b):
    edges.write(made(a, b), tmp_path / "edges.parquet")
    with pytest.raises(InputError, match="0 <= a < b < 3"):
        edges.read(tmp_path / "edges.parquet", vocabulary=ABC)


def test_a_table_that_is_no_network_is_refused(tmp_path):
    pd.DataFrame({"a": [0], "b": [1]}).to_parquet(tmp_path / "edges.parquet")
    with pytest.raises(InputError, match="metadata vocabulary, source"):
        edges.read(tmp_path / "edges.parquet")


def test_published_pairs_must_have_columns_a_and_b(tmp_path):
    pd.DataFrame({"a": ["A"], "b": ["B"]}).to_parquet(tmp_path / "pairs.parquet")
    assert edges.read_pairs(tmp_path / "pairs.parquet") == (["A"], ["B"])
    pd.DataFrame({"from": ["A"], "to": ["B"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"other\.parquet: columns a, b"):
        edges.read_pairs(tmp_path / "other.parquet")


def manifest_of(folder, *paths):
    raw.write("n", [raw.describe(path) for path in paths], folder / "manifest.json")
    return raw.read(folder / "manifest.json")


@pytest.mark.parametrize(
    ("min_score", "expected"),
    [
        (700, {("ARF5", "CALM2"), ("CALM2", "ARHGEF9")}),
        (699, {("ARF5", "CALM2"), ("CALM2", "ARHGEF9"), ("ARF5", "ARHGEF9")}),
    ],
)
def test_strings_links_are_pairs_of_symbols_from_the_score_on(tmp_path, min_score, expected, monkeypatch):
    monkeypatch.setattr(edges, "LINES", 2)
    first, second = edges.read_published(manifest_of(tmp_path, LINKS, INFO), min_score=min_score)
    pairs = list(zip(first, second, strict=True))
    assert set(pairs) == expected | {(b, a) for a, b in expected}
    assert len(pairs) == 2 * len(expected)


def test_a_list_of_symbols_is_read_by_the_same_call(tmp_path):
    pd.DataFrame({"a": ["A"], "b": ["B"]}).to_parquet(tmp_path / "pairs.parquet")
    assert edges.read_published(manifest_of(tmp_path, tmp_path / "pairs.parquet")) == (["A"], ["B"])


def test_links_without_names_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"protein\.info(?s:.*)found: +simulated\.protein\.links"):
        edges.read_published(manifest_of(tmp_path, LINKS))


def test_a_protein_without_a_name_is_named(tmp_path):
    lines = gzip.decompress(INFO.read_bytes()).splitlines(keepends=True)[:3]
    (tmp_path / "x.protein.info.txt").write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"x\.protein\.info\.txt: protein_external_id(?s:.*)9606\.ENSP00000253401"):
        edges.read_published(manifest_of(tmp_path, LINKS, tmp_path / "x.protein.info.txt"))


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
        edges.read_published(manifest_of(tmp_path, tmp_path / "x.protein.links.txt.gz", INFO))


def test_the_header_of_string_v12_is_known(tmp_path):
    text = gzip.decompress(INFO.read_bytes()).replace(b"protein_external_id", b"#string_protein_id")
    (tmp_path / "x.protein.info.v12.0.txt").write_bytes(text)
    first, _ = edges.read_published(manifest_of(tmp_path, LINKS, tmp_path / "x.protein.info.v12.0.txt"))
    assert set(first) == {"ARF5", "CALM2", "ARHGEF9"}
