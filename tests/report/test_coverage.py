"""The printed interval holds the truth as often as it says.

Cells of four classes (50, 30, 15 and 5 %) are drawn anew each time and divided as the workflow divides them; the
classifier (nearest centroid) is taught on each split, and scored and summarised as in the report. The truth is the mean
score of one split over many other data sets of that size.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from celllm.bench.influence import influence
from celllm.config.tables import Task
from celllm.report.results import Results
from celllm.splits.cells import stratified

SHARES = np.array([0.5, 0.3, 0.15, 0.05])
NAMES = np.array(["a", "b", "c", "d"])
CENTRES = 0.55 * np.random.default_rng(0).normal(size=(4, 10))
TEST = 0.2
METRICS = ("accuracy", "macro_f1")


def coverage(*, n_cells, n_splits, train, repeats, n_truth, seed=0):
    """Return the share of intervals that hold the truth, by metric."""
    generator = np.random.default_rng(seed)
    task = Task(
        **{"task": "t", "kind": "classification", "title": "t", "dataset": "d", "response": None, "split": "random"},
        **{"split_seeds": (0,), "train": train, "validation": 1 - TEST - train if train > 0.5 else 0, "test": TEST},
        **{"min_class_size": 3, "protocol": "clean", "headline": "macro_f1"},
    )
    truth = {metric: [] for metric in METRICS}
    for _ in range(n_truth):
        for _, metric, value, _ in _scores(generator, task, n_cells, n_splits=1):
            truth[metric].append(value)
    holds = {metric: [] for metric in METRICS}
    for _ in range(repeats):
        rows = _scores(generator, task, n_cells, n_splits=n_splits)
        columns = ["split", "metric", "value", "error"]
        facts = {"test_share": TEST, "train_share": train, "n_test": round(TEST * n_cells)}
        rows += [(0, name, value, np.nan) for name, value in facts.items()]
        results = Results(pd.DataFrame(rows, columns=columns).assign(task="t", method="m", seed=0))
        for metric in METRICS:
            expected = np.mean(truth[metric])
            found = results.summary("t", "m", metric)
            holds[metric].append(found.low <= expected <= found.high)
    return {name: float(np.mean(held)) for name, held in holds.items()}


def _scores(generator, task, n_cells, *, n_splits):
    """Return (split, metric, value, error) of a data set that is drawn anew."""
    classes = generator.choice(4, size=n_cells, p=SHARES)
    cells = CENTRES[classes] + generator.normal(size=(n_cells, CENTRES.shape[1]))
    labels, units = NAMES[classes], [str(number) for number in range(n_cells)]
    rows = []
    for split in range(n_splits):
        subsets = stratified(labels, units, task, seed=int(generator.integers(2**31)))
        train, test = subsets == "train", subsets == "test"
        known = np.unique(classes[train])
        centres = np.stack([cells[train & (classes == one)].mean(axis=0) for one in known])
        distances = ((cells[test][:, None] - centres[None]) ** 2).sum(axis=2)
        table = pd.DataFrame({"truth": labels[test], "predicted": NAMES[known][distances.argmin(axis=1)]})
        values = {
            "accuracy": accuracy_score(table["truth"], table["predicted"]),
            "macro_f1": f1_score(table["truth"], table["predicted"], average="macro", zero_division=0),
        }
        for metric, value in values.items():
            found = influence(table, metric, kind="classification", split="random")
            rows.append((split, metric, float(value), found.error))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(("n_splits", "train"), [(5, 0.7), (20, 0.05)])
def test_the_95_percent_interval_holds_the_truth_in_about_95_percent(n_splits, train):
    found = coverage(n_cells=500, n_splits=n_splits, train=train, repeats=120, n_truth=400, seed=1)

    for metric in METRICS:
        assert 0.90 <= found[metric] <= 0.995
