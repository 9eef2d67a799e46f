"""From names to genes: hand-written cases of everything a source does to a name."""

from collections import Counter

import pandas as pd
import pytest

from celllm.harmonise.symbols import SymbolIndex, identified, map_names, one_name_a_gene
from celllm.harmonise.vocabulary import Vocabulary, of_locus_group
from celllm.sources import hgnc, raw
from celllm.sources.readers.h5ad import read_one

CODING, RNA = "protein-coding gene", "non-coding RNA"
GENES = [
    # symbol, locus group, previous, aliases, Ensembl id
    ("SEPTIN14", CODING, ["SEPT14"], [], "ENSG00000154997"),
    ("MARCHF1", CODING, ["MARCH1"], [], "ENSG00000145416"),
    ("MTARC1", CODING, ["MARC1"], [], ""),
    ("MARCHF3", CODING, ["MARCH3"], [], ""),
    ("DELEC1", CODING, ["DEC1"], [], ""),
    ("BHLHE40", CODING, [], ["DEC1"], ""),
    ("NKX6-2", CODING, [], [], ""),
    ("KRTAP16-1", CODING, [], [], ""),
    ("RGS5", CODING, [], [], "ENSG00000143248"),
    ("ACAT1", CODING, [], [], ""),
    ("SOAT1", CODING, ["ACAT1"], [], ""),
    ("QARS1", CODING, ["QARS"], [], ""),
    ("EPRS1", CODING, ["QARS", "EPRS"], [], ""),
    ("FYB1", CODING, ["FYB"], ["SLAP130"], ""),
    ("FYB2", CODING, [], ["SLAP130"], ""),
    ("SELENOT", CODING, [], ["SELT", "225"], ""),
    ("SNHG32", RNA, ["C6orf48"], [], "ENSG00000204387"),
    ("SHADOW", CODING, [], ["C6orf48"], ""),
    ("TWIN1", RNA, [], [], "ENSG00000230417"),
    ("TWIN2", RNA, [], [], "ENSG00000230417"),
    ("ERCC1", CODING, [], [], ""),
    ("MB", CODING, [], [], "ENSG00000198125"),
    ("CD79A", CODING, [], ["MB-1"], "ENSG00000105369"),
    ("NKX2-1", CODING, [], [], ""),
    ("C1orf112", CODING, [], [], ""),
]


def table():
    columns = ["symbol", "locus_group", "prev_symbol", "alias_symbol", "ensembl_gene_id"]
    made = pd.DataFrame(GENES, columns=columns)
    return made.assign(hgnc_id=[f"HGNC:{i}" for i in range(len(made))], entrez_id="")


@pytest.fixture(scope="module")
def index():
    return SymbolIndex(table())


@pytest.fixture(scope="module")
def vocabulary():
    return of_locus_group(table(), CODING)


@pytest.mark.parametrize(
    ("name", "symbol", "route"),
    [
        ("ENSG00000154997", "SEPTIN14", "ensembl"),
        ("ENSG00000154997.12", "SEPTIN14", "ensembl"),
        ("WHATEVER_ENSG00000154997.1", "SEPTIN14", "ensembl"),
        ("WHATEVER-ENSG00000154997", "SEPTIN14", "ensembl"),
        ("RGS5_ENSG99999999999.1", "RGS5", "approved"),
        ("NKX6-2_ENSG99999999999.1", "NKX6-2", "approved"),
        ("RGS5", "RGS5", "approved"),
        ("ERCC1", "ERCC1", "approved"),
        ("ACAT1", "ACAT1", "approved"),  # also a previous symbol of SOAT1
        ("SEPT14", "SEPTIN14", "previous"),
        ("MARCH1", "MARCHF1", "previous"),
        ("DEC1", "DELEC1", "previous"),  # also an alias of BHLHE40
        ("EPRS", "EPRS1", "previous"),
        ("SELT", "SELENOT", "alias"),
        ("RGS5.1", "RGS5", "repaired"),
        ("NKX6.2", "NKX6-2", "repaired"),
        ("NKX6.2.1", "NKX6-2", "repaired"),
        ("KRTAP16.1", "KRTAP16-1", "repaired"),
        ("14-Sep", "SEPTIN14", "repaired"),
        ("3-Mar", "MARCHF3", "repaired"),
        ("1-Dec", "DELEC1", "repaired"),
        (" RGS5 ", "RGS5", "approved"),
        ('"RGS5"', "RGS5", "approved"),
        ("GRCh38_RGS5", "RGS5", "approved"),
        ("GRCh38_____ENSG00000143248", "RGS5", "ensembl"),
        ("hg19-RGS5", "RGS5", "approved"),
        ("DEPRECATED_ENSG00000143248", "RGS5", "ensembl"),
        ("ENSG99999999999.1_RGS5", "RGS5", "approved"),
        ("ENSG00000143248.7_PAR_Y", "RGS5", "ensembl"),
        ("C1ORF112", "C1orf112", "repaired"),
        ("NKX2-1", "NKX2-1", "approved"),
    ],
)
def test_a_name_finds_its_gene(index, vocabulary, name, symbol, route):
    mapping = map_names([name], index, vocabulary)
    assert mapping.routes == [route]
    assert vocabulary.symbols[mapping.index_N[0]] == symbol


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("QARS", "ambiguous"),  # previous symbol of two genes
        ("SLAP130", "ambiguous"),  # alias of two genes
        ("1-Mar", "ambiguous"),  # MARCH1 or MARC1
        ("ENSG00000230417", "ambiguous"),  # Ensembl id of two genes
        ("SNHG32", "outside_vocabulary"),
        ("SNHG32_ENSG00000204387.1", "outside_vocabulary"),
        ("C6orf48", "outside_vocabulary"),  # alias of a coding gene, but before that the old symbol of an RNA
        ("225", "unknown"),  # an Entrez id, though also somebody's alias
        ("RP11-34P13.7", "unknown"),
        ("AL627309.1", "unknown"),
        ("SELT.1", "unknown"),  # repairs are held against approved symbols only
        ("2-Mar", "unknown"),
        ("ERCC-00002", "unknown"),
        ("ENSMUSG00000000001", "unknown"),
        ("rgs5", "unknown"),
        ("Rgs5_ENSMUSG00000000001", "unknown"),
        ("RGS5_ENSMUSG00000000001", "unknown"),  # the id decides
        ("RGS5-1", "unknown"),  # without RGS5 beside it nobody made it unique
        ("MB-1", "ambiguous"),  # alias of CD79A, or myoglobin's second row
        ("", "unknown"),
    ],
)
def test_a_name_of_no_single_vocabulary_gene_stays_unmapped(index, vocabulary, name, route):
    mapping = map_names([name], index, vocabulary)
    assert mapping.routes == [route]
    assert mapping.index_N.tolist() == [-1]


