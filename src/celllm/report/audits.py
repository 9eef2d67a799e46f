"""Audits of frozen embeddings: the batch-confounding probe, and diagnostics beside principal components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anndata as ad
import numpy as np
import pandas as pd

from celllm.base.errors import VocabularyMismatch
from celllm.base.report_table import Column, ReportTable
from celllm.bench.confounding import MAJORITY, Answer
from celllm.bench.diagnostics import BATCH_METRICS, LABEL_METRICS, chosen_cells
from celllm.config.catalogue import Catalogue
from celllm.config.recipe import Recipe
from celllm.corpus.reader import ShardReader
from celllm.harmonise import cells as cell_files
from celllm.harmonise import vocabulary
from celllm.report.titles import title_of_dataset
from celllm.sources.readers.cells import MALIGNANCY

if TYPE_CHECKING:
    from celllm.model.store import PretrainedEncoder

HEAD: Final = "tumour, by the head of pretraining on its validation cells"
SPREAD: Final = ("uniformity", "mean_cosine", "effective_rank")
_LABELS: Final = {value: name for name, value in MALIGNANCY.items()}
_EMBEDDING_TITLES: Final = {
    "silhouette_label": "silhouette",
    "nmi_kmeans": "NMI k-means",
    "ari_kmeans": "ARI k-means",
    "nmi_leiden": "NMI Leiden",
    "ari_leiden": "ARI Leiden",
    "ilisi": "iLISI",
    "kbet": "kBET",
    "pcr_comparison": "PCR",
}
_FORMATS: Final = {"effective_rank": ".1f"}


def source_tables(
    shards: Path,
    encoder: Path,
    history: Path,
    *,
    catalogue: Catalogue,
    max_cells: int,
    test_share: float,
    seed: int,
    device: str,
) -> tuple[ReportTable, pd.DataFrame, pd.DataFrame]:
    """Return the batch-confounding probe, and rows of what a label rule teaches and of the labels of the corpus.

    Raises
    ------
    VocabularyMismatch
        If the encoder was pretrained on other genes.
    """
    from celllm.bench.confounding import CorpusCells, Taught, answers, halves, taught_by_rules
    from celllm.bench.diagnostics import views
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
    drawn = np.concatenate([rows[chosen_cells(len(rows), seed=seed, max_cells=max_cells)] for rows in of_dataset])
    dataset = np.asarray(corpus.dataset[drawn], dtype=str)
    cells = CorpusCells(
        views=views(
            pretrained,
            corpus.rows(drawn),
            units=Units.COUNTS,
            seed=seed,
            device=device,
        ),
        dataset=dataset,
        is_malignant=corpus.is_malignant[drawn],
        by_source=np.array([by_source[name] for name in dataset], dtype=np.int8),
    )
    strata = np.array([f"{name} {label}" for name, label in zip(dataset, cells.is_malignant, strict=True)])
    train, test = halves(strata, test_share=test_share, seed=seed)
    heads = head_rows(history_files.read(history), pretrained.recipe)
    taught = list(taught_by_rules(cells, train=train, test=test))
    return (
        source_table(list(answers(cells, train=train, test=test)), heads),
        pd.DataFrame([vars(one) for one in taught], columns=[field.name for field in fields(Taught)]),
        label_rows(corpus, catalogue, by_source=by_source),
    )


def embeddings_table(
    encoder: Path,
    files: Sequence[Path],
    vocabulary_file: Path,
    *,
    catalogue: Catalogue,
    max_cells: int,
    seed: int,
    device: str,
) -> ReportTable:
    """Return the diagnostics of each view of each data set."""
    from celllm.model.store import load_encoder

    genes = vocabulary.read(vocabulary_file)
    pretrained = load_encoder(encoder, vocabulary=genes.digest)
    measured: list[dict[str, object]] = []
    for file in files:
        cells = cell_files.read(file, vocabulary=genes)
        title = title_of_dataset(catalogue, str(cells.uns["dataset"]))
        drawn = cells[chosen_cells(cells.n_obs, seed=seed, max_cells=max_cells)]
        measured += [{"dataset": title, **one} for one in _measured(drawn, pretrained, seed=seed, device=device)]
    return embedding_table(measured)


def _measured(
    drawn: ad.AnnData, pretrained: PretrainedEncoder, *, seed: int, device: str
) -> Iterator[dict[str, object]]:
    """Measure each view of a data set; metrics of labels on its labelled cells, if they have two labels."""
    from celllm.bench.diagnostics import COMPONENTS, batch_metrics, label_metrics, spread, tells_batches, unit, views

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


def head_rows(history: pd.DataFrame, recipe: Recipe) -> list[dict[str, object]]:
    """Return what the tumour head of pretraining said of validation cells, at the step whose weights were kept.

    The head itself is in no file but the checkpoints; its accuracy stands in the history. Empty where it was not
    trained, or no cells were held out.
    """
    if "validation_malignancy_accuracy" not in history:
        return []
    rows = history.dropna(subset=["validation_malignancy_accuracy"])
    if rows.empty:
        return []
    is_best = recipe.training.select == "best"
    kept = rows.sort_values("validation_loss").iloc[0] if is_best else rows.iloc[-1]
    names = {"majority": MAJORITY, "accuracy": "CellLM, the head itself"}
    return [
        {"question": HEAD, "view": name, "accuracy": float(kept[f"validation_malignancy_{key}"])}
        for key, name in names.items()
    ]


def source_table(answers: Sequence[Answer], heads: Sequence[Mapping[str, object]]) -> ReportTable:
    """Put what each view knows of the data set beside what it knows of the tumour."""
    metrics = ("accuracy", "macro_f1", "auroc")
    probes = [
        {
            "question": one.question,
            "view": one.view,
            "n_train": one.n_train,
            "n_test": one.n_test,
            **{name: one.metrics[name] for name in metrics},
        }
        for one in answers
    ]
    rows = pd.DataFrame([*probes, *heads], columns=["question", "view", "n_train", "n_test", *metrics])
    columns = [
        *(Column("question"), Column("view", "asked of")),
        *(Column("accuracy", show=".3f"), Column("macro_f1", "macro F1", ".3f"), Column("auroc", "AUROC", ".3f")),
        *(Column("n_train", "training cells", ",d"), Column("n_test", "held-out cells", ",d")),
    ]
    return ReportTable("audit_source", rows, columns)


def label_rows(corpus: ShardReader, catalogue: Catalogue, *, by_source: Mapping[str, int]) -> pd.DataFrame:
    """Count, for all cells of the shards, the labels of either rule and the cells that `by_source` gets wrong.

    Parameters
    ----------
    corpus
        The shards.
    catalogue
        Titles of the data sets.
    by_source
        By data set: the label of all its cells under the rule of that name; 1 tumour, 0 normal, -1 unknown.
    """
    rows = []
    for name, said in by_source.items():
        labels = corpus.is_malignant[corpus.dataset == name]
        is_wrong = (labels != -1) & (said != -1) & (labels != said)
        rows.append(
            {
                "dataset": name,
                "title": title_of_dataset(catalogue, name),
                "cells": len(labels),
                **{label: int((labels == value).sum()) for value, label in _LABELS.items()},
                "by_source": _LABELS[said],
                "wrong_by_source": int(is_wrong.sum()),
            }
        )
    return pd.DataFrame(rows)


def embedding_table(measured: Sequence[Mapping[str, object]]) -> ReportTable:
    """Put the views of each data set below one another.

    Parameters
    ----------
    measured
        One view of one data set each: dataset, view, cells, labels, batches and the metrics that apply.
    """
    counts = ("cells", "labels", "batches")
    metrics = (*LABEL_METRICS, *BATCH_METRICS, *SPREAD)
    columns = [
        Column("dataset", "data set"),
        Column("view"),
        *(Column(name, show=",d") for name in counts),
        *(Column(name, _EMBEDDING_TITLES.get(name, ""), _FORMATS.get(name, ".3f")) for name in metrics),
    ]
    rows = pd.DataFrame(measured, columns=["dataset", "view", *counts, *metrics])
    return ReportTable("audit_embeddings", rows, columns)
