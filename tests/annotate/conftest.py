"""An encoder's folder over forty genes, and cells as a stranger's AnnData holds them."""

import anndata as ad
import pandas as pd
import pytest

from celllm.annotate import folder as folders
from celllm.annotate.card import card
from celllm.model.store import load_encoder


@pytest.fixture
def hgnc(vocabulary):
    """The forty genes, with ids, and one that is not in the vocabulary."""
    symbols = [*vocabulary.symbols, "OTHER"]
    numbers = range(len(symbols))
    return pd.DataFrame(
        {
            "hgnc_id": symbols,
            "symbol": symbols,
            "locus_group": "protein-coding gene",
            "entrez_id": [str(7000 + number) for number in numbers],
            "ensembl_gene_id": [f"ENSG{number:011d}" for number in numbers],
            "prev_symbol": [[f"OLD{number:02d}"] for number in numbers],
            "alias_symbol": [[] for _ in numbers],
        }
    )


@pytest.fixture
def folder(tmp_path, encoder_file, vocabulary, hgnc):
    """The encoder of two layers as a package carries one."""
    pretrained = load_encoder(encoder_file)
    text = card(pretrained)
    return folders.write(tmp_path / "folder", pretrained, vocabulary=vocabulary, hgnc=hgnc, card=text, stamp={})


@pytest.fixture
def own(cells, vocabulary):
    """Ninety cells of three types and three donors; counts in X, sparse."""
    obs = pd.DataFrame(
        {"cell_type": cells.labels, "donor": [f"d{number % 3}" for number in range(90)]},
        index=[f"cell{number}" for number in range(90)],
    )
    return ad.AnnData(cells.counts.copy(), obs=obs, var=pd.DataFrame(index=pd.Index(vocabulary.symbols)))
