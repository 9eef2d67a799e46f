"""Source formats: each gives cells x names, or says what is wrong with the file."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources.readers.cells import annotate
from celllm.sources.readers.registry import read_raw


@pytest.fixture(scope="module")
def bundled():
    return Path(sc.__file__).parent / "datasets" / "10x_pbmc68k_reduced.h5ad"


def small(path, matrix, **obs):
    names = [f"c{i}" for i in range(len(matrix))]
    genes = pd.DataFrame(index=[f"G{i}" for i in range(len(matrix[0]))])
    cells = ad.AnnData(sparse.csr_matrix(np.array(matrix, dtype=np.float32)), pd.DataFrame(obs, index=names), genes)
    cells.write_h5ad(path)
    return path


def test_the_bundled_pbmc_have_their_whole_counts_back(rows, bundled, read):
    cells = read(rows.row("pbmc68k_reduced"), bundled)[0]
    source = sc.datasets.pbmc68k_reduced()
    assert cells.matrix.shape == (700, 765)
    assert cells.matrix.data.min() == 1
    assert cells.matrix.data.dtype == np.int32
    again = np.log1p(cells.matrix.toarray() * 1e4 / source.obs["n_counts"].to_numpy()[:, None])
    # the stored values are rounded to three decimals
    assert np.abs(again - source.raw.X.toarray()).max() < 0.00051
    labels = annotate(cells, rows.row("pbmc68k_reduced"))
    assert (labels["label"] == "Dendritic").sum() == 240
    assert (labels["is_malignant"] == 0).all()


def test_a_sample_of_the_manifest_goes_before_the_sample_column(rows, tmp_path, manifest_of):
    paths = [small(tmp_path / f"{name}.h5ad", [[1]], response=["r"], sample=["inside"]) for name in "ab"]
    row = rows.row("simulated_drug_cells")
    found = read_raw(manifest_of(*paths, samples=["day0", None]), row)
    assert [annotate(cells, row)["sample"].iloc[0] for cells in found] == ["day0", "inside"]


def test_a_reader_that_does_not_exist_is_named_with_those_that_do(rows, tmp_path, manifest_of):
    manifest = manifest_of(small(tmp_path / "a.h5ad", [[1]]))
    with pytest.raises(InputError, match=r"(?s)reader of zheng68k.*one of .*h5ad, .*robjects.*found: +qs"):
        next(read_raw(manifest, dataclasses.replace(rows.row("zheng68k"), reader="qs")))


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        ("h5ad", "a.h5ad"),
        ("robjects", "a.RData"),
        ("zscore_table", "a.parquet"),
        ("tenx_h5", "a.h5"),
        ("tenx_mtx", "a.tar.gz"),
        ("genes_by_cells", "a.csv"),
        ("depmap_csv", "expression.csv"),
    ],
)
def test_a_file_that_is_not_of_the_format_is_named(rows, tmp_path, reader, name, read):
    path = tmp_path / name
    path.write_bytes(b"not of this format")
    row = dataclasses.replace(rows.row("simulated_drug_cells"), reader=reader)
    with pytest.raises(InputError, match=rf"{path.name}: \(whole file\)"):
        read(row, path)[0]


def test_zscores_keep_their_sign_and_names(rows, tmp_path, read):
    table = pd.DataFrame({"AKT3": [-0.5, 1.5], "CDK4": [0.0, 2.0]}, index=pd.Index(["l1", "l2"], name="DepMap_ID"))
    table.to_parquet(tmp_path / "z.parquet")
    cells = read(rows.row("ccle_706"), tmp_path / "z.parquet")[0]
    assert cells.matrix.toarray().tolist() == [[-0.5, 0.0], [1.5, 2.0]]
    assert cells.names == ["AKT3", "CDK4"]
    assert list(cells.obs.index) == ["l1", "l2"]
    (tmp_path / "exp.csv").write_text(",(207),(1019),(2)\nl1,0.5,3,1\nl2,2.5,,1\n")
    cells = read(rows.row("ccle_706"), tmp_path / "exp.csv")[0]
    assert cells.matrix.toarray().tolist() == [[-1, 0, 0], [1, 0, 0]]
    assert cells.names == ["207", "1019", "2"]


def test_no_reader_is_imported_on_the_way_to_another(root):
    code = "import sys\nimport celllm.sources.readers.registry, celllm.sources.responses\n"
    code += "print({'rdata', 'openpyxl', 'h5py', 'anndata'} & set(sys.modules))"
    env = {"PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "set()\n"
