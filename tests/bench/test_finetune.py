"""What fine-tuning shares: the encoder made ready, what of it is trained, how long, and whose weights are kept."""

import numpy as np
import pytest
import torch
from torch import nn

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench.method import BenchMethod
from celllm.bench.methods.finetune import Lesson, Schedule, ready_encoder, schedule_of, thaw, train
from celllm.config.settings import FitBudget
from celllm.harmonise.vocabulary import Vocabulary


@pytest.fixture
def method(vocabulary, encoder_file):
    """Make a method without a class of its own, with these options."""

    def make(*, encoder=encoder_file, vocabulary=vocabulary, **options):
        made = BenchMethod({}, seed=0, encoder=encoder, vocabulary=vocabulary)
        made.options = {"scratch": False, "epochs": None, "patience": None, "learning_rate": 0.1} | options
        return made

    return make


@pytest.mark.parametrize(
    ("mode", "layer", "trained"),
    [
        ("last_layer", "last", {"layers.1", "norm"}),
        ("last_layer", "second_last", {"layers.0", "norm"}),
        ("full", "last", {"layers.0", "layers.1", "norm", "embedding.expression"}),
    ],
)
def test_a_mode_trains_what_it_says(method, mode, layer, trained):
    encoder = ready_encoder(method()).encoder
    thaw(encoder, {"mode": mode, "layer": layer})

    names = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert {".".join(name.split(".")[: 1 if name.startswith("norm") else 2]) for name in names} == trained


def test_no_graph_is_kept_below_the_trained_layer(method):
    encoder, seen = ready_encoder(method()).encoder, []
    thaw(encoder, {"mode": "last_layer", "layer": "last"})
    for layer in encoder.layers:
        layer.register_forward_hook(lambda *args: seen.append(args[2].requires_grad))

    encoder(torch.tensor([[40, 1, 2]]), torch.tensor([[6, 1, 2]]))

    assert seen == [False, True]


def test_scratch_keeps_the_gene_table_and_no_other_weight(method):
    trained, fresh = (ready_encoder(method(scratch=scratch)).encoder for scratch in (False, True))

    assert torch.equal(trained.embedding.genes.weight, fresh.embedding.genes.weight)
    for one, two in zip(trained.layers.parameters(), fresh.layers.parameters(), strict=True):
        assert one.ndim < 2 or not torch.equal(one, two)


def test_no_encoder_and_one_of_another_vocabulary_are_refused(method, vocabulary):
    other = Vocabulary(vocabulary.genes.iloc[::-1].reset_index(drop=True))

    with pytest.raises(VocabularyMismatch, match=vocabulary.digest[:12]):
        ready_encoder(method(vocabulary=other))
    with pytest.raises(InputError, match="--encoder"):
        ready_encoder(method(encoder=None))


@pytest.mark.parametrize(
    ("n_train", "n_batches", "options", "expected"),
    [
        pytest.param(100, 10, {}, Schedule(40, 10, 2), id="the budget's units end it"),
        pytest.param(20, 2, {}, Schedule(12, 3, 2), id="the budget's epochs end it"),
        pytest.param(4000, 400, {}, Schedule(40, 10, 2), id="within the first epoch"),
        pytest.param(100, 10, {"epochs": 3, "patience": 9}, Schedule(30, 10, 9), id="epochs of its own"),
    ],
)
def test_a_schedule_keeps_to_the_budget(method, n_train, n_batches, options, expected):
    made = method(**options)
    made.budget = FitBudget(cells=400, epochs=6, checks=4, patience=2)

    assert schedule_of(made, Lesson("cells", n_train, n_batches, list)) == expected


@pytest.mark.parametrize(
    ("scores", "n_seen", "best"),
    [
        pytest.param([0.0, 0.1, 0.2, 0.3, 0.4], 8, 8, id="to the end"),
        pytest.param([0.0, 0.5, 0.4, 0.5], 6, 2, id="to the end of patience, and back to the best"),
        pytest.param([0.5, 0.4, 0.5], 4, 0, id="to the end of patience, and back to the start"),
        pytest.param(None, 8, 8, id="without validation"),
    ],
)
def test_training_ends_by_batches_or_patience_and_keeps_the_best_check(method, scores, n_seen, best):
    made, module, seen, asked = method(), nn.Linear(1, 1), [], iter(scores or [])
    module.bias.requires_grad_(False)
    # 4 checks of 2 batches each, of 3 batches an epoch
    made.budget = FitBudget(cells=8, epochs=30, checks=4, patience=2)
    weights = []

    def loss_of(batch):
        seen.append(int(batch[0]))
        weights.append(module.weight.item())
        return (module.weight - 100).pow(2).sum()

    lesson = Lesson("cells", 3, 3, lambda: iter(np.arange(3)[:, None]))
    train(made, lesson, loss_of, heads=[module], score=(lambda: next(asked)) if scores else None)

    assert next(asked, None) is None
    assert seen == [number % 3 for number in range(n_seen)]
    assert (made.shown_units, made.trained_parameters) == (n_seen, 1)
    assert (module.weight.item() == weights[best]) if best < n_seen else (module.weight.item() > weights[-1])


def test_a_loss_that_is_no_number_stops_the_fit_and_names_the_batch(method):
    module, losses = nn.Linear(1, 1), iter([1.0, 1.0, np.nan])
    lesson = Lesson("cells", 3, 3, lambda: iter(np.arange(3)[:, None]))

    with pytest.raises(InputError, match="nan in batch 3"):
        train(method(), lesson, lambda _: module.weight.sum() * next(losses), heads=[module], score=None)
