"""Audits of frozen embeddings: the batch-confounding probe, and diagnostics beside principal components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from celllm.base.errors import VocabularyMismatch
from celllm.base.report_table import Column, ReportTable, frame_of
from celllm.bench.confounding import MAJORITY, CorpusCells, answers, halves, taught_by_rules
from celllm.bench.diagnostics import BATCH_METRICS, COMPONENTS, LABEL_METRICS, chosen_cells
from celllm.config.catalogue import Catalogue
from celllm.config.recipe import Recipe
from celllm.config.units import Units
from celllm.corpus.reader import ShardReader
from celllm.harmonise import cells as cell_files
from celllm.harmonise.vocabulary import Vocabulary
from celllm.report.titles import title_of_dataset
from celllm.sources.readers.cells import MALIGNANCY

if TYPE_CHECKING:
    from celllm.model.store import PretrainedEncoder

HEAD: Final = "tumour, by the head of pretraining on its validation cells"
SPREAD: Final = ("uniformity", "mean_cosine", "effective_rank")
MAX_PROBED: Final = 2_000
"""Cells of a data set that are probed, at most; of more, some are drawn at random."""
TEST_SHARE: Final = 0.5
"""Share of the cells that no probe is trained on."""
SEED: Final = 0
"""Of the halves and of the weights that were not pretrained."""
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


def source_tables(
    corpus: ShardReader, encoder: Path, histories: Mapping[str, pd.DataFrame], catalogue: Catalogue, device: str
) -> list[ReportTable]:
    """Return the batch-confounding probe, what a label rule teaches, and the labels of the corpus.

    VocabularyMismatch if the encoder was pretrained on other genes.
    """
    from celllm.bench.diagnostics import views
    from celllm.model.store import load_encoder

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
    drawn = np.concatenate([rows[chosen_cells(len(rows), MAX_PROBED)] for rows in of_dataset])
    dataset = np.asarray(corpus.dataset[drawn], dtype=str)
    cells = CorpusCells(
        views=views(pretrained, corpus.rows(drawn), units=Units.COUNTS, seed=SEED, device=device),
        dataset=dataset,
        is_malignant=corpus.is_malignant[drawn],
        by_source=np.array([by_source[name] for name in dataset], dtype=np.int8),
    )
    strata = np.array([f"{name} {label}" for name, label in zip(dataset, cells.is_malignant, strict=True)])
    train, test = halves(strata, test_share=TEST_SHARE, seed=SEED)
    (history,) = histories.values()
    return [
        source_table([*answers(cells, train=train, test=test), *head_rows(history, pretrained.recipe)]),
        label_rule_table(list(taught_by_rules(cells, train=train, test=test)), catalogue.config["malignancy_rule"]),
        labels_table(corpus, catalogue, by_source=by_source),
    ]


def embeddings_table(
    encoder: Path, cells: Sequence[Path], genes: Vocabulary, catalogue: Catalogue, device: str
) -> ReportTable:
    """Return the diagnostics of each view of each data set."""
    from celllm.model.store import load_encoder

    pretrained = load_encoder(encoder, vocabulary=genes.digest)
    measured: list[dict[str, object]] = []
    for file in cells:
        aligned = cell_files.read(file, vocabulary=genes)
        title = title_of_dataset(catalogue, str(aligned.uns["dataset"]))
        drawn = aligned[chosen_cells(len(aligned.obs))]
        measured += [{"dataset": title, **one} for one in _measured(drawn, pretrained, device=device)]
    return embedding_table(measured)


def _measured(
    drawn: cell_files.AlignedCells, pretrained: PretrainedEncoder, *, device: str
) -> Iterator[dict[str, object]]:
    """Measure each view of a data set; metrics of labels on its labelled cells, if they have two labels."""
    from celllm.bench.diagnostics import batch_metrics, label_metrics, spread, tells_batches, unit, views

    found = views(pretrained, drawn.X, units=drawn.uns["units"], seed=SEED, device=device)
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
        yield {"view": name, "cells": len(drawn.obs), "labels": sizes[0], "batches": sizes[1], **metrics}


def head_rows(history: pd.DataFrame, recipe: Recipe) -> list[dict[str, object]]:
    """Return what the tumour head of pretraining said of validation cells, at the step whose weights were kept.

    The head itself is in no file but the checkpoints; its accuracy stands in the history. Empty where it was not
    trained, or no cells were held out.
    """
    rows = history.reindex(columns=history.columns.union(["validation_malignancy_accuracy"]))
    rows = rows.dropna(subset=["validation_malignancy_accuracy"])
    if rows.empty:
        return []
    is_best = recipe.training.select == "best"
    kept = rows.sort_values("validation_loss").iloc[0] if is_best else rows.iloc[-1]
    names = {"majority": MAJORITY, "accuracy": "CellLM, the head itself"}
    return [
        {"question": HEAD, "view": name, "accuracy": float(kept[f"validation_malignancy_{key}"])}
        for key, name in names.items()
    ]


def source_table(rows: Sequence[Mapping[str, object]]) -> ReportTable:
    """Put what each view knows of the data set beside what it knows of the tumour."""
    names = ["question", "view", "n_train", "n_test", "accuracy", "macro_f1", "auroc"]
    columns = [
        *(Column("question"), Column("view", "asked of")),
        *(Column("accuracy", show=".3f"), Column("macro_f1", "macro F1", ".3f"), Column("auroc", "AUROC", ".3f")),
        *(Column("n_train", "training cells", ",d"), Column("n_test", "held-out cells", ",d")),
    ]
    return ReportTable("audit_source", pd.DataFrame(rows, columns=names), columns)


def label_rule_table(taught: Sequence[Mapping[str, object]], malignancy_rule: str) -> ReportTable:
    """Say what probes answer on cells that the rule `by_source` labels wrongly, taught by either rule."""
    columns = [
        Column("rule", "taught by"),
        Column("view"),
        Column("n_train", "training cells", ",d"),
        Column("n_wrong_in_train", "of these wrong by source", ",d"),
        Column("n_wrong", "held out, wrong by source", ",d"),
        Column("n_right", "held out, right", ",d"),
        Column("accuracy_on_wrong", "accuracy on wrong", ".3f"),
        Column("accuracy_on_right", "accuracy on right", ".3f"),
    ]
    note = (
        "Tumour probes taught the labels of one rule on cells that both rules label, judged by the labels of metadata. "
        "Wrong by source: a healthy cell of a tumour sample, or the reverse. CellLM's pretraining was taught this "
        "run's labels, so only the other views test the rule. Where a data set's own labels are predictions, so is "
        "this truth."
    )
    if malignancy_rule != "metadata":
        note += f" This run's labels are those of {malignancy_rule}, so the truth is not at hand: no cell is wrong."
    rows = frame_of(taught, columns)
    return ReportTable("label_rule", rows, columns, "What a label rule teaches", note)


def labels_table(corpus: ShardReader, catalogue: Catalogue, *, by_source: Mapping[str, int]) -> ReportTable:
    """Count, for all cells of the shards, the labels of either rule and the cells that `by_source` gets wrong.

    `by_source` holds the label of all cells of a data set under the rule of that name: 1 tumour, 0 normal, -1 unknown.
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
    columns = [
        Column("title", "data set", is_key=True),
        *(Column(name, show=",d") for name in ("cells", "tumour", "normal", "unknown")),
        Column("by_source"),
        Column("wrong_by_source", show=",d"),
    ]
    note = "Tumour, normal, unknown: by this run's labels. By source: the paper's literal rule, one label per data set."
    return ReportTable("labels", pd.DataFrame(rows), columns, "Labels of the corpus", note)


def embedding_table(measured: Sequence[Mapping[str, object]]) -> ReportTable:
    """Put the views of each data set below one another; what does not apply to one is an empty cell."""
    counts = ("cells", "labels", "batches")
    metrics = (*LABEL_METRICS, *BATCH_METRICS, *SPREAD)
    columns = [
        Column("dataset", "data set"),
        Column("view"),
        *(Column(name, show=",d") for name in counts),
        *(
            Column(name, _EMBEDDING_TITLES.get(name, ""), ".1f" if name == "effective_rank" else ".3f")
            for name in metrics
        ),
    ]
    rows = pd.DataFrame(measured, columns=["dataset", "view", *counts, *metrics])
    return ReportTable("audit_embeddings", rows, columns)
