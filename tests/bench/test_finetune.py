import numpy as np
import pytest
import torch
from torch import nn

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench.method import BenchMethod
from celllm.bench.methods.finetune import BestEpoch, check_finite, n_epochs, ready_encoder, thaw
from celllm.harmonise.vocabulary import Vocabulary


def _ready(encoder, vocabulary, *, scratch=False):
    return ready_encoder(BenchMethod({}, seed=0, encoder=encoder, vocabulary=vocabulary), scratch=scratch)


@pytest.mark.parametrize(
    ("mode", "layer", "trained"),
    [
        ("last_layer", "last", {"layers.1", "norm"}),
        ("last_layer", "second_last", {"layers.0", "norm"}),
        ("full", "last", {"layers.0", "layers.1", "norm", "embedding.expression"}),
        ("probe", "last", set()),
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


def test_the_best_epochs_weights_come_back_and_patience_ends_training():
    module = nn.Linear(1, 1)
    module.bias.requires_grad_(False)
    best = BestEpoch([module], patience=2)
    stops = []
    for value, score in enumerate([0.1, 0.5, 0.5, 0.4]):
        nn.init.constant_(module.weight, float(value))
        stops.append(best.is_over(score))
    best.restore()

    assert stops == [False, False, False, True]
    assert module.weight.item() == 1.0
    assert best.score == 0.5


@pytest.mark.parametrize(
    ("epochs", "steps", "per_epoch", "expected"),
    [(20, 100, 3, 20), (20, 100, 40, 3), (20, 100, 1000, 1), (5, 10, 0, 5)],
)
def test_whole_epochs_are_trained_until_the_steps_are_reached(epochs, steps, per_epoch, expected):
    assert n_epochs(epochs=epochs, steps=steps, steps_per_epoch=per_epoch) == expected


def test_a_loss_that_is_no_number_stops_the_fit_and_names_the_epoch():
    with pytest.raises(InputError, match="epoch 3"):
        check_finite(torch.tensor(np.nan), epoch=3)
