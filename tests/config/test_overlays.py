"""Recipes are laid over one another key by key, and every value keeps its standing: published, or our choice."""

import pytest
import yaml
from tests.recipes import TINY

from celllm.base.errors import InputError
from celllm.config import overlays, recipe

WHOLE = {**TINY, "our_choices": ["training.steps"]}


def write(folder, name, **values):
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def whole(tmp_path):
    return write(tmp_path, "whole", **WHOLE)


def test_sections_are_overlaid_key_by_key_by_files_and_values_in_place(tmp_path, whole):
    read = recipe.read(whole, write(tmp_path, "own", encoder={"depth": 3}), {"encoder": {"heads": 4}})
    assert (read.encoder.width, read.encoder.depth, read.encoder.heads) == (16, 3, 4)


def test_what_an_overlay_sets_is_our_choice_unless_it_is_published(tmp_path, whole):
    own = write(tmp_path, "own", optimiser={"clip_norm": 5.0})
    published = write(tmp_path, "published", published=True, optimiser={"clip_norm": 100.0}, training={"steps": 7})
    assert recipe.read(whole).our_choices == ("training.steps",)
    assert recipe.read(whole, own).our_choices == ("training.steps", "optimiser.clip_norm")
    assert recipe.read(whole, published).our_choices == ()
    assert recipe.read(whole, published, own).our_choices == ("optimiser.clip_norm",)


def test_operational_keys_are_nobodys_choice(whole):
    assert recipe.read(whole, {"training": {"log_every": 3, "chunk_tokens": 9}}).our_choices == ("training.steps",)


def test_an_overlaid_recipe_has_the_digest_of_one_that_is_written_out(tmp_path, whole):
    overlaid = recipe.read(whole, {"encoder": {"width": 8}})
    out = write(tmp_path, "out", **{**WHOLE, "encoder": {**WHOLE["encoder"], "width": 8}})
    assert recipe.read(out).digest == overlaid.digest != recipe.read(whole).digest


def test_an_error_names_the_file_in_which_the_value_stands(tmp_path, whole):
    wrong = write(tmp_path, "wrong", encoder={"widht": 8})
    with pytest.raises(InputError, match="did you mean width") as caught:
        recipe.read(whole, wrong, {"encoder": {"depth": 1}})
    assert caught.value.file == str(wrong)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"our_choices": "training.steps"}, "a list of dotted keys", id="choices are no list"),
        pytest.param({"our_choices": ["training.step"]}, r"did you mean training\.steps", id="choice is no key"),
        pytest.param({"published": ["encoder.width"]}, "true, if all values of the file", id="published is a list"),
    ],
)
def test_a_wrong_mark_is_refused(tmp_path, whole, values, message):
    with pytest.raises(InputError, match=message):
        recipe.read(whole, write(tmp_path, "own", **values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: 1\na: 2\n", r"(?s)line 2.*a stands here a second time", id="key twice"),
        pytest.param("a: [1\n", r"line \d", id="no YAML"),
        pytest.param("- a\n", "found:    list", id="no mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_by_its_line(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        recipe.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"(?s)none\.yaml.*No such file"):
        recipe.read(tmp_path / "none.yaml")


def test_a_name_without_a_recipe_is_answered_with_the_nearest(tmp_path, whole):
    assert overlays.paths_of("whole", tmp_path) == [whole]
    with pytest.raises(InputError, match=r"did you mean whole\?"):
        overlays.paths_of(["hole"], tmp_path)


def test_a_recipe_as_an_option_is_files_and_json_over_one_another(whole):
    read = recipe.read(whole)
    assert recipe.of_option([read.model_dump_json()]) == read == recipe.of_option([str(whole)])
    over = recipe.of_option([str(whole), '{"encoder": {"depth": 3}}'])
    assert over == recipe.read(whole, {"encoder": {"depth": 3}}) != read
    with pytest.raises(InputError, match=r"(?s)--recipe: values in place.*a JSON object.*single quotes"):
        recipe.of_option([str(whole), "{encoder: 3}"])


@pytest.mark.parametrize(
    ("values", "field", "found"),
    [
        pytest.param({"encoder": {"dropout": 1.5}}, "encoder.dropout", "1.5", id="out of range"),
        pytest.param({"training": None}, "training", "None", id="no section"),
        pytest.param({"genes": {"method": None}}, "genes.method", "None", id="no value"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found(whole, values, field, found):
    with pytest.raises(InputError) as caught:
        recipe.read(whole, values)
    assert (caught.value.field, caught.value.found) == (field, found)


def test_a_missing_section_and_the_order_of_keys(whole):
    values = {key: value for key, value in WHOLE.items() if key != "training"}
    with pytest.raises(InputError) as caught:
        recipe.parse(values, file="x.yaml")
    assert (caught.value.file, caught.value.field) == ("x.yaml", "training")
    assert recipe.parse(dict(reversed(WHOLE.items())), file="x.yaml").digest == recipe.read(whole).digest
