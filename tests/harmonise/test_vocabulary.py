"""The gene axis keeps its order and notices when it was tampered with."""

from __future__ import annotations

import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.harmonise import vocabulary
from celllm.harmonise.vocabulary import Vocabulary, of_locus_group


@pytest.fixture
def genes():
    columns = {"symbol": ["A1BG", "NA", "ZZZ3"], "hgnc_id": ["HGNC:5", "HGNC:6", "HGNC:7"]}
    return Vocabulary(pd.DataFrame(columns | {"ensembl": ["ENSG00000121410", "", ""], "entrez": ["1", "", "3"]}))


def test_a_round_trip_keeps_genes_and_digest(genes, tmp_path):
    vocabulary.write(genes, tmp_path / "genes.tsv")
    again = vocabulary.read(tmp_path / "genes.tsv")
    pd.testing.assert_frame_equal(again.genes, genes.genes)
    assert again.digest == genes.digest != Vocabulary(genes.genes.iloc[::-1]).digest


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda text: text.replace("hgnc_id", "hgnc"), "columns"),
        (lambda text: text.replace("\n1\t", "\n7\t"), "index"),
        (lambda text: text.replace("ZZZ3", "A1BG"), "symbol"),
    ],
    ids=["column renamed", "row renumbered", "symbol twice"],
)
def test_a_damaged_file_is_refused_by_field(genes, tmp_path, change, field):
    path = tmp_path / "genes.tsv"
    vocabulary.write(genes, path)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError) as caught:
        vocabulary.read(path)
    assert caught.value.field == field
    assert "build_vocabulary" in caught.value.remedy


def test_a_list_of_symbols_is_a_vocabulary_in_its_order_and_a_table_is_read_as_ever(genes, tmp_path):
    (tmp_path / "genes.txt").write_text("A1BG\nNA\nZZZ3\n")
    found = vocabulary.read_list(tmp_path / "genes.txt")
    assert found.symbols == ["A1BG", "NA", "ZZZ3"]
    vocabulary.write(found, tmp_path / "genes.tsv")
    assert vocabulary.read_list(tmp_path / "genes.tsv").digest == vocabulary.read(tmp_path / "genes.tsv").digest
    assert found.digest == vocabulary.read(tmp_path / "genes.tsv").digest != genes.digest


@pytest.mark.parametrize(
    ("text", "field", "found"),
    [("", "symbol", "nothing"), ("A\n\nB\n", "line 2", "nothing"), ("A\nB\nA\n", "symbol", "A more than once")],
    ids=["empty", "blank line", "symbol twice"],
)
def test_a_damaged_list_is_refused(tmp_path, text, field, found):
    (tmp_path / "genes.txt").write_text(text)
    with pytest.raises(InputError) as caught:
        vocabulary.read_list(tmp_path / "genes.txt")
    assert (caught.value.field, caught.value.found) == (field, found)


def test_genes_of_the_group_stand_sorted_by_symbol_whatever_the_order_of_the_table():
    columns = ["symbol", "locus_group", "hgnc_id", "ensembl_gene_id", "entrez_id"]
    rows = [("TP53", "coding", "H1", "E1", ""), ("XIST", "rna", "H2", "E2", ""), ("A1BG", "coding", "H3", "E3", "")]
    genes, turned = (of_locus_group(pd.DataFrame(given, columns=columns), "coding") for given in (rows, rows[::-1]))
    assert genes.symbols == ["A1BG", "TP53"]
    assert list(genes.genes["ensembl"]) == ["E3", "E1"]
    assert genes.digest == turned.digest
