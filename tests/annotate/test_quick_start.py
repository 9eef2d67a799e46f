"""docs/index.md is true: its Python runs as it stands, with the encoder in the package."""

import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from celllm.annotate import folder as folders


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of scanpy and umap
def test_the_python_of_the_quick_start_runs(root, tmp_path, monkeypatch):
    (block,) = re.findall(r"^```python\n(.*?)^```", (root / "docs/index.md").read_text(), flags=re.M | re.S)
    symbols = folders.read(None).vocabulary.symbols[:2000]
    counts = np.random.default_rng(0).poisson(0.5, (60, 2000)).astype(np.float32)
    monkeypatch.chdir(tmp_path)
    ad.AnnData(counts, var=pd.DataFrame(index=pd.Index(symbols))).write_h5ad("my.h5ad")
    names = {}
    exec(block, names)
    assert names["cells"].obsm["X_umap"].shape == (60, 2)
