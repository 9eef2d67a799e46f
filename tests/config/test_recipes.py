"""The encoders of the shipped configurations: no value without a source, ablations change what they are named for."""

import functools
from pathlib import Path

import pytest
import yaml

from celllm.config import overlays, recipe, recipe_choices
from celllm.config.overlays import OPERATIONAL

ROOT = Path(__file__).resolve().parents[2]
ENCODERS = {
    (path.stem, name): layers
    for path in (ROOT / "config.yaml", ROOT / "config/real.yaml", ROOT / "config/paper.yaml")
    for name, layers in yaml.safe_load(path.read_text())["encoders"].items()
}
IDS = ["-".join(key) for key in ENCODERS]
# What is published, as far as it could be established. All of it is read off released code: neither paper's text gives
# a setting of the pretraining run.
OPENBIOMED = {  # BioFM/OpenBioMed: performer_celllm.py, configs/ctc/cellLM.json, the released checkpoint
    "tokens.rounding": "floor",
    "tokens.top_bin": 5,
    "tokens.max_length": 6000,
    "tokens.embed_length": 6000,
    "tokens.layout": "nonzero",
    "genes.method": "graphmae",  # the paper's text: GraphMAE on a protein-protein network
    "genes.trainable": "frozen",
    "encoder.width": 512,
    "encoder.depth": 10,
    "encoder.heads": 16,
    "encoder.head_width": 64,
    "encoder.feedforward_factor": 4,
    "encoder.n_features": None,
    "encoder.attention": "favor",
    "objectives.contrastive.views": "dropout",  # the paper's text
    "encoder.expression": "bins",
    "encoder.cls": "constant",
    "encoder.pooling": "cls",
    "encoder.residual_start": "ordinary",
}
SCBERT = {  # TencentAILabHealthcare/scBERT, README and options; performer-pytorch's and torch's defaults
    "tokens.target_sum": 10_000,
    "tokens.log_base": 2,
    "tokens.rounding": "floor",
    "tokens.top_bin": 5,
    "tokens.max_length": 16_907,
    "tokens.layout": "full",
    "tokens.panel_size": 16_906,
    "genes.method": "gene2vec",
    "genes.trainable": "frozen",
    "encoder.width": 200,
    "encoder.depth": 6,
    "encoder.heads": 10,
    "encoder.head_width": 64,
    "encoder.feedforward_factor": 4,
    "encoder.n_features": None,
    "encoder.attention": "favor",
    "encoder.expression": "bins",
    "encoder.cls": "constant",
    "encoder.pooling": "cls",
    "encoder.residual_start": "ordinary",
    "encoder.dropout": 0.0,
    "objectives.masked.weight": 1.0,
    "objectives.masked.rate": 0.15,
    "objectives.masked.replace_share": 0.9,
    "objectives.contrastive.weight": 0.0,
    "objectives.malignancy.weight": 0.0,
    "optimiser.name": "adam",
    "optimiser.learning_rate": 1e-4,
    "optimiser.weight_decay": 0.0,
    "optimiser.betas": [0.9, 0.999],
    "optimiser.schedule": "cosine_restarts",
    "optimiser.final_learning_rate": 1e-6,
    "optimiser.clip_norm": 100.0,
    "optimiser.restarts.first_cycle": 15,
    "optimiser.restarts.warmup": 5,
    "optimiser.restarts.cycle_factor": 2.0,
    "optimiser.restarts.peak_factor": 0.9,
}
ABLATIONS = {
    "no_contrastive": {"objectives.contrastive.weight": 0.0},
    "no_discrimination": {"objectives.malignancy.weight": 0.0},
    "no_masked": {"objectives.masked.weight": 0.0},
    "random_genes": {"genes.method": "random"},
    "learned_genes": {"genes.method": "random", "genes.trainable": "trained"},
    "head_truncation": {"tokens.truncation": "head"},
    "round_bins": {"tokens.rounding": "round"},
}


@functools.cache
def read(*key):
    return recipe.read(*overlays.paths_of(ENCODERS[key], ROOT / "config/recipes"))


def flat(values, prefix=""):
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def values_of(*key):
    return flat(read(*key).model_dump(mode="json", exclude={"our_choices"}))


@pytest.mark.parametrize("key", ENCODERS, ids=IDS)
def test_a_value_is_published_or_our_choice_or_changes_no_result(key):
    chosen = read(*key)
    published = SCBERT if key[1] == "scbert" else OPENBIOMED
    exempt = OPERATIONAL | recipe_choices.idle(chosen)
    without_source = {
        name: value
        for name, value in values_of(*key).items()
        if name not in chosen.our_choices and name not in exempt and (name not in published or published[name] != value)
    }
    assert not without_source


@pytest.mark.parametrize("name", ["celllm", "scbert"])
def test_a_published_value_is_not_called_our_choice(name):
    published = SCBERT if name == "scbert" else OPENBIOMED
    values, chosen = values_of("paper", name), read("paper", name)
    assert not [key for key in chosen.our_choices if published.get(key, "nothing") == values[key]]


@pytest.mark.parametrize("key", [key for key in ENCODERS if key[1] in ABLATIONS], ids=lambda key: "-".join(key))
def test_an_ablation_changes_what_it_is_named_for_and_nothing_else(key):
    before, after = values_of(key[0], "celllm"), values_of(*key)
    changes = ABLATIONS[key[1]]
    assert {name: value for name, value in after.items() if value != before[name]} == changes
    assert set(changes) <= set(read(*key).our_choices)


@pytest.mark.parametrize(("config", "share"), [("config", 1), ("real", 1 / 8), ("paper", 1)])
def test_scbert_gets_the_cells_and_the_steps_of_the_encoder_beside_it_or_in_real_fewer_that_take_as_long(config, share):
    beside, ours = read(config, "scbert"), read(config, "celllm")
    assert beside.training.steps == ours.training.steps * share
    for key in ("batch_cells", "validation_cells", "precision"):
        assert getattr(beside.training, key) == getattr(ours.training, key)
    assert beside.tokens.max_length == (beside.tokens.panel_size or 0) + 1


def test_scberts_schedule_of_100_epochs_is_spread_over_the_steps():
    chosen = read("paper", "scbert")
    assert chosen.optimiser.restarts.epoch_steps * 100 == chosen.training.steps


def test_few_random_features_are_doubtful_and_no_shipped_encoder_is():
    assert not [doubt for key in ENCODERS for doubt in recipe_choices.doubts(read(*key))]
    few = read("real", "scbert").model_dump()
    few["encoder"]["n_features"] = 63
    assert "noise as large as the signal" in recipe_choices.doubts(recipe.parse(few, file="x"))[0]


@pytest.mark.parametrize("key", ENCODERS, ids=IDS)
def test_the_best_checkpoint_is_one_that_is_saved(key):
    training = read(*key).training
    assert training.validation_cells > 0
    assert training.validate_every % training.checkpoint_every == 0


@pytest.mark.parametrize("name", ["small", "smoke"])
def test_a_recipe_that_no_shipped_configuration_uses_is_whole_over_the_ones_below_it(name):
    below = {"small": ["paper"], "smoke": ["paper", "tiny", "demo"]}[name]
    assert recipe.read(*overlays.paths_of([*below, name], ROOT / "config/recipes")).our_choices
