"""Draw cells by their embedding and by principal components: `python -m celllm.report.commands.plot_umap`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from celllm.annotate import embeddings
from celllm.base import provenance
from celllm.base.entry import add_figure, run
from celllm.base.errors import InputError
from celllm.bench.components import chosen_cells, principal_components
from celllm.config import tables
from celllm.config.units import Units
from celllm.harmonise import cells as counts
from celllm.harmonise.normalise import log_normalised
from celllm.report import figures
from celllm.report.cell_map import draw_umap, plane


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_umap", description=__doc__)
    made.add_argument("--embeddings", type=Path, required=True, help="results/embeddings/{recipe}/{dataset}.parquet")
    made.add_argument("--cells", type=Path, required=True, help="the aligned cells that were embedded")
    made.add_argument("--datasets", type=Path, required=True, help="config/datasets.tsv, for the title")
    made.add_argument("--seed", type=int, default=0, help="of UMAP and, in large sets, of the choice of cells")
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read embeddings and cells, map both to the plane, draw, write."""
    args = parser().parse_args(argv)
    cell_ids, embedded, labels = embeddings.read(args.embeddings)
    cells = counts.read(args.cells, vocabulary=None)
    unknown = cell_ids.difference(cells.obs_names)
    if len(unknown):
        raise InputError(
            file=args.embeddings,
            field="cell_id",
            expected=f"cells of {args.cells}",
            found=f"{len(unknown)} that are not, such as {unknown[0]}",
            remedy="embed them again: snakemake --forcerun embed_cells",
        )
    rows = chosen_cells(len(cell_ids), seed=args.seed)
    drawn = cells[cell_ids[rows]]
    is_counts = Units(drawn.uns["units"]).is_proportional
    expression = log_normalised(drawn.X) if is_counts else drawn.X
    planes = {
        f"pretrained encoder ({args.embeddings.parent.name})": plane(embedded[rows], seed=args.seed, metric="cosine"),
        f"principal components of {'log-normalised counts' if is_counts else 'the values'}": plane(
            principal_components(expression, seed=args.seed),
            seed=args.seed,
            metric="euclidean",
        ),
    }
    title = tables.read_datasets(args.datasets).row(str(drawn.uns["dataset"])).title
    figure = draw_umap(planes, np.asarray(labels)[rows], title=f"{title}: {len(rows):,} cells")
    made = provenance.stamp(args.stage, {"embeddings": args.embeddings, "cells": args.cells})
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


if __name__ == "__main__":
    run(main)
