"""The gene axis."""

import pandas as pd
import pytest

from celllm.contracts import hgnc
from celllm.genes.vocabulary import of_locus_group


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
