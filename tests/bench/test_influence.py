"""The standard error that influence gives is the one that drawing the test units again gives."""

import numpy as np
import pandas as pd
import pytest

from celllm.bench.influence import influence
from celllm.bench.metrics import metrics_of

N = 400


@pytest.fixture(scope="module")
def cells():
    generator = np.random.default_rng(1)
    names = np.array(["resistant", "sensitive"])
    truth = generator.choice(2, N, p=[0.3, 0.7])
    score = 1 / (1 + np.exp(-(1.5 * truth - 0.6 + generator.normal(size=N))))
    return pd.DataFrame(
        {
            "unit": np.arange(N).astype(str),
            "truth": names[truth],
            "predicted": names[(score > 0.5).astype(int)],
            "score:resistant": 1 - score,
            "score:sensitive": score,
        }
    )


@pytest.fixture(scope="module")
def pairs():
    generator = np.random.default_rng(2)
    truth = generator.normal(size=N)
    lines, drugs = np.repeat(np.arange(N // 8), 8), np.tile(np.arange(8), N // 8)
    predicted = truth + generator.normal(size=N) + generator.normal(size=N // 8)[lines]
    names = {"line": lines.astype(str), "drug": drugs.astype(str)}
    return pd.DataFrame({"unit": np.arange(N), "truth": truth, "predicted": predicted, **names})


@pytest.fixture(scope="module")
def drawn_again(cells, pairs):
    """Standard deviations of all metrics over bootstrap samples of units, or of whole lines."""
    found = {}
    for table, kind, cluster in (
        (cells, "classification", None),
        (pairs, "regression", None),
        (pairs, "regression", "line"),
    ):
        generator = np.random.default_rng(3)
        of = np.arange(N) if cluster is None else table[cluster].astype(int).to_numpy()
        rows = [np.flatnonzero(of == one) for one in np.unique(of)]
        draws = [generator.integers(len(rows), size=len(rows)) for _ in range(120)]
        samples = [table.iloc[np.concatenate([rows[i] for i in draw])] for draw in draws]
        found[kind, cluster] = pd.DataFrame([metrics_of(sample, kind=kind) for sample in samples]).std()
    return found


@pytest.mark.parametrize(
    "metric",
    ["accuracy", "macro_f1", "balanced_accuracy", "auroc", "brier", "f1:resistant", "f1_sensitive"],
)
def test_errors_of_classification_are_those_of_the_bootstrap(cells, drawn_again, metric):
    found = influence(cells, metric, kind="classification", split="random")

    assert found.values_N.mean() == pytest.approx(0, abs=1e-12)
    assert found.error == pytest.approx(drawn_again["classification", None][metric], rel=0.2)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "rmse", "mae", "r2"])
@pytest.mark.parametrize(("split", "cluster"), [("pairs", None), ("lines", "line")])
def test_errors_of_regression_are_those_of_the_bootstrap_of_what_the_split_draws(
    pairs, drawn_again, metric, split, cluster
):
    found = influence(pairs, metric, kind="regression", split=split)

    assert found.error == pytest.approx(drawn_again["regression", cluster][metric], rel=0.25)


def test_of_two_ways_to_be_drawn_both_count(pairs):
    errors = [influence(pairs, "rmse", kind="regression", split=split).error for split in ("lines", "drugs", "both")]

    assert errors[2] >= max(errors[:2])


def test_a_median_over_drugs_and_the_calibration_error_have_none(pairs, cells):
    assert influence(cells, "ece", kind="classification", split="random") is None
    assert influence(pairs, "pearson_per_drug", kind="regression", split="lines") is None
