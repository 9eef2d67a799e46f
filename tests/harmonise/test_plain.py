"""Aligned cells read without AnnData are those that are read with it."""

import subprocess
import sys

import pandas as pd
import pytest
from tests.harmonise.test_cells import ABC, WRITERS, cells, vocabulary

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise import cells as cells_file
from celllm.harmonise import plain

PROGRAM = "import sys; from celllm.harmonise import plain; plain.read(sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize(("write", "units"), [(WRITERS[0], "counts"), (WRITERS[1], "zscore")])
def test_they_are_the_same_cells(tmp_path, write, units):
    path = tmp_path / "d.h5ad"
    write(cells(units), path)
    whole, found = cells_file.read(path), plain.read(path, vocabulary=ABC)

    assert (found.X != whole.X).nnz == 0
    assert found.X.dtype == whole.X.dtype
    assert found.uns == dict(whole.uns)
    pd.testing.assert_frame_equal(found.obs, whole.obs, check_dtype=False, check_names=False)
    assert list(found.obs_names) == list(whole.obs_names)


def test_what_is_wrong_is_refused(tmp_path):
    cells_file.write(cells(), tmp_path / "d.h5ad")
    with pytest.raises(VocabularyMismatch):
        plain.read(tmp_path / "d.h5ad", vocabulary=vocabulary("A"))
    wrong = cells("zscore")
    wrong.uns["units"] = "furlongs"
    wrong.write_h5ad(tmp_path / "w.h5ad")
    with pytest.raises(InputError, match="furlongs"):
        plain.read(tmp_path / "w.h5ad")


def test_anndata_is_not_imported(tmp_path, root):
    cells_file.write(cells(), tmp_path / "d.h5ad")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "d.h5ad"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin"},
    )
    assert "anndata" not in done.stdout.split()
