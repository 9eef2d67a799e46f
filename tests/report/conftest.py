"""A small benchmark, two tasks on real data, one on simulated."""

import math

import pandas as pd
import pytest

from celllm.config import catalogue as catalogues
from celllm.config import tables
from celllm.config.catalogue import Catalogue

METHODS = """\
method kind title module encoder options search seeded role
celllm classification CellLM celllm.x:A celllm - - yes ours
celllm_scratch classification CellLM_without_pretraining celllm.x:A celllm - - yes scratch_reference
logistic classification logistic_regression celllm.x:A - - - no linear_reference
majority classification majority_class celllm.x:A - - - no trivial
control_leaked classification must_win celllm.x:A - - - no upper_control
control_shuffled classification must_lose celllm.x:A - - - no lower_control
celllm_response regression CellLM celllm.x:A celllm - - yes ours
celllm_scratch_response regression CellLM_without_pretraining celllm.x:A celllm - - yes scratch_reference
ridge regression ridge_regression celllm.x:A - - - no linear_reference
control_leaked_pairs regression must_win celllm.x:A - - - no upper_control
control_shuffled_pairs regression must_lose celllm.x:A - - - no lower_control
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
blood Blood task h5ad counts no cell_type - normal 0 - -
simulated_cells Simulated_cells task h5ad counts yes cell_type - normal 0 - -
"""


def _as_tsv(text):
    return text.replace(" ", "\t").replace("_of_", " of ").replace("_regression", " regression")


@pytest.fixture
def catalogue(tmp_path):
    """Three tasks on cells, one of them simulated and one not run, and one on lines."""
    read = {}
    for name, text in {"tasks": TASKS, "methods": METHODS, "datasets": DATASETS}.items():
        path = tmp_path / f"{name}.tsv"
        path.write_text(_as_tsv(text), encoding="utf-8")
        read[name] = {getattr(row, name[:-1]): row for row in getattr(tables, f"read_{name}")(path)}
    config = {"malignancy_rule": "metadata", "locus_group": "protein-coding gene", "gene_annotation": "hgnc"}
    config |= {"step_cost": {"limit_gb": 1}}
    return Catalogue(**read, runs={}, not_run=(), claims=(), config=config)


@pytest.fixture
def catalogue_file(tmp_path, catalogue):
    """The same on disk."""
    catalogues.write(catalogue, tmp_path / "catalogue.json")
    return tmp_path / "catalogue.json"


def listed(**files):
    """Files as options of a command line."""
    lists = {name: given if isinstance(given, list) else [given] for name, given in files.items()}
    return {name: [str(file) for file in given] for name, given in lists.items()}


def seen(table):
    """Rows as readers see them, by heading."""
    rows = table.rows if table.shown is None else table.shown
    texts = {column.heading: column.texts(rows) for column in table.columns}
    return [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]


@pytest.fixture
def scores():
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
            ("test_share", 0.2),
            ("train_share", 0.7),
        )
    ]
    return pd.DataFrame(rows, columns=["task", "method", "split", "seed", "metric", "value"]).assign(error=math.nan)
