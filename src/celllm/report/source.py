"""The report's tables of the source audit: the probe for the data set, and what a wrong label rule teaches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celllm.base.report_table import ReportTable, as_markdown
from celllm.bench.source import MAJORITY, Answer, Taught
from celllm.config.recipe import Recipe
from celllm.sources.readers.cells import MALIGNANCY

HEAD = "tumour, by the head of pretraining on its validation cells"
_NAMES = {value: name for name, value in MALIGNANCY.items()}


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
    return [
        {
            "question": HEAD,
            "view": name,
            "accuracy": float(kept[f"validation_malignancy_{key}"]),
        }
        for name, key in ((MAJORITY, "majority"), ("CellLM, the head itself", "accuracy"))
    ]


def source_table(answers: Sequence[Answer], heads: Sequence[Mapping[str, object]]) -> ReportTable:
    """Put what each view knows of the data set beside what it knows of the tumour."""
    columns = ["question", "view", "n_train", "n_test", "accuracy", "macro_f1", "auroc"]
    made = [
        {
            "question": one.question,
            "view": one.view,
            "n_train": one.n_train,
            "n_test": one.n_test,
            **{name: one.metrics[name] for name in ("accuracy", "macro_f1", "auroc")},
        }
        for one in answers
    ]
    rows = pd.DataFrame([*made, *heads], columns=columns)
    shown = rows.copy()
    for column in ("accuracy", "macro_f1", "auroc"):
        shown[column] = [_three(value) for value in rows[column]]
    for column in ("n_train", "n_test"):
        shown[column] = ["" if pd.isna(value) else f"{int(value):,}" for value in rows[column]]
    shown.columns = ["question", "asked of", "taught", "held out", "accuracy", "macro F1", "AUROC"]
    note = (
        "Logistic regression on a frozen view of corpus cells, on cells it was not taught. The encoder was pretrained "
        "on them, without the data set's name but with tumour or normal. Data set alone: the commonest label of the "
        "cell's data set. Never seen: each data set by a probe that was taught the others; scores of different probes "
        "have no common AUROC."
    )
    return ReportTable("audit_source", rows, as_markdown(shown, title="Tumour or source", note=note))


def label_rule_table(taught: Sequence[Taught], *, malignancy_rule: str) -> ReportTable:
    """Say what probes answer on cells that the rule `by_source` labels wrongly, taught by either rule."""
    columns = [
        *("rule", "view", "n_train", "n_wrong_in_train", "n_wrong", "n_right"),
        *("accuracy_on_wrong", "accuracy_on_right"),
    ]
    rows = pd.DataFrame([vars(one) for one in taught], columns=columns)
    shown = rows.copy()
    for column in ("accuracy_on_wrong", "accuracy_on_right"):
        shown[column] = [_three(value) for value in rows[column]]
    shown.columns = [
        *("taught by", "view", "taught", "of these wrong by source", "held out, wrong by source", "held out, right"),
        *("accuracy on wrong", "accuracy on right"),
    ]
    note = (
        "Tumour probes taught the labels of one rule on cells that both rules label, judged by the labels of metadata. "
        "Wrong by source: a healthy cell of a tumour sample, or the reverse. CellLM's pretraining was taught this "
        "run's labels, so only the other views test the rule. Where a data set's own labels are predictions, so is "
        "this truth."
    )
    if malignancy_rule != "metadata":
        note += f" This run's labels are those of {malignancy_rule}, so the truth is not at hand: no cell is wrong."
    return ReportTable("audit_label_rule", rows, as_markdown(shown, title="What a label rule teaches", note=note))


def labels_table(
    dataset: pd.Categorical[str],
    is_malignant: NDArray[np.int8],
    *,
    by_source: Mapping[str, int],
    titles: Mapping[str, str],
) -> ReportTable:
    """Count, for all cells of the shards, the labels of either rule and the cells that `by_source` gets wrong.

    Parameters
    ----------
    dataset, is_malignant
        Of each cell; 1 tumour, 0 normal, -1 unknown.
    by_source
        By data set: the label of all its cells under the rule of that name.
    titles
        What readers call the data sets.
    """
    rows = []
    for name in dataset.categories:
        labels = is_malignant[dataset == name]
        said = by_source[name]
        is_wrong = (labels != -1) & (said != -1) & (labels != said)
        rows.append(
            {
                "dataset": name,
                "title": titles.get(name, name),
                "cells": len(labels),
                **{label: int((labels == value).sum()) for value, label in _NAMES.items()},
                "by_source": _NAMES[said],
                "wrong_by_source": int(is_wrong.sum()),
            }
        )
    frame = pd.DataFrame(rows)
    shown = frame.rename(columns={"by_source": "by source", "wrong_by_source": "wrong by source"})
    note = "Tumour, normal, unknown: by this run's labels. By source: the paper's literal rule, one label a data set."
    return ReportTable("audit_labels", frame, as_markdown(shown, title="Labels of the corpus", note=note))


def _three(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
