"""Maps of cells: UMAP of embeddings beside principal components."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from celllm.annotate import embeddings as embedding_files
from celllm.base.errors import InputError
from celllm.bench.diagnostics import chosen_cells, principal_components
from celllm.config.catalogue import Catalogue
from celllm.config.units import Units
from celllm.harmonise import cells as cell_files
from celllm.harmonise.normalise import log_normalised
from celllm.report.figures.style import MANY_COLOURS, PALE, look, style
from celllm.report.titles import title_of_dataset

N_NEIGHBOURS: Final = 15


def plane(features: np.ndarray, metric: str) -> np.ndarray:
    """Return two UMAP coordinates a cell, of features cells x features."""
    with warnings.catch_warnings():
        # that Tensorflow is absent; only umap's neural variant needs it
        warnings.simplefilter("ignore", ImportWarning)
        from umap import UMAP  # takes many seconds to import: numba compiles

    # one thread: with more, a seed does not fix the outcome
    mapper = UMAP(
        n_neighbors=min(N_NEIGHBOURS, len(features) - 1),
        metric=metric,
        random_state=0,
        n_jobs=1,
        init="pca",
    )
    coordinates: np.ndarray = mapper.fit_transform(np.ascontiguousarray(features, dtype=np.float32))
    return coordinates


def draw_embeddings(embeddings: Path, cells: Sequence[Path], catalogue: Catalogue, subject: str) -> Figure:
    """Draw the cells of a data set by the encoder's embedding, and by principal components of their genes."""
    cell_ids, embedded, labels = embedding_files.read(embeddings)
    aligned = cell_files.read(cells[0], vocabulary=None)
    unknown = cell_ids.difference(aligned.obs.index)
    if len(unknown):
        raise InputError(
            file=embeddings,
            field="cell_id",
            expected=f"cells of {cells[0]}",
            found=f"{len(unknown)} that are not, such as {unknown[0]}",
            remedy="embed them again: snakemake --forcerun embed_cells",
        )
    rows = chosen_cells(len(cell_ids))
    chosen = aligned[aligned.obs.index.get_indexer(cell_ids[rows])]
    is_proportional = Units(chosen.uns["units"]).is_proportional
    components = principal_components(log_normalised(chosen.X) if is_proportional else chosen.X, seed=0)
    what = "log-normalised counts" if is_proportional else "the values"
    planes = {
        f"pretrained encoder ({embeddings.parent.name})": plane(embedded[rows], "cosine"),
        f"principal components of {what}": plane(components, "euclidean"),
    }
    return draw_umap(planes, labels[rows], title=f"{title_of_dataset(catalogue, subject)}: {len(rows):,} cells")


def draw_umap(planes: Mapping[str, np.ndarray], labels: np.ndarray, *, title: str) -> Figure:
    """Draw the same cells on several planes, cells x 2 by title, coloured by label; the label "" is pale."""
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    names = names[np.argsort(-counts, kind="stable")]
    longest = max((len(str(name)) for name in names), default=10)
    size = float(np.clip(6_000 / max(1, len(labels)), 3, 22))
    with style():
        figure = Figure(figsize=(4.3 * len(planes) + 0.075 * longest + 0.9, 4.6), layout="constrained")
        axes = figure.subplots(1, len(planes), squeeze=False)[0]
        for axis, (panel, xy) in zip(axes, planes.items(), strict=True):
            bare = labels == ""
            if bare.any():
                axis.scatter(*xy[bare].T, s=size, color=PALE, linewidths=0, label="no label", rasterized=True)
            for i, name in enumerate(names):
                colour, mark = look(i, MANY_COLOURS)
                rows = labels == name
                axis.scatter(
                    *xy[rows].T,
                    s=size,
                    color=colour,
                    marker=mark,
                    linewidths=0,
                    alpha=0.75,
                    label=str(name),
                    rasterized=True,
                )
            axis.set(title=panel, xlabel="UMAP 1 (no unit)", ylabel="UMAP 2 (no unit)", xticks=[], yticks=[])
        handles, texts = axes[0].get_legend_handles_labels()
        legend = figure.legend(handles, texts, loc="outside right center", markerscale=(40 / size) ** 0.5)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
        figure.suptitle(title)
        return figure
