"""PanglaoDB's RData, as R's `save()` writes it."""

from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.sources.readers.cells import annotate

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def row(root):
    return tables.read_datasets(root / "config/datasets.tsv").row("panglaodb")


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz", "ascii", "with_sm2"])
def test_every_form_of_rs_save_gives_cells_by_genes(row, how, read):
    (cells,) = read(row, FIXTURES / f"simulated_{how}.sparse.RData", samples=["s"], study="SRA1", malignancy="tumour")
    assert cells.matrix.toarray().tolist() == [[1, 0, 7, 0], [0, 0, 0, 0], [2, 3, 0, 1], [0, 0, 120, 0], [5, 0, 0, 0]]
    assert cells.matrix.dtype == np.int32
    assert cells.names[:2] == ["A1BG_ENSG00000121410.11", "CD3E_ENSG00000198851.9"]
    assert list(cells.obs.index) == ["AAACCTGAGCATCATC", "AAACCTGAGCTAACTC", "AAACCTGAGGGATGGG", "CCC", "GGG"]
    made = annotate(cells, row)
    assert made[["sample", "study", "is_malignant"]].iloc[0].tolist() == ["s", "SRA1", 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other_name", r"one of the objects counts\n +found: +sm"),
        ("overflow", r"a count of 3000000000, beyond the largest that 32 bits hold"),
        ("without_names", r"RData: sm\n(?s:.*)4 genes and 5 cells, 0 gene and 5 cell names"),
    ],
)
def test_objects_that_are_not_panglaodbs_are_refused(row, name, message, read):
    with pytest.raises(InputError, match=message):
        read(row, FIXTURES / f"simulated_{name}.sparse.RData")


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz", "ascii"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_truncated_file_is_refused(row, tmp_path, how, share, read):
    whole = (FIXTURES / f"simulated_{how}.sparse.RData").read_bytes()
    (tmp_path / "a.RData").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"a\.RData: \(whole file\)\n +expected: (R objects|a whole file)"):
        read(row, tmp_path / "a.RData")


def test_a_panglaodb_download_gives_cells_by_genes(row, mirror, read):
    (cells,) = read(row, mirror / "raw_format" / "SRA550660_SRS2089637.sparse.RData")
    assert cells.matrix.shape == (661, 8545)
    assert cells.names[:2] == ["LINC00115_ENSG00000225880.1", "NOC2L_ENSG00000188976.1"]
    assert list(cells.obs.index[:2]) == ["TCGCAAGAGCGATT", "TGATAAACTGGTAC"]
    # the same cells lie in the mirror as h5ad, under the same barcodes
    twin = ad.read_h5ad(mirror / "pbmc_kang2018_ifnb.h5ad")
    gene = [name.split("_ENS")[0] for name in cells.names].index("ISG15")
    here = cells.matrix[:, [gene]].toarray().ravel()
    there = twin[[f"{barcode}-1-ctrl" for barcode in cells.obs.index], "ISG15"].X.toarray().ravel()
    assert here.tolist() == there.tolist()
