"""Simulate a dataset that the demo has no real cells for, in the form in which a source would publish it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.sources import hgnc, raw, simulated
from celllm.sources.simulate import SimulatedCells, drug_cells, genome, tumour_cells
from celllm.sources.simulate_lines import cell_lines

SIZES = {"tumour_cells": 400, "drug_cells": 500, "cell_lines": 80}
"""Cells or lines of each kind."""


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm simulate", description=__doc__, allow_abbrev=False)
    options.add_argument("--dataset", required=True, help="its name; must begin with simulated_")
    options.add_argument("--kind", required=True, choices=list(SIZES), help="what to simulate")
    options.add_argument("--hgnc", required=True, type=Path, help="manifest of the gene table, for the genes' names")
    options.add_argument("--seed", required=True, type=int, help="datasets of one seed share their genes")
    options.add_argument("--stage", default="simulate", help="name and version of the stage")
    options.add_argument("--manifest", required=True, type=Path, help="where to write the manifest, files beside it")
    return options


def draw(kind: str, table: pd.DataFrame, *, seed: int) -> tuple[SimulatedCells, pd.DataFrame | None]:
    """Return the cells, and for cell lines their responses."""
    genes = genome(table, np.random.default_rng(seed))
    generator = np.random.default_rng([seed, 1 + list(SIZES).index(kind)])
    if kind == "cell_lines":
        return cell_lines(genes, SIZES[kind], generator)
    simulate = tumour_cells if kind == "tumour_cells" else drug_cells
    return simulate(genes, SIZES[kind], generator), None


def main(argv: Sequence[str] | None = None) -> None:
    """Read the gene names, simulate, write the files and then their manifest."""
    args = parser().parse_args(argv)
    if not args.dataset.startswith("simulated_"):
        raise InputError(
            file="(command line)",
            field="--dataset",
            expected="a name that begins with simulated_",
            found=args.dataset,
            remedy=f"call it simulated_{args.dataset}",
        )
    cells, responses = draw(args.kind, hgnc.read(raw.read(args.hgnc).only().path), seed=args.seed)
    folder = args.manifest.parent
    args.manifest.unlink(missing_ok=True)
    files = [folder / f"{args.dataset}.h5ad"]
    simulated.write_cells(cells.counts, cells.names, cells.obs, files[0])
    if responses is not None:
        files.append(folder / f"{args.dataset}_response.parquet")
        simulated.write_responses(responses, files[1])
    raw.write(args.dataset, [raw.describe(file) for file in files], args.manifest)
    expressed = cells.counts.getnnz(axis=1).mean()
    print(f"{cells.counts.shape[0]} simulated cells, {expressed:.0f} of {len(cells.names)} genes expressed in each")


if __name__ == "__main__":
    run(main)
