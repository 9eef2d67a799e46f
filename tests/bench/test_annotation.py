from dataclasses import replace

import numpy as np
import pytest
import torch

from celllm.base.errors import InputError
from celllm.bench.methods.annotation import EncoderClassifier
from celllm.model.encoder import Encoder
from celllm.model.heads import ClsHead, GeneScatterHead
from celllm.model.store import load_encoder, save_encoder

NOTHING = np.array([], dtype=np.int64)
QUICK = {"epochs": 10, "batch": 8, "learning_rate": 3e-3}


def _method(encoder_file, vocabulary, seed=0, **options):
    return EncoderClassifier({**QUICK, **options}, seed=seed, encoder=encoder_file, vocabulary=vocabulary)


def _accuracy(method, cells, rows):
    return np.mean(method.classes_[method.predict(cells, rows).argmax(axis=1)] == cells.labels[rows])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="last layer, gene-scatter head"),
        pytest.param({"mode": "full", "head": "cls", "epochs": 20}, id="full, cls head"),
        pytest.param({"layer": "second_last"}, id="second-last layer"),
        pytest.param({"mode": "lora", "rank": 2, "alpha": 2.0}, id="low-rank updates"),
        pytest.param({"scratch": True}, id="without pretraining"),
    ],
)
def test_it_learns_classes_that_genes_tell_apart(encoder_file, vocabulary, cells, parts, options):
    method = _method(encoder_file, vocabulary, **options)
    method.fit(cells.hiding(parts["test"]), parts["train"], parts["validation"])

    assert _accuracy(method, cells, parts["test"]) > 0.7  # a guess finds a third


def test_frozen_weights_stay_as_they_were(encoder_file, vocabulary, cells, parts):
    method = _method(encoder_file, vocabulary, epochs=1)
    encoder = method._pretrained.encoder
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    method.fit(cells, parts["train"], parts["validation"])

    changed = {name for name, weight in encoder.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith(("layers.1.", "norm.")) for name in changed)
    head = sum(weight.numel() for weight in method._head.parameters())
    assert method.trained_parameters == head + sum(before[name].numel() for name in changed)


def test_lora_trains_low_rank_weights_and_the_head_alone(encoder_file, vocabulary, cells, parts):
    method = _method(encoder_file, vocabulary, mode="lora", rank=2, epochs=1)
    encoder = method._pretrained.encoder
    before = {
        name.rsplit(".", 1)[0]: weight.clone() for name, weight in encoder.state_dict().items() if "weight" in name
    }
    method.fit(cells, parts["train"], parts["validation"])

    state = encoder.state_dict()
    for name, weight in before.items():
        kept = state.get(f"{name}.weight", state.get(f"{name}.parametrizations.weight.original"))
        assert torch.equal(kept, weight)
    low_rank = {name: weight for name, weight in state.items() if name.endswith(("down_RI", "up_OR"))}
    # widths in and out of qkv, out, and both feed-forward weights (4 x 16), times the rank, in two layers
    n_low_rank = 2 * 2 * ((16 + 48) + (16 + 16) + (16 + 64) + (64 + 16))
    assert sum(weight.numel() for weight in low_rank.values()) == n_low_rank
    assert all(weight.any() for weight in low_rank.values())
    head = sum(weight.numel() for weight in method._head.parameters())
    assert method.trained_parameters == n_low_rank + head


def test_a_prediction_depends_on_nothing_but_the_cell(encoder_file, vocabulary, cells, parts):
    method = _method(encoder_file, vocabulary, epochs=2)
    method.fit(cells, parts["train"], parts["validation"])
    together = method.predict(cells, parts["test"])

    order = np.random.default_rng(0).permutation(len(parts["test"]))
    np.testing.assert_allclose(method.predict(cells, parts["test"][order]), together[order], atol=1e-5)
    np.testing.assert_allclose(method.predict(cells, parts["test"][3:4]), together[3:4], atol=1e-5)


def test_test_labels_do_not_matter(encoder_file, vocabulary, cells, parts):
    def scores(shown):
        method = _method(encoder_file, vocabulary, epochs=2)
        method.fit(shown, parts["train"], parts["validation"])
        return method.predict(shown, parts["test"])

    np.testing.assert_array_equal(scores(cells), scores(cells.hiding(parts["test"])))