@pytest.mark.parametrize(
    ("names", "symbols"),
    [
        (["MB", "MB-1", "MB-2"], ["MB"] * 3),
        (["RGS5", "RGS5-1", "RGS5.1"], ["RGS5"] * 3),
        (["MB_ENSG00000198125", "MB-1_ENSG99999999999"], ["MB"] * 2),
        (["SEPT14", "SEPT14-1"], ["SEPTIN14"] * 2),
        (["NKX2-1", "NKX2-1-1"], ["NKX2-1"] * 2),
    ],
)
def test_names_made_unique_are_their_first_ones_gene(index, vocabulary, names, symbols):
    for order in (names, names[::-1]):
        mapping = map_names(order, index, vocabulary)
        assert sorted(vocabulary.symbols[i] for i in mapping.index_N) == sorted(symbols)


def test_ids_and_symbols_of_different_genes_are_conflicts(index, vocabulary):
    mapping = map_names(["RGS5_ENSG00000198125", "CD79A_ENSG00000105369", "OLD_ENSG00000143248"], index, vocabulary)
    assert [vocabulary.symbols[i] for i in mapping.index_N] == ["MB", "CD79A", "RGS5"]
    assert mapping.conflicts == ["RGS5_ENSG00000198125"]


def test_the_order_of_the_gene_table_does_not_matter_and_a_name_counts_each_time(index, vocabulary):
    names = ["SEPT14", "QARS", "SLAP130", "1-Mar", "ACAT1", "ACAT1", "NKX6.2", "C6orf48"]
    turned = map_names(names, SymbolIndex(table()[::-1].reset_index(drop=True)), vocabulary)
    straight = map_names(names, index, vocabulary)
    assert (turned.routes, turned.index_N.tolist()) == (straight.routes, straight.index_N.tolist())
    counted = {"approved": 2, "previous": 1, "ambiguous": 3, "repaired": 1, "outside_vocabulary": 1}
    assert Counter(straight.routes) == counted


def test_the_most_trusted_name_stands_for_a_gene_and_of_equals_the_first(index, vocabulary):
    names = ["FYB", "QARS", "FYB1", "MARCH1", "unheard", "1-Mar", "RGS5", "RGS5"]
    mapping = map_names(names, index, vocabulary)
    assert [names[place] for place in one_name_a_gene(mapping)] == ["FYB1", "MARCH1", "RGS5"]
    assert one_name_a_gene(mapping).tolist() == [2, 3, 6]


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


def test_the_whole_vocabulary_of_2024_maps_onto_itself(complete):
    index, vocabulary = complete
    assert map_names(vocabulary.symbols, index, vocabulary).index_N.tolist() == list(range(vocabulary.n_genes))
    ids = [(i, name) for i, name in enumerate(vocabulary.genes["ensembl"]) if name]
    mapping = map_names([f"{name}.7" for _, name in ids], index, vocabulary)
    assert mapping.index_N.tolist() == [i for i, _ in ids]


def test_plain_numbers_are_entrez_ids_and_never_aliases(complete, mirror):
    index, vocabulary = complete
    names = next(read_one(raw.describe(mirror / "drug_scad_gefitinib_zscore.h5ad"))).names
    mapping = map_names(names, index, vocabulary)
    assert set(mapping.routes) <= {"entrez", "outside_vocabulary", "unknown"}
    assert (mapping.index_N >= 0).mean() > 0.95
    entrez = vocabulary.genes["entrez"]
    assert all(entrez[i] == name for name, i in zip(names, mapping.index_N, strict=True) if i >= 0)
    # 52 is the Entrez id of ACP1 and an alias of another gene
    assert map_names(["52"], index, vocabulary).index_N[0] == vocabulary.symbols.index("ACP1")


@pytest.mark.parametrize(
    ("name", "symbol", "route"),
    [
        ("TP53 (7157)", "TP53", "entrez"),
        ("OLDNAME (7157)", "TP53", "entrez"),
        ("TP53 (99999999)", "TP53", "approved"),
        ("99999999", None, "unknown"),
    ],
)
def test_an_entrez_id_settles_depmaps_names_and_the_symbol_helps_out(complete, name, symbol, route):
    index, vocabulary = complete
    assert map_names(["TP53", "ACTB", "7157"], index, vocabulary).index_N[2] == -1  # a number among symbols
    mapping = map_names([name], index, vocabulary)
    assert mapping.routes == [route]
    assert mapping.index_N[0] == (vocabulary.symbols.index(symbol) if symbol else -1)
