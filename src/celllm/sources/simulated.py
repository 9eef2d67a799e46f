"""What the simulator leaves in `resources/raw/{dataset}`: files as a source would publish them.

`simulated_*.h5ad`: X whole counts (CSR, int32), var index = gene names as the source has them, obs as the
simulator gives it, uns units = `counts`, simulated = True. `simulated_*_response.parquet`: columns line, drug,
smiles, response (ln IC50, natural logarithm of µM).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anndata as ad
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from celllm.base.atomic import writing
from celllm.sources.simulate import SimulatedCells, drug_cells, genome, tumour_cells
from celllm.sources.simulate_lines import cell_lines

SIZES: Final = {"tumour_cells": 400, "drug_cells": 500, "cell_lines": 80}
"""Cells or lines of each kind."""


def draw(kind: str, hgnc: pd.DataFrame, *, seed: int) -> tuple[SimulatedCells, pd.DataFrame | None]:
    """Draw a kind of SIZES with names of the gene annotation; return the cells, and for cell lines their responses."""
    genes = genome(hgnc, np.random.default_rng(seed))
    generator = np.random.default_rng([seed, 1 + list(SIZES).index(kind)])
    if kind == "cell_lines":
        return cell_lines(genes, SIZES[kind], generator)
    simulate = tumour_cells if kind == "tumour_cells" else drug_cells
    return simulate(genes, SIZES[kind], generator), None


def write_cells(cells: SimulatedCells, path: Path | str) -> None:
    """Write simulated counts, cells x genes."""
    annotated = ad.AnnData(
        X=csr_matrix(cells.counts),
        obs=cells.obs,
        var=pd.DataFrame(index=pd.Index(cells.names)),
        uns={"units": "counts", "simulated": True},
    )
    with writing(path) as part:
        annotated.write_h5ad(part, compression="gzip")


def write_responses(table: pd.DataFrame, path: Path | str) -> None:
    """Write simulated drug responses, one row a pair."""
    with writing(path) as part:
        table[["line", "drug", "smiles", "response"]].to_parquet(part, index=False)
