"""Measure how frozen embeddings keep labels together, mix batches and spread out: `audit_embeddings`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import torch

from celllm.base import report_table
from celllm.base.entry import run
from celllm.bench.components import MOST_CELLS, chosen_cells
from celllm.bench.embedding import batch_metrics, label_metrics, tells_batches
from celllm.bench.methods.frozen import COMPONENTS, spread, unit, views
from celllm.config import tables
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary
from celllm.model.store import PretrainedEncoder, load_encoder
from celllm.report.embedding import Measured, embedding_table


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm audit_embeddings", description=__doc__, allow_abbrev=False)
    options.add_argument("--encoder", required=True, type=Path, help="encoder.safetensors")
    options.add_argument("--cells", required=True, type=Path, nargs="+", help="aligned cells, labelled")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--datasets", required=True, type=Path, help="config/datasets.tsv, for the titles")
    options.add_argument("--most-cells", type=int, default=MOST_CELLS, help="of a data set; more are drawn from")
    options.add_argument("--seed", type=int, default=0, help="of the cells drawn and of the weights not pretrained")
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="audit_embeddings", help="name and version of the stage")
    options.add_argument("--tables", required=True, type=Path, help="folder the tables are written to")
    return options


def measured(
    cells: ad.AnnData, file: Path, *, pretrained: PretrainedEncoder, title: str, most_cells: int, seed: int
) -> Iterator[Measured]:
    """Measure each view of a data set; metrics of labels on its labelled cells, if they have two labels."""
    drawn = cells[chosen_cells(cells.n_obs, seed=seed, most=most_cells)]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = views(pretrained, drawn.X, units=drawn.uns["units"], seed=seed, device=device)
    has_label = (drawn.obs["label"] != "").to_numpy()
    labels = drawn.obs["label"].to_numpy(dtype=str)[has_label]
    batches = drawn.obs["sample"].to_numpy(dtype=str)[has_label]
    sizes = len(np.unique(labels)), len(np.unique(batches))
    components = found[COMPONENTS][has_label]
    for name, view in found.items():
        metrics = dict(spread(view))
        placed = (view if name == COMPONENTS else unit(view))[has_label]
        if sizes[0] > 1:
            metrics |= label_metrics(placed, labels, batches)
        if sizes[0] > 1 and tells_batches(labels, batches):
            metrics |= batch_metrics(placed, labels, batches, components_NC=components)
        yield Measured(title, name, drawn.n_obs, *sizes, metrics)


def main(argv: Sequence[str] | None = None) -> None:
    """Read encoder and cells, embed, measure, write."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    genes = vocabulary.read(args.vocabulary)
    pretrained = load_encoder(args.encoder, vocabulary=genes.digest)
    titles = {row.dataset: row.title for row in tables.read_datasets(args.datasets)}
    made: list[Measured] = []
    for file in args.cells:
        cells = counts.read(file, vocabulary=genes)
        name = str(cells.uns["dataset"])
        title = titles.get(name, name)
        made += measured(cells, file, pretrained=pretrained, title=title, most_cells=args.most_cells, seed=args.seed)
    report_table.write(embedding_table(made), args.tables)


if __name__ == "__main__":
    run(main)
