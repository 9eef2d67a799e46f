import numpy as np
import pytest
import torch
from torch import nn

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench.method import BenchMethod
from celllm.bench.methods.finetune import BestCheck, Schedule, check_finite, ready_encoder, schedule_of, thaw, train
from celllm.config.settings import FitBudget
from celllm.harmonise.vocabulary import Vocabulary


def _ready(encoder, vocabulary, *, scratch=False):
    return ready_encoder(BenchMethod({}, seed=0, encoder=encoder, vocabulary=vocabulary), scratch=scratch)


@pytest.mark.parametrize(
    ("mode", "layer", "trained"),
    [
        ("last_layer", "last", {"layers.1", "norm"}),
        ("last_layer", "second_last", {"layers.0", "norm"}),
        ("full", "last", {"layers.0", "layers.1", "norm", "embedding.expression"}),
        ("frozen", "last", set()),
    ],
)
def test_a_mode_trains_what_it_says(encoder_file, vocabulary, mode, layer, trained):
    encoder = _ready(encoder_file, vocabulary).encoder

    weights = thaw(encoder, mode=mode, layer=layer)

    names = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert {".".join(name.split(".")[: 1 if name.startswith("norm") else 2]) for name in names} == trained
    assert len(weights) == len(names)


def test_no_graph_is_kept_below_the_trained_layer(encoder_file, vocabulary):
    encoder = _ready(encoder_file, vocabulary).encoder
    thaw(encoder, mode="last_layer")
    seen = []
    encoder.layers[0].register_forward_hook(lambda *args: seen.append(args[2].requires_grad))
    encoder.layers[1].register_forward_hook(lambda *args: seen.append(args[2].requires_grad))

    encoder(torch.tensor([[40, 1, 2]]), torch.tensor([[6, 1, 2]]))

    assert seen == [False, True]


def test_scratch_keeps_the_gene_table_and_no_other_weight(encoder_file, vocabulary):
    trained, fresh = (_ready(encoder_file, vocabulary, scratch=scratch).encoder for scratch in (False, True))

    assert torch.equal(trained.embedding.genes.weight, fresh.embedding.genes.weight)
    for one, two in zip(trained.layers.parameters(), fresh.layers.parameters(), strict=True):
        assert one.ndim < 2 or not torch.equal(one, two)


def test_an_encoder_of_another_vocabulary_is_refused(encoder_file, vocabulary):
    other = Vocabulary(vocabulary.genes.iloc[::-1].reset_index(drop=True))

    with pytest.raises(VocabularyMismatch, match=vocabulary.digest[:12]):
        _ready(encoder_file, other)


def test_a_missing_encoder_is_asked_for(vocabulary):
    with pytest.raises(InputError, match="--encoder"):
        _ready(None, vocabulary)


def test_the_best_checks_weights_come_back_and_patience_ends_training():
    module = nn.Linear(1, 1)
    module.bias.requires_grad_(False)
    best = BestCheck([module], patience=2)
    stops = []
    for value, score in enumerate([0.1, 0.5, 0.5, 0.4]):
        nn.init.constant_(module.weight, float(value))
        stops.append(best.is_over(score))
    best.restore()

    assert stops == [False, False, False, True]
    assert module.weight.item() == 1.0
    assert best.score == 0.5


@pytest.mark.parametrize(
    ("n_train", "n_batches", "options", "expected"),
    [
        pytest.param(100, 10, {}, Schedule(40, 10, 2), id="the budget's units end it"),
        pytest.param(20, 2, {}, Schedule(12, 3, 2), id="the budget's epochs end it"),
        pytest.param(4000, 400, {}, Schedule(40, 10, 2), id="within the first epoch"),
        pytest.param(100, 10, {"epochs": 3, "patience": 9}, Schedule(30, 10, 9), id="epochs of its own"),
    ],
)
def test_a_schedule_keeps_to_the_budget(vocabulary, n_train, n_batches, options, expected):
    method = BenchMethod({}, seed=0, encoder=None, vocabulary=vocabulary)
    method.options = {"epochs": None, "patience": None} | options
    method.budget = FitBudget(cells=400, epochs=6, checks=4, patience=2)

    assert schedule_of(method, "cells", n_train=n_train, n_batches=n_batches) == expected


@pytest.mark.parametrize(
    ("scores", "seconds", "n_seen"),
    [([0.1, 0.2, 0.3, 0.4], np.inf, 8), ([0.5, 0.4, 0.3], np.inf, 6), (None, np.inf, 8), ([0.5], 1e-9, 1)],
)
def test_training_goes_through_epochs_until_its_batches_its_patience_or_its_seconds_end(scores, seconds, n_seen):
    weight, seen, asked = nn.Parameter(torch.zeros(1)), [], iter(scores or [])

    def loss_of(batch):
        seen.append(int(batch[0]))
        return (weight - 1).pow(2).sum()

    n_batches = train(
        [weight],
        lambda: iter(np.arange(3)[:, None]),
        loss_of,
        modes=[],
        kept=[],
        score=(lambda: next(asked)) if scores else None,
        learning_rate=0.1,
        schedule=Schedule(n_batches=8, batches_a_check=2, patience=2, seconds=seconds),
    )

    assert n_batches == n_seen
    assert next(asked, None) is None
    assert seen == [number % 3 for number in range(n_seen)]


def test_a_loss_that_is_no_number_stops_the_fit_and_names_the_batch():
    with pytest.raises(InputError, match="batch 3"):
        check_finite(torch.tensor(np.nan), batch=3)
