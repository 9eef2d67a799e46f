"""CELLxGENE Census: a list of data sets, and files of that layout, simulated here and written by anndata."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.config.tables import read_files
from celllm.sources import samples
from celllm.sources.readers.cells import annotate
from celllm.sources.readers.registry import read_raw

COUNTS = np.array([[3, 0, 7], [0, 5, 1], [2, 2, 0], [1, 0, 4], [6, 1, 0], [0, 9, 2]])
DISEASES = ["normal", "lung adenocarcinoma", "COVID-19", "benign neoplasm", "glioblastoma || epilepsy", "normal"]
IDS = ["ENSG00000198851", "ENSG00000122406", "ENSG00000198804"]


def write(path, *, has_raw):
    """Write cells as CELLxGENE does: raw counts in raw.X, logarithms in X; counts in X where nothing is normalised."""
    obs = {
        "cell_type": ["neuron", "malignant cell", "T cell", "unknown", "malignant cell", "neuron"],
        "donor_id": ["d1", "d2", "d2", "d3", "d4", "d1"],
        "disease": DISEASES,
        "tissue": "lung",
    }
    table = pd.DataFrame(obs, index=[f"c{number}" for number in range(6)]).astype("category")
    table["is_primary_data"] = [True] * 5 + [False]
    var = pd.DataFrame({"feature_name": ["CD3E", "RPL5", "MT-CO1"], "feature_biotype": "gene"}, index=IDS)
    cells = ad.AnnData(sparse.csr_matrix(COUNTS.astype(np.float32)), table, var.astype("category"))
    if has_raw:
        cells.raw = cells
        cells.X = sparse.csr_matrix(np.log1p(COUNTS).astype(np.float32))
    cells.write_h5ad(path, compression="gzip")
    return path


def test_each_data_set_of_the_list_has_its_address(root):
    listed = samples.read(root / "config/census.tsv", "sample_table", dataset="census_datasets")
    files = [row for row in read_files(root / "config/files.tsv") if row.dataset == "census"]
    row, facts = samples.expand(files, listed)[0]
    assert row.url == f"https://datasets.cellxgene.cziscience.com/{listed.samples[0].name}.h5ad"
    assert row.file == f"{row.sample}.h5ad"
    assert facts["study"] == "283d65eb-dd53-496d-adb7-7570c7caa443"


@pytest.mark.parametrize("has_raw", [True, False])
def test_primary_cells_come_with_counts_labels_donors_and_what_the_disease_says(rows, tmp_path, manifest_of, has_raw):
    manifest = manifest_of(write(tmp_path / "a.h5ad", has_raw=has_raw), samples=["a"], study="collection")
    census = rows.row("census")
    (cells,) = read_raw(manifest, census)
    assert cells.matrix.toarray().tolist() == COUNTS[:5].tolist()
    assert cells.names == [f"{name}_{one}" for name, one in zip(("CD3E", "RPL5", "MT-CO1"), IDS, strict=True)]
    made = annotate(cells, census)
    assert made["label"].tolist() == ["neuron", "malignant cell", "T cell", "", "malignant cell"]
    assert made["is_malignant"].tolist() == [0, 1, -1, -1, 1]
    assert made[["donor", "study", "sample"]].iloc[1].tolist() == ["d2", "collection", "a"]
