"""The gene axis."""

import pandas as pd
import pytest

from celllm.harmonise.gene_axis import identified, of_locus_group
from celllm.harmonise.symbols import SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import hgnc


def table(*genes):
    return pd.DataFrame(
        [
            {"symbol": s, "locus_group": g, "hgnc_id": f"HGNC:{s}", "ensembl_gene_id": f"E{s}", "entrez_id": ""}
            for s, g in genes
        ],
    )


def test_genes_of_the_group_stand_sorted_by_symbol():
    genes = of_locus_group(table(("TP53", "coding"), ("XIST", "rna"), ("A1BG", "coding")), "coding")
    assert genes.symbols == ["A1BG", "TP53"]
    assert list(genes.genes["ensembl"]) == ["EA1BG", "ETP53"]


def test_the_order_of_the_table_does_not_change_the_digest():
    rows = [("TP53", "coding"), ("A1BG", "coding"), ("KIT", "coding")]
    assert of_locus_group(table(*rows), "coding").digest == of_locus_group(table(*rows[::-1]), "coding").digest


def test_an_unknown_group_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"'coding'; there are other, rna"):
        of_locus_group(table(("XIST", "rna"), ("IGHA1", "other")), "coding")


def test_the_demo_table_holds_coding_and_other_genes(root):
    genes = hgnc.read(root / "config/demo/hgnc_demo.tsv")
    assert len(genes) == 755
    assert of_locus_group(genes, "protein-coding gene").n_genes == 738


def test_listed_symbols_get_the_ids_of_their_genes_and_one_gene_goes_to_one_symbol(root):
    genes = hgnc.read(root / "config/demo/hgnc_demo.tsv")
    # ABHD17A twice, by a previous symbol and by its own; ABI3 by an alias, after a symbol that HGNC does not know
    symbols = ["FAM108A1", "no gene", "ABHD17A", "NESH"]
    listed = Vocabulary(pd.DataFrame({"symbol": symbols, "hgnc_id": "", "ensembl": "", "entrez": ""}))
    found = identified(listed, genes)
    assert found.symbols == symbols
    assert list(found.genes["hgnc_id"]) == ["", "", "HGNC:28756", "HGNC:29859"]
    assert list(found.genes["ensembl"]) == ["", "", "ENSG00000129968", "ENSG00000108798"]
    mapping = map_names(["C19orf27", "ABI3", "ABI1"], SymbolIndex(genes), found)
    assert mapping.index_N.tolist() == [2, 3, -1]