def test_equal_seeds_give_equal_predictions_and_leave_torchs_generator_alone(encoder_file, vocabulary, cells, parts):
    def scores(seed):
        method = _method(encoder_file, vocabulary, seed=seed, epochs=1)
        method.fit(cells, parts["train"], parts["validation"])
        return method.predict(cells, parts["test"])

    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(scores(1), scores(1))
    assert not np.allclose(scores(1), scores(2))
    assert torch.equal(state, torch.random.get_rng_state())


def test_when_to_stop_is_chosen_on_validation_cells(encoder_file, vocabulary, cells, parts):
    """With validation labels that turn right predictions wrong, the first, least trained epoch is kept."""
    wrong = cells.labels.copy()
    wrong[parts["validation"]] = np.roll(["alpha", "beta", "gamma"], 1)[
        np.searchsorted(["alpha", "beta", "gamma"], cells.labels[parts["validation"]])
    ]
    misled, sound = (_method(encoder_file, vocabulary, learning_rate=1e-3, epochs=8, patience=8) for _ in range(2))
    misled.fit(replace(cells, labels=wrong), parts["train"], parts["validation"])
    sound.fit(cells, parts["train"], parts["validation"])

    assert _accuracy(misled, cells, parts["test"]) < 0.75 < _accuracy(sound, cells, parts["test"])


def test_without_validation_the_whole_budget_is_used(encoder_file, vocabulary, cells, parts):
    method = _method(encoder_file, vocabulary, epochs=3, patience=1)
    seen = []
    method._pretrained.encoder.layers[-1].register_forward_hook(lambda *args: seen.append(len(args[1][0])))
    method.fit(cells, parts["train"], NOTHING)

    assert sum(seen) == method.shown_units == 3 * len(parts["train"])


@pytest.mark.parametrize(("attention", "head"), [("favor", GeneScatterHead), ("none", ClsHead)])
def test_the_head_reads_the_cell_where_no_token_attends_to_another(
    tmp_path, encoder_file, vocabulary, cells, parts, attention, head
):
    known = load_encoder(encoder_file, vocabulary=vocabulary.digest)
    settings = known.recipe.encoder.model_copy(update={"attention": attention})
    encoder = Encoder(settings, n_genes=known.encoder.n_genes, gene_embedding=torch.ones(known.encoder.n_genes, 16))
    file = tmp_path / "other.safetensors"
    save_encoder(
        file, encoder, recipe=known.recipe.model_copy(update={"encoder": settings}), vocabulary=vocabulary.digest
    )
    method = _method(file, vocabulary, epochs=1)
    method.fit(cells, parts["train"], parts["validation"])

    assert isinstance(method._head, head)


def test_the_released_head_and_choice_are_other_ones(encoder_file, vocabulary, cells, parts):
    answers = []
    for options in ({}, {"relu": True}, {"select": "accuracy"}):
        method = _method(encoder_file, vocabulary, epochs=2, **options)
        method.fit(cells, parts["train"], parts["validation"])
        answers.append(method.predict(cells, parts["test"]))

    assert method._head.relu is False
    assert not np.allclose(answers[0], answers[1])


def test_what_frozen_layers_say_is_computed_once_for_all_runs_of_a_job(encoder_file, vocabulary, cells, parts):
    shared, seen, answers = {}, [], []
    for given in (shared, shared, {}):
        method = _method(encoder_file, vocabulary, epochs=2)
        method.shared = given
        method._pretrained.encoder.layers[0].register_forward_hook(lambda *args: seen.append(len(args[1][0])))
        method.fit(cells, parts["train"], parts["validation"])
        answers.append(method.predict(cells, parts["test"]))
        seen.append(None)

    first, second = seen[: seen.index(None)], seen[seen.index(None) + 1 :]
    assert sum(first) <= len(cells.cell_ids) * 4
    assert second[0] is None
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-5)


def test_a_test_class_absent_in_training_is_predicted_as_another(encoder_file, vocabulary, cells, parts):
    known = parts["train"][cells.labels[parts["train"]] != "gamma"]
    method = _method(encoder_file, vocabulary, epochs=1)
    method.fit(cells, known, parts["validation"])

    assert list(method.classes_) == ["alpha", "beta"]
    assert method.predict(cells, parts["test"]).shape == (len(parts["test"]), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "last_layers"}, "did you mean last_layer"), ({"head": "mlp"}, "gene_scatter"), ({"lr": 1}, "lr")],
)
def test_wrong_options_are_refused(encoder_file, vocabulary, options, message):
    with pytest.raises(InputError, match=message):
        _method(encoder_file, vocabulary, **options)
