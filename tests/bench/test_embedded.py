"""Classifiers of scikit-learn on a frozen embedding: the encoder stays as it is, and genes may stand beside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from celllm.bench.method import build
from celllm.config import tables

ROWS = tables.read_methods(Path(__file__).resolve().parents[2] / "config/methods.tsv")


@pytest.fixture
def made(vocabulary, encoder_file):
    def make(name, **options):
        row = ROWS.row(name)
        return build(row, {**row.options, **options}, seed=0, encoder=encoder_file, vocabulary=vocabulary)

    return make


@pytest.mark.parametrize("name", ["celllm_probe", "celllm_knn", "celllm_genes"])
def test_nothing_of_the_encoder_is_trained_and_a_cell_is_embedded_once(made, cells, parts, name):
    method, seen = made(name), []
    before = [weight.detach().clone() for weight in method._pretrained.encoder.parameters()]
    method._pretrained.encoder.layers[0].register_forward_hook(lambda *args: seen.append(len(args[1][0])))
    for _ in range(2):
        method.fit(cells.hiding(parts["test"]), parts["train"], parts["validation"])
        scores = method.predict(cells, parts["test"])

    assert sum(seen) == len(parts["train"]) + len(parts["test"])
    assert all(map(torch.equal, method._pretrained.encoder.parameters(), before))
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    np.testing.assert_allclose(method.predict(cells, parts["test"][3:4]), scores[3:4], atol=1e-5)


def test_other_cells_are_embedded_anew(made, cells, parts):
    method = made("celllm_probe")
    method.fit(cells, parts["train"], parts["validation"])
    other = method.predict(replace(cells, counts=cells.counts[::-1].tocsr()), parts["test"])

    assert not np.allclose(method.predict(cells, parts["test"]), other)


def test_without_weight_the_genes_alone_are_left_and_with_it_the_embedding_counts(made, vocabulary, cells, parts):
    linear = build(ROWS.row("logistic"), {"max_iter": 1000}, seed=0, encoder=None, vocabulary=vocabulary)
    both = [made("celllm_genes", weight=weight) for weight in (0.0, 1.0)]
    answers = []
    for method in (linear, *both):
        method.fit(cells, parts["train"], parts["validation"])
        answers.append(method.predict(cells, parts["test"]))

    np.testing.assert_allclose(answers[1], answers[0], atol=1e-2)
    assert np.abs(answers[2] - answers[0]).max() > 1e-3
    assert both[0].trained_parameters == linear.trained_parameters + 3 * 16


def test_genes_beside_the_embedding_are_regularised_by_themselves(made, cells, parts):
    # of standardised numbers a weight of w and a penalty 1 / C are a penalty of 1 / (C w^2)
    heavy, light = made("celllm_probe", weight=10.0, C=0.01), made("celllm_probe", weight=1.0, C=1.0)
    for method in (heavy, light):
        method.fit(cells, parts["train"], parts["validation"])

    np.testing.assert_allclose(heavy.predict(cells, parts["test"]), light.predict(cells, parts["test"]), atol=1e-2)
