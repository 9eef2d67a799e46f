"""Gene tables that many tests map names by: read once."""

import pytest

from celllm.harmonise.symbols import SymbolIndex
from celllm.harmonise.vocabulary import of_locus_group
from celllm.sources import hgnc

CODING = "protein-coding gene"


def mapped_by(path):
    genes = hgnc.read(path)
    return SymbolIndex(genes), of_locus_group(genes, CODING)


@pytest.fixture(scope="session")
def complete(mirror):
    """All of HGNC, 2024."""
    return mapped_by(mirror / "hgnc_complete_set_2024-10.txt.gz")


@pytest.fixture(scope="session")
def genes(root):
    """Those of the demo."""
    return mapped_by(root / "config/demo/hgnc_demo.tsv")
