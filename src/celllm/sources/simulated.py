"""What the simulator leaves in `resources/raw/{dataset}`: files as a source would publish them.

`simulated_*.h5ad`: X whole counts (CSR, int32), var index = gene names as the source has them, obs as the
simulator gives it, uns values = `counts`, simulated = True. `simulated_*_response.parquet`: columns line, drug,
smiles, response (ln IC50, natural logarithm of µM).
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import pandas as pd
from scipy.sparse import csr_matrix

from celllm.base.atomic import writing


def write_cells(counts: csr_matrix, names: list[str], obs: pd.DataFrame, path: Path | str) -> None:
    """Write simulated counts, cells x genes."""
    cells = ad.AnnData(
        X=csr_matrix(counts),
        obs=obs,
        var=pd.DataFrame(index=pd.Index(names)),
        uns={"values": "counts", "simulated": True},
    )
    with writing(path) as part:
        cells.write_h5ad(part, compression="gzip")


def write_responses(table: pd.DataFrame, path: Path | str) -> None:
    """Write simulated drug responses, one row a pair."""
    with writing(path) as part:
        table[["line", "drug", "smiles", "response"]].to_parquet(part, index=False)
