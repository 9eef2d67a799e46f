"""How often the printed 95 % interval holds the truth: `python perf/coverage.py --json`, for several designs.

Cells of four classes (50, 30, 15 and 5 %) are drawn anew each time and divided as the workflow divides them; the
classifier (nearest centroid) is taught on each split, and scored and summarised as in the report. The truth is the mean
score of one split over many other data sets of that size.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))

from line import line, options, show
from sklearn.metrics import accuracy_score, f1_score

from celllm.base.interval import mean_over
from celllm.bench.influence import influence
from celllm.config.tables import Task
from celllm.report.results import Results
from celllm.splits.cells import stratified

SHARES = np.array([0.5, 0.3, 0.15, 0.05])
NAMES = np.array(["a", "b", "c", "d"])
CENTRES = 0.55 * np.random.default_rng(0).normal(size=(4, 10))
TEST = 0.2
METRICS = ("accuracy", "macro_f1")
BAR = (0.92, 0.98)


def coverage(
    *, n_cells: int, n_splits: int, train: float, repeats: int, n_truth: int, seed: int = 0
) -> dict[str, float]:
    """Return the share of intervals that hold the truth: by metric, and as Student's t over splits would have it."""
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
    holds = {f"{metric}{kind}": [] for metric in METRICS for kind in ("", "_t")}
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
            values = results.by_split("t", "m", metric).values()
            low, high = mean_over(values, [np.nan] * n_splits, test=1e-12, train=train).interval()
            holds[f"{metric}_t"].append(low <= expected <= high)
    return {name: float(np.mean(held)) for name, held in holds.items()}


def _scores(
    generator: np.random.Generator, task: Task, n_cells: int, *, n_splits: int
) -> list[tuple[int, str, float, float]]:
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


def figures(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield a line a design."""
    for n_cells in (500, 2000):
        for n_splits in (5, 20):
            for train in (0.05, 0.7):
                design = {"n_cells": n_cells, "n_splits": n_splits, "train": train}
                found = coverage(**design, repeats=repeats, n_truth=4 * repeats)
                for metric in METRICS:
                    plain = f"Student's t over splits has {found[f'{metric}_t']:.3f}"
                    name = f"coverage_{metric}_{n_cells}_cells_{n_splits}_splits_{train:g}"
                    yield line(name, found[metric], "", peer=plain, at_least=BAR[0], at_most=BAR[1])


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=400, help="data sets a design")
    args = parser.parse_args()
    show(figures(args.repeats), as_json=args.json)


if __name__ == "__main__":
    main()
