"""What every shipped classifier does, and what is told of controls and of classifiers on a frozen embedding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from tests.bench.conftest import ROWS, share_right

from celllm.base.errors import InputError
from celllm.config import tables

QUICK = {"epochs": 10, "batch": 8, "learning_rate": 3e-3}
UNMOVED = {"head": "cls", "learning_rate": 1e-12}
ENCODERS = {
    "celllm": {},
    "celllm_full": {"head": "cls", "epochs": 20},
    "celllm_lora": {"rank": 2, "alpha": 2.0},
    "celllm_scratch": {},
    "scbert": {},
}
OTHERS = [
    row.method
    for row in ROWS
    if row.kind == "classification"
    and not row.module.endswith("EncoderClassifier")
    and row.role not in ("trivial", "upper_control", "lower_control")
]
FROZEN = [name for name in OTHERS if ROWS.row(name).encoder not in (None, tables.COMPONENTS)]
EACH = pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in OTHERS] + [(name, QUICK | options) for name, options in ENCODERS.items()],
)


@EACH
def test_it_learns_classes_that_genes_tell_apart_and_answers_by_the_cell_alone(fitted, cells, parts, name, options):
    method, rows = fitted(name, **options), parts["test"]
    scores, order = method.predict(cells, rows), np.random.default_rng(0).permutation(len(rows))

    assert scores.shape == (len(rows), 3)
    assert share_right(method, cells, rows) > (
        0.7 if name in ENCODERS else 0.6 if name in FROZEN else 0.9
    )  # guess: 1/3
    np.testing.assert_allclose(method.predict(cells, rows[order]), scores[order], atol=1e-5)
    np.testing.assert_allclose(method.predict(cells, rows[3:4]), scores[3:4], atol=1e-5)


@EACH
def test_test_labels_teach_nothing_and_of_what_does_not_choose_neither_do_validation_labels(
    made, cells, parts, name, options
):
    hidden = ["test"] if name in ENCODERS else ["test", "validation"]
    scores, state = [], torch.random.get_rng_state()
    for shown in (cells, cells.hiding(np.concatenate([parts[part] for part in hidden]))):
        method = made(name, **options | ({"epochs": 1} if name in ENCODERS else {}))
        method.fit(shown, parts["train"], parts["validation"])
        scores.append(method.predict(cells, parts["test"]))

    np.testing.assert_array_equal(*scores)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in FROZEN])
def test_two_classes_have_two_columns_of_which_the_larger_is_right_whatever_the_seed(fitted, cells, parts, name):
    two = {part: rows[cells.labels[rows] != "gamma"] for part, rows in parts.items()}
    methods = [fitted(name, parts=two, seed=seed) for seed in (0, 1)]
    one, other = (method.predict(cells, two["test"]) for method in methods)

    assert one.shape == (len(two["test"]), 2)
    assert share_right(methods[0], cells, two["test"]) > 0.9
    np.testing.assert_allclose(one, other, atol=5e-3)


@pytest.mark.parametrize("name", ["celllm_probe", "celllm_knn", "celllm_genes", "celllm_components"])
def test_nothing_of_a_frozen_encoder_is_trained_and_a_cell_is_embedded_once(made, cells, parts, name):
    method, seen = made(name), []
    before = [weight.detach().clone() for weight in method._pretrained.encoder.parameters()]
    method._pretrained.encoder.layers[0].register_forward_hook(lambda *args: seen.append(len(args[1][0])))
    for _ in range(2):
        method.fit(cells, parts["train"], parts["validation"])
        scores = method.predict(cells, parts["test"])
    other = method.predict(replace(cells, counts=cells.counts[::-1].tocsr()), parts["test"])

    assert sum(seen) == len(parts["train"]) + 2 * len(parts["test"])
    assert all(map(torch.equal, method._pretrained.encoder.parameters(), before))
    assert not np.allclose(scores, other)


@pytest.mark.parametrize(("rival", "name"), [("logistic", "celllm_genes"), ("pca_logistic", "celllm_components")])
def test_without_weight_the_rival_alone_is_left_and_with_it_the_embedding_counts(fitted, cells, parts, rival, name):
    methods = [fitted(rival), *(fitted(name, weight=weight) for weight in (0.0, 1.0))]
    linear, without, with_it = (method.predict(cells, parts["test"]) for method in methods)

    np.testing.assert_allclose(without, linear, atol=1e-2)
    assert np.abs(with_it - linear).max() > 1e-3
    assert methods[1].trained_parameters == methods[0].trained_parameters + 3 * 16


@pytest.mark.parametrize("name", ["ranked_genes", "logistic", "pca_logistic"])
@pytest.mark.parametrize("values", ["counts", "tpm"])
def test_a_cell_that_was_sequenced_deeper_is_the_same_cell(fitted, cells, parts, name, values):
    cells = replace(cells, values=values)
    method = fitted(name, shown=cells)
    deeper = replace(cells, counts=sparse.csr_matrix(cells.counts * 7))

    np.testing.assert_allclose(method.predict(deeper, parts["test"]), method.predict(cells, parts["test"]), atol=1e-5)


def test_components_beside_the_embedding_are_asked_for(made, cells, parts):
    method = made("celllm_components")
    method.components_file = None

    with pytest.raises(InputError, match="--components"):
        method.fit(cells, parts["train"], parts["validation"])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_linear_head_starts_as_the_regression_on_the_embedding(fitted, cells, parts, n_classes):
    rows = {
        part: rows[np.isin(cells.labels[rows], np.unique(cells.labels)[:n_classes])] for part, rows in parts.items()
    }
    probe, tuned = (fitted(name, parts=rows, **one) for name, one in {"celllm_probe": {}, "celllm": UNMOVED}.items())

    np.testing.assert_allclose(tuned.predict(cells, rows["test"]), probe.predict(cells, rows["test"]), atol=1e-3)


def test_controls_win_and_lose_and_without_the_answers_nobody_wins(fitted, cells, parts):
    labels = cells.labels.copy()
    labels[::3] = np.roll(labels, 30)[::3]  # every third cell has the label of another class
    noisy, rows = replace(cells, labels=labels), parts["test"]
    leaked = fitted("control_leaked", shown=noisy)

    assert share_right(leaked, noisy, rows) == 1.0
    answers = leaked.classes_[leaked.predict(noisy.hiding(rows), rows).argmax(axis=1)]
    assert np.mean(answers == labels[rows]) < 0.9
    assert share_right(fitted("logistic", shown=noisy), noisy, rows) < 0.9
    assert share_right(fitted("control_shuffled"), cells, rows) < 0.6


def test_the_majority_is_that_of_the_training_part(made, cells):
    method = made("majority")
    method.fit(cells, np.array([0, 30, 31, 60]), np.array([61, 62]))

    np.testing.assert_allclose(method.predict(cells, np.array([5, 6])), [[0.25, 0.5, 0.25]] * 2)
