"""The recipes that come with the code: no value without a source, and ablations that change what they are named for."""

from __future__ import annotations

from pathlib import Path

import pytest

from celllm.config import recipe, recipe_choices
from celllm.config.recipe_files import OPERATIONAL, dotted, resolve, sources

FOLDER = Path(__file__).resolve().parents[2] / "config/recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
# What is published, as far as it could be established. All of it is read off released code: neither paper's text gives
# a setting of the pretraining run.
OPENBIOMED = {  # BioFM/OpenBioMed: performer_celllm.py, configs/ctc/cellLM.json, the released checkpoint
    "tokens.rounding": "floor",
    "tokens.top_bin": 5,
    "tokens.max_length": 6000,
    "tokens.layout": "nonzero",
    "genes.method": "graphmae",  # the paper's text: GraphMAE on a protein-protein network
    "encoder.width": 512,
    "encoder.depth": 10,
    "encoder.heads": 16,
    "encoder.head_width": 64,
    "encoder.feedforward_factor": 4,
    "encoder.n_features": None,
    "encoder.attention": "favor",
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
    "encoder.width": 200,
    "encoder.depth": 6,
    "encoder.heads": 10,
    "encoder.head_width": 64,
    "encoder.feedforward_factor": 4,
    "encoder.n_features": None,
    "encoder.attention": "favor",
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
    "learned_genes": {"genes.method": "learned"},
    "no_pretraining": {"training.steps": 0},
}
TOKEN_ABLATIONS = {
    "head_truncation": {"tokens.truncation": "head"},
    "top_expressed": {"tokens.truncation": "top_expressed"},
    "round_bins": {"tokens.rounding": "round"},
}


def read(name):
    return recipe.read(FOLDER / f"{name}.yaml")


def flat(values, prefix=""):
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def values_of(name):
    return flat(read(name).model_dump(mode="json", exclude={"our_choices"}))


@pytest.mark.parametrize("name", NAMES)
def test_a_value_is_published_or_our_choice_or_changes_no_result(name):
    chosen = read(name)
    published = SCBERT if name.startswith("scbert_") else OPENBIOMED
    exempt = OPERATIONAL | recipe_choices.idle(chosen)
    without_source = {
        key: value
        for key, value in values_of(name).items()
        if key not in chosen.our_choices and key not in exempt and (key not in published or published[key] != value)
    }
    assert not without_source


@pytest.mark.parametrize("name", ["paper", "scbert_paper"])
def test_a_published_value_is_not_called_our_choice(name):
    published = SCBERT if name.startswith("scbert_") else OPENBIOMED
    values, chosen = values_of(name), read(name)
    assert not [key for key in chosen.our_choices if published.get(key, "nothing") == values[key]]


@pytest.mark.parametrize(
    ("whole", "ablation", "changes"),
    [
        *((whole, name, changes) for whole in ("paper", "small", "real") for name, changes in ABLATIONS.items()),
        *(("real", name, changes) for name, changes in TOKEN_ABLATIONS.items()),
    ],
)
def test_an_ablation_changes_what_it_is_named_for_and_nothing_else(whole, ablation, changes):
    before, after = values_of(whole), values_of(f"{whole}_{ablation}")
    assert {key: value for key, value in after.items() if value != before[key]} == changes
    assert set(changes) <= set(read(f"{whole}_{ablation}").our_choices)


@pytest.mark.parametrize("whole", ["demo", "real", "small", "paper"])
def test_scbert_gets_the_cells_and_the_steps_of_the_recipe_beside_it(whole):
    beside, ours = read(f"scbert_{whole}"), read(whole)
    for key in ("batch_cells", "steps", "validation_cells", "precision"):
        assert getattr(beside.training, key) == getattr(ours.training, key)
    assert beside.tokens.max_length == (beside.tokens.panel_size or 0) + 1


@pytest.mark.parametrize("name", ["scbert_small", "scbert_paper"])
def test_scberts_schedule_of_100_epochs_is_spread_over_the_steps(name):
    chosen = read(name)
    assert chosen.optimiser.restarts.epoch_steps * 100 == chosen.training.steps


@pytest.mark.parametrize("name", NAMES)
def test_the_best_checkpoint_is_one_that_is_saved(name):
    training = read(name).training
    assert training.validation_cells > 0
    assert training.validate_every % training.checkpoint_every == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_a_recipe_stands_beside_it_and_no_value_repeats_its_base(name):
    files = sources(FOLDER / f"{name}.yaml")
    assert {file.parent for file in files} == {FOLDER}
    if len(files) == 1:
        return
    base, own = values_of(files[1].stem), values_of(name)
    resolved = resolve(files[0])
    here = [key for key in dotted(own) if resolved.given_in(key) == files[0]]
    published = SCBERT if name.startswith("scbert_") else {}
    assert not [key for key in here if own[key] == base[key] and published.get(key, "nothing") != own[key]]
