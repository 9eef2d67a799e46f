from pathlib import Path

import pytest

from celllm.base.errors import InputError
from celllm.bench.method import build
from celllm.config import tables
from celllm.config.tables import Method


def _row(**changes):
    values = {
        "method": "m",
        "kind": "classification",
        "title": "M",
        "module": "celllm.bench.methods.controls:MajorityClass",
        "encoder": None,
        "options": {},
        "search": {},
        "seeded": False,
        "role": "trivial",
    }
    return Method(**{**values, **changes})


def _built(row, vocabulary):
    return build(row, row.options, seed=0, encoder=None, vocabulary=vocabulary)


def test_a_row_becomes_an_object_of_the_class_it_names(vocabulary):
    assert type(_built(_row(), vocabulary)).__name__ == "MajorityClass"


@pytest.mark.parametrize(
    "module",
    [
        "os:system",
        "celllmfake.thing:Class",
        "sklearnfake.thing:Class",
        "torch:load",
        "celllm.bench.methods.controls",
        "celllm.bench.methods.controls:Majority.x",
    ],
)
def test_code_from_outside_the_package_and_scikit_learn_is_never_imported(module, vocabulary, monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(InputError, match=r"celllm\.<room>\.<module>:<Class>"):
        _built(_row(module=module), vocabulary)


@pytest.mark.parametrize(
    "module",
    [
        "celllm.bench.methods.nothing:Class",
        "celllm.bench.methods.controls:MajorityClas",
        "sklearn.nothing:Class",
        "sklearn.linear_model:Logistics",
    ],
)
def test_a_module_or_class_that_does_not_exist_is_named(module, vocabulary):
    with pytest.raises(InputError, match=module):
        _built(_row(module=module), vocabulary)


def test_a_wrong_option_is_reported_with_its_row(vocabulary):
    with pytest.raises(InputError, match="depth") as caught:
        _built(_row(options={"depth": 3}), vocabulary)

    assert caught.value.__notes__ == ["in the row m of config/methods.tsv"]


def test_a_method_that_starts_from_an_encoder_asks_for_it(vocabulary):
    with pytest.raises(InputError, match="--encoder"):
        _built(_row(encoder="celllm"), vocabulary)


def test_a_method_on_components_asks_for_their_file(vocabulary):
    with pytest.raises(InputError, match=r"--encoder results/bench/pca\.safetensors"):
        _built(_row(encoder=tables.COMPONENTS), vocabulary)


METHODS = tables.read_methods(Path(__file__).resolve().parents[2] / "config/methods.tsv")


@pytest.mark.parametrize("row", METHODS.rows, ids=METHODS.names)
def test_every_shipped_method_can_be_made_and_has_the_two_calls(row, vocabulary, encoder_file, components_file):
    first = {option: values[0] for option, values in row.search.items()}
    encoder = components_file if row.encoder == tables.COMPONENTS else encoder_file if row.encoder else None
    found = build(row, {**row.options, **first}, seed=0, encoder=encoder, vocabulary=vocabulary)

    assert callable(found.fit)
    assert callable(found.predict)
    assert found.sees_test_labels == (row.role == "upper_control")
    assert hasattr(found, "classes_") == (row.kind == "classification")


def test_an_option_with_few_values_names_the_nearest(vocabulary, encoder_file):
    row = METHODS.row("celllm")
    with pytest.raises(InputError, match="did you mean lora"):
        build(row, {"mode": "lara"}, seed=0, encoder=encoder_file, vocabulary=vocabulary)
