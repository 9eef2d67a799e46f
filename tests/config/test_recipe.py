"""A recipe refuses what it does not know."""

from __future__ import annotations

import pytest
import yaml

from celllm.base.errors import InputError
from celllm.config import recipe


@pytest.fixture
def values(root):
    return yaml.safe_load((root / "config/recipes/paper.yaml").read_text())


def test_an_unknown_key_is_named_with_the_nearest_one(values):
    values["encoder"]["widht"] = 8
    with pytest.raises(InputError, match="did you mean width") as caught:
        recipe.parse(values, file="x.yaml")
    assert (caught.value.file, caught.value.field) == ("x.yaml", "encoder.widht")


def test_a_missing_section_is_named(values):
    del values["training"]
    with pytest.raises(InputError) as caught:
        recipe.parse(values, file="x.yaml")
    assert caught.value.field == "training"


def test_a_value_out_of_range_is_named_with_what_was_found(values):
    values["encoder"]["dropout"] = 1.5
    with pytest.raises(InputError) as caught:
        recipe.parse(values, file="x.yaml")
    assert caught.value.field == "encoder.dropout"
    assert caught.value.found == "1.5"


def test_our_choices_must_be_keys(values):
    values["our_choices"] = ["training.step"]
    with pytest.raises(InputError, match=r"did you mean training\.steps"):
        recipe.parse(values, file="x.yaml")


def test_the_digest_changes_with_a_value_and_not_with_the_order_of_keys(values):
    digest = recipe.parse(values, file="x.yaml").digest
    assert recipe.parse(dict(reversed(values.items())), file="x.yaml").digest == digest
    values["training"]["steps"] += 1
    assert recipe.parse(values, file="x.yaml").digest != digest
