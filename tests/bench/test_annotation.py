"""A pretrained encoder taught to tell classes apart: what is trained, when it stops, what is computed once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.bench.conftest import share_right

from celllm.bench.methods.annotation import EncoderClassifier
from celllm.model.encoder import Encoder
from celllm.model.heads import ClsHead, GeneScatterHead
from celllm.model.store import load_encoder, save_encoder

QUICK = {"epochs": 1, "batch": 8, "learning_rate": 3e-3}
CLASSES = ["alpha", "beta", "gamma"]


def size(weights):
    return sum(weight.numel() for weight in weights)


def test_frozen_weights_stay_as_they_were(made, cells, parts):
    method = made("celllm", **QUICK)
    encoder = method._pretrained.encoder
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    method.fit(cells, parts["train"], parts["validation"])

    changed = {name for name, weight in encoder.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith(("layers.1.", "norm.")) for name in changed)
    assert method.trained_parameters == size(method._head.parameters()) + size(before[name] for name in changed)


def test_lora_trains_low_rank_weights_and_the_head_alone(made, cells, parts):
    method = made("celllm_lora", rank=2, **QUICK)
    encoder = method._pretrained.encoder
    before = {
        name.rsplit(".", 1)[0]: weight.clone() for name, weight in encoder.state_dict().items() if "weight" in name
    }
    method.fit(cells, parts["train"], parts["validation"])

    state = encoder.state_dict()
    for name, weight in before.items():
        kept = state.get(f"{name}.weight", state.get(f"{name}.parametrizations.weight.original"))
        assert torch.equal(kept, weight)
    low_rank = [weight for name, weight in state.items() if name.endswith(("down_RI", "up_OR"))]
    # widths in and out of qkv, out, and both feed-forward weights (4 x 16), times the rank, in two layers
    assert size(low_rank) == 2 * 2 * ((16 + 48) + (16 + 16) + (16 + 64) + (64 + 16))
    assert all(weight.any() for weight in low_rank)
    assert method.trained_parameters == size(low_rank) + size(method._head.parameters())


def test_when_to_stop_is_chosen_on_validation_cells(fitted, cells, parts):
    """With validation labels that turn right predictions wrong, the first, least trained epoch is kept."""
    wrong, rows = cells.labels.copy(), parts["validation"]
    wrong[rows] = np.roll(CLASSES, 1)[np.searchsorted(CLASSES, cells.labels[rows])]
    options = QUICK | {"learning_rate": 1e-3, "epochs": 8, "patience": 8}
    misled, sound = (fitted("celllm", shown=shown, **options) for shown in (replace(cells, labels=wrong), cells))

    assert share_right(misled, cells, parts["test"]) < 0.75 < share_right(sound, cells, parts["test"])


@pytest.mark.parametrize(("attention", "head"), [("favor", GeneScatterHead), ("none", ClsHead)])
def test_the_head_reads_the_cells_vector_where_no_token_attends_to_another(
    tmp_path, encoder_file, vocabulary, cells, parts, attention, head
):
    known = load_encoder(encoder_file, vocabulary=vocabulary.digest)
    settings = known.recipe.encoder.model_copy(update={"attention": attention})
    genes = torch.ones(known.encoder.n_genes, settings.width)
    encoder, file = Encoder(settings, n_genes=len(genes), gene_embedding=genes), tmp_path / "other.safetensors"
    recipe = known.recipe.model_copy(update={"encoder": settings})
    save_encoder(file, encoder, recipe=recipe, vocabulary=vocabulary.digest)
    method = EncoderClassifier(QUICK, seed=0, encoder=file, vocabulary=vocabulary)
    method.fit(cells, parts["train"], parts["validation"])

    assert isinstance(method._head, head)


def test_the_released_head_and_choice_are_other_ones(fitted, cells, parts):
    ours, released, chosen = (
        fitted("celllm", **QUICK, **options) for options in ({}, {"relu": True}, {"select": "accuracy"})
    )

    assert (released._head.relu, chosen._head.relu) == (True, False)
    assert not np.allclose(ours.predict(cells, parts["test"]), released.predict(cells, parts["test"]))


def test_what_frozen_layers_say_is_computed_once_for_all_runs_of_a_job(made, cells, parts):
    shared, seen, answers = {}, [], []
    for given in (shared, shared, {}):
        method = made("celllm", **QUICK)
        method.shared = given
        seen.append(0)
        method._pretrained.encoder.layers[0].register_forward_hook(
            lambda *args: seen.append(seen.pop() + len(args[1][0]))
        )
        method.fit(cells, parts["train"], parts["validation"])
        answers.append(method.predict(cells, parts["test"]))

    assert seen[1] == 0 < seen[0] == seen[2] <= 4 * len(cells.cell_ids)
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-5)
