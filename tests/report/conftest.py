"""A small benchmark, on disk as the workflow has it: two tasks on real data, one on simulated."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from celllm.config import tables
from celllm.report.catalogue import Catalogue

METHODS = """\
method kind title module encoder options search seeded role
celllm classification CellLM celllm.x:A celllm - - yes ours
celllm_scratch classification CellLM_without_pretraining celllm.x:A celllm - - yes neighbour
logistic classification logistic_regression celllm.x:A - - - no neighbour
majority classification majority_class celllm.x:A - - - no trivial
control_leaked classification must_win celllm.x:A - - - no control
control_shuffled classification must_lose celllm.x:A - - - no control
celllm_response regression CellLM celllm.x:A celllm - - yes ours
celllm_scratch_response regression CellLM_without_pretraining celllm.x:A celllm - - yes neighbour
ridge regression ridge_regression celllm.x:A - - - no neighbour
"""
TASKS = """\
task kind title dataset response split split_seeds train validation test min_class_size protocol headline
blood classification Annotation_of_blood blood - random 0-2 0.7 0.1 0.2 10 clean macro_f1
gland classification Annotation_of_gland blood - random 0-2 0.7 0.1 0.2 10 clean macro_f1
invented classification Annotation_of_nothing simulated_cells - random 0-2 0.7 0.1 0.2 10 clean macro_f1
lines regression Drug_response blood - pairs 0-2 0.8 0.1 0.1 0 clean rmse
"""
DATASETS = """\
dataset title role reader units simulated label_column sample_column malignancy min_genes citation licence
blood Blood_cells task h5ad counts no cell_type - normal 0 - -
simulated_cells Simulated_cells task h5ad counts yes cell_type - normal 0 - -
"""


def _as_tsv(text: str) -> str:
    return text.replace(" ", "\t").replace("_of_", " of ").replace("_regression", " regression")


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Path]:
    """Paths of tasks.tsv, methods.tsv and datasets.tsv."""
    paths = {}
    for name, text in {"tasks": TASKS, "methods": METHODS, "datasets": DATASETS}.items():
        paths[name] = tmp_path / f"{name}.tsv"
        paths[name].write_text(_as_tsv(text), encoding="utf-8")
    return paths


@pytest.fixture
def catalogue(config: dict[str, Path]) -> Catalogue:
    return Catalogue(
        tasks=tables.read_tasks(config["tasks"]),
        methods=tables.read_methods(config["methods"]),
        datasets=tables.read_datasets(config["datasets"]),
    )


@pytest.fixture
def scores() -> pd.DataFrame:
    """Scores of three splits, one model seed each, on blood and invented: 0.7, 0.6, 0.8 … by method on average."""
    means = {
        "celllm": 0.7,
        "celllm_scratch": 0.6,
        "logistic": 0.8,
        "majority": 0.1,
        "control_leaked": 0.99,
        "control_shuffled": 0.2,
    }
    rows = [
        (task, method, split, 0, metric, value)
        for task in ("blood", "invented")
        for method, mean in means.items()
        for split in (0, 1, 2)
        for metric, value in (
            ("macro_f1", mean + 0.01 * (split - 1)),
            ("accuracy", mean + 0.05),
            ("fit_s", 2.0),
            ("peak_mb", 300.0),
            ("trained_parameters", 17.0),
            ("n_train", 70.0),
            ("n_validation", 10.0),
            ("n_test", 20.0),
        )
    ]
    return pd.DataFrame(rows, columns=["task", "method", "split", "seed", "metric", "value"])
