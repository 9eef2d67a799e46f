"""The audits: benchmark cells in the corpus, what frozen views know of the data set, what embeddings are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from celllm.base.errors import VocabularyMismatch
from celllm.base.report_table import ReportTable
from celllm.bench.components import chosen_cells
from celllm.bench.overlap import Twins, leakage, part_sizes, twins
from celllm.config.catalogue import Catalogue
from celllm.corpus.commands.write_shards import benchmark_hashes
from celllm.corpus.reader import ShardReader
from celllm.harmonise import cells as cell_files
from celllm.harmonise import vocabulary
from celllm.harmonise.quality import cell_hashes
from celllm.report import audit_tables
from celllm.report.titles import title_of_dataset
from celllm.sources.readers.cells import MALIGNANCY
from celllm.splits import format as split_files
from celllm.splits.format import Split

if TYPE_CHECKING:
    from celllm.model.store import PretrainedEncoder

_AT_ONCE = 8_192
"""Cells of the shards read at once: about 100 MB at 1,600 expressed genes a cell."""


def set_threads(threads: int) -> None:
    """Let torch use so many CPU threads."""
    import torch

    torch.set_num_threads(threads)


def leakage_tables(
    corpus_files: Sequence[Path],
    benchmark_files: Sequence[Path],
    *,
    splits: Sequence[Path],
    shards: Path,
    catalogue: Catalogue,
) -> tuple[ReportTable, pd.DataFrame, list[str]]:
    """Return the table of leakage, rows of exact duplicates, and the names of benchmark cells in the shards."""
    drawn = [split_files.read(file) for file in splits]
    tasks = catalogue.tasks
    corpus = dict(_cells_of(file) for file in corpus_files)
    benchmark = dict(_cells_of(file) for file in benchmark_files)
    tested = {unit for split in drawn if tasks[split.task].dataset in corpus for unit in split.units_of("test")}
    hashes = benchmark_hashes(benchmark_files, corpus_files, tested)
    kept = _cells_in(ShardReader(shards))
    leaks = {
        (task, name): leakage(hashes[task], corpus=cells, shards=kept[kept["dataset"] == name])
        for task in hashes
        for name, cells in corpus.items()
    }
    equal = {
        (split.task, split.seed): _duplicates_in(split, benchmark[tasks[split.task].dataset], tasks[split.task].kind)
        for split in drawn
    }
    made = audit_tables.leakage_table(
        leaks,
        n_benchmark={name: len(own) for name, own in hashes.items()},
        n_corpus={name: len(cells) for name, cells in corpus.items()},
        catalogue=catalogue,
    )
    sizes = {(split.task, split.seed): part_sizes(split.parts.tolist()) for split in drawn}
    leaked = [name for leak in leaks.values() for name in leak.in_shards]
    return made, audit_tables.duplicates_rows(equal, parts=sizes), leaked


def _cells_of(file: Path) -> tuple[str, pd.DataFrame]:
    """Read name and cells of an aligned data set: columns cell_id, cell_hash."""
    hashes = pd.concat([obs["cell_hash"] for obs in cell_files.obs_pieces(file)])
    frame = pd.DataFrame({"cell_id": hashes.index.astype(str), "cell_hash": hashes.to_numpy(dtype=object)})
    return str(cell_files.header(file)["dataset"]), frame


def _cells_in(shards: ShardReader) -> pd.DataFrame:
    """Read the cells of the shards, their hashes made anew from the counts: columns cell_id, dataset, cell_hash."""
    pieces = np.split(np.arange(shards.n_cells), range(_AT_ONCE, shards.n_cells, _AT_ONCE))
    hashes = [one for rows in pieces for one in cell_hashes(shards.rows(rows))]
    return shards.cells[["cell_id", "dataset"]].assign(cell_hash=hashes)


def _duplicates_in(split: Split, cells: pd.DataFrame, kind: str) -> Twins:
    """Count the exact duplicates of a split; in a task of pairs of line and drug, the equal lines."""
    names, units = cells["cell_id"], split.units
    if kind == "regression":  # a unit is {line}|{drug}, a cell id {dataset}:{line}
        names, units = names.str.split(":", n=1).str[-1], [unit.split("|", 1)[0] for unit in units]
    return twins(dict(zip(names, cells["cell_hash"], strict=True)), cells=units, parts=split.parts.tolist())


def source_tables(
    shards: Path,
    encoder: Path,
    history: Path,
    *,
    catalogue: Catalogue,
    max_cells: int,
    test_share: float,
    seed: int,
) -> tuple[ReportTable, pd.DataFrame, pd.DataFrame]:
    """Return the batch-confounding probe, and rows of what a label rule teaches and of the labels of the corpus.

    Raises
    ------
    VocabularyMismatch
        If the encoder was pretrained on other genes.
    """
    import torch

    from celllm.bench.methods.frozen import views
    from celllm.bench.methods.probe import halves
    from celllm.bench.source import CorpusCells, Taught, answers, taught_by_rules
    from celllm.config.units import Units
    from celllm.model.store import load_encoder
    from celllm.pretrain import history as history_files

    corpus = ShardReader(shards)
    pretrained = load_encoder(encoder, vocabulary=None)
    if pretrained.vocabulary != corpus.vocabulary:
        raise VocabularyMismatch(
            file=encoder,
            found=pretrained.vocabulary,
            expected=corpus.vocabulary,
            remedy="pretrain again on these shards: remove the file, then snakemake --forcerun pretrain",
        )
    by_source = {name: MALIGNANCY[catalogue.datasets[name].source_malignancy] for name in corpus.datasets}
    of_dataset = [np.flatnonzero(corpus.dataset == name) for name in corpus.datasets]
    drawn = np.concatenate([rows[chosen_cells(len(rows), seed=seed, most=max_cells)] for rows in of_dataset])
    dataset = np.asarray(corpus.dataset[drawn], dtype=str)
    cells = CorpusCells(
        views=views(
            pretrained,
            corpus.rows(drawn),
            units=Units.COUNTS,
            seed=seed,
            device="cuda" if torch.cuda.is_available() else "cpu",
        ),
        dataset=dataset,
        is_malignant=corpus.is_malignant[drawn],
        by_source=np.array([by_source[name] for name in dataset], dtype=np.int8),
    )
    strata = np.array([f"{name} {label}" for name, label in zip(dataset, cells.is_malignant, strict=True)])
    train, test = halves(strata, test_share=test_share, seed=seed)
    heads = audit_tables.head_rows(history_files.read(history), pretrained.recipe)
    taught = list(taught_by_rules(cells, train=train, test=test))
    return (
        audit_tables.source_table(list(answers(cells, train=train, test=test)), heads),
        pd.DataFrame([vars(one) for one in taught], columns=[field.name for field in fields(Taught)]),
        audit_tables.label_rows(corpus, catalogue, by_source=by_source),
    )


def embeddings_table(
    encoder: Path, files: Sequence[Path], vocabulary_file: Path, *, catalogue: Catalogue, max_cells: int, seed: int
) -> ReportTable:
    """Return the diagnostics of each view of each data set."""
    from celllm.model.store import load_encoder

    genes = vocabulary.read(vocabulary_file)
    pretrained = load_encoder(encoder, vocabulary=genes.digest)
    measured: list[dict[str, object]] = []
    for file in files:
        cells = cell_files.read(file, vocabulary=genes)
        title = title_of_dataset(catalogue, str(cells.uns["dataset"]))
        drawn = cells[chosen_cells(cells.n_obs, seed=seed, most=max_cells)]
        measured += [{"dataset": title, **one} for one in _measured(drawn, pretrained, seed=seed)]
    return audit_tables.embedding_table(measured)


def _measured(drawn: ad.AnnData, pretrained: PretrainedEncoder, *, seed: int) -> Iterator[dict[str, object]]:
    """Measure each view of a data set; metrics of labels on its labelled cells, if they have two labels."""
    import torch

    from celllm.bench.embedding import batch_metrics, label_metrics, tells_batches
    from celllm.bench.methods.frozen import COMPONENTS, spread, unit, views

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = views(pretrained, drawn.X, units=drawn.uns["units"], seed=seed, device=device)
    has_label = (drawn.obs["label"] != "").to_numpy()
    labels = drawn.obs["label"].to_numpy(dtype=str)[has_label]
    batches = drawn.obs["sample"].to_numpy(dtype=str)[has_label]
    sizes = len(np.unique(labels)), len(np.unique(batches))
    for name, view in found.items():
        metrics = dict(spread(view))
        placed = (view if name == COMPONENTS else unit(view))[has_label]
        if sizes[0] > 1:
            metrics |= label_metrics(placed, labels, batches)
        if sizes[0] > 1 and tells_batches(labels, batches):
            metrics |= batch_metrics(placed, labels, batches, components_NC=found[COMPONENTS][has_label])
        yield {"view": name, "cells": drawn.n_obs, "labels": sizes[0], "batches": sizes[1], **metrics}
