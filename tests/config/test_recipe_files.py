"""A recipe may start from another: what is taken over, what is refused, and in which file the mistake stands."""

from __future__ import annotations

import shutil

import pytest
import yaml

from celllm.base.errors import InputError
from celllm.config import recipe, recipe_files


@pytest.fixture
def folder(tmp_path, root):
    """A folder of recipes in which `whole` needs no other."""
    shutil.copy(root / "config/recipes/paper.yaml", tmp_path / "whole.yaml")
    return tmp_path


def write(folder, name, **values):
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def refused(path):
    with pytest.raises(InputError) as caught:
        recipe.read(path)
    return caught.value


def test_sections_are_overlaid_key_by_key_and_lists_are_replaced(folder):
    path = write(
        folder,
        "own",
        base="whole",
        encoder={"width": 8},
        objectives={"masked": {"rate": 0.3}},
        optimiser={"betas": [0.8, 0.9]},
    )
    whole, own = recipe.read(folder / "whole.yaml"), recipe.read(path)
    assert (own.encoder.width, own.encoder.depth) == (8, whole.encoder.depth)
    assert (own.objectives.masked.rate, own.objectives.masked.replace_share) == (0.3, 0.9)
    assert own.objectives.contrastive == whole.objectives.contrastive
    assert own.optimiser.betas == (0.8, 0.9)


def test_the_last_file_of_a_chain_has_the_last_word(folder):
    write(folder, "middle", base="whole", encoder={"width": 8, "depth": 3})
    path = write(folder, "leaf", base="middle", encoder={"width": 16})
    assert recipe.read(path).encoder.width == 16
    assert recipe.read(path).encoder.depth == 3
    assert [file.stem for file in recipe_files.sources(path)] == ["leaf", "middle", "whole"]


def test_a_recipe_without_a_base_is_made_of_one_file(folder):
    assert recipe_files.sources(folder / "whole.yaml") == [folder / "whole.yaml"]


def test_one_written_out_has_the_digest_of_one_by_inheritance(folder):
    own = recipe.read(write(folder, "own", base="whole", encoder={"width": 8}, training={"steps": 7}))
    values = yaml.safe_load((folder / "whole.yaml").read_text())
    values["encoder"]["width"], values["training"]["steps"] = 8, 7
    written_out = recipe.read(write(folder, "written_out", **values))
    assert written_out.our_choices != own.our_choices
    assert written_out.digest == own.digest != recipe.read(folder / "whole.yaml").digest


def test_what_a_file_with_a_base_sets_is_our_choice_and_marks_of_the_base_stay(folder):
    whole = recipe.read(folder / "whole.yaml")
    assert "encoder.width" not in whole.our_choices
    write(folder, "middle", base="whole", encoder={"width": 8}, our_choices=["encoder.depth"])
    own = recipe.read(write(folder, "own", base="middle", optimiser={"learning_rate": 1.0}))
    assert set(own.our_choices) == {*whole.our_choices, "encoder.width", "encoder.depth"}


def test_keys_that_change_no_result_are_not_marked(folder):
    own = recipe.read(write(folder, "own", base="whole", training={"log_every": 3, "chunk_tokens": 9}))
    assert own.our_choices == recipe.read(folder / "whole.yaml").our_choices


def test_a_published_value_is_no_choice_of_ours_until_it_is_changed_again(folder):
    path = write(folder, "middle", base="whole", optimiser={"clip_norm": 100.0}, published=["optimiser.clip_norm"])
    assert "optimiser.clip_norm" in recipe.read(folder / "whole.yaml").our_choices
    assert "optimiser.clip_norm" not in recipe.read(path).our_choices
    path = write(folder, "own", base="middle", optimiser={"clip_norm": 5.0})
    assert "optimiser.clip_norm" in recipe.read(path).our_choices


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"base": "whole", "published": ["optimiser.clip_norm"]}, "keys that this file sets"),
        ({"published": ["optimiser.clip_norm"]}, "no such key without a base"),
        (
            {
                "base": "whole",
                "optimiser": {"clip_norm": 2.0},
                "published": ["optimiser.clip_norm"],
                "our_choices": ["optimiser.clip_norm"],
            },
            "keys that our_choices of this file does not list",
        ),
    ],
    ids=["not set here", "no base", "our choice as well"],
)
def test_what_is_published_must_stand_in_the_same_file(folder, values, expected):
    error = refused(write(folder, "own", **values))
    assert (error.field, error.file) == ("published", str(folder / "own.yaml"))
    assert expected in error.expected


@pytest.mark.parametrize("wrong_in", ["leaf", "middle"])
@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({"encoder": {"widht": 8}}, "encoder.widht"),
        ({"encoder": {"width": 0}}, "encoder.width"),
        ({"encodr": {"width": 8}}, "encodr"),
        ({"optimiser": {"betas": [0.9, "much"]}}, "optimiser.betas.1"),
        ({"training": 3}, "training"),
        ({"optimiser": {"restarts": {"warmup": 15}}}, "optimiser.restarts"),
        ({"our_choices": ["training.step"]}, "our_choices"),
    ],
    ids=["unknown key", "out of range", "unknown section", "in a list", "no section", "two keys", "no such choice"],
)
def test_an_error_names_the_file_in_which_the_wrong_key_stands(folder, section, field, wrong_in):
    sections = {"leaf": {"encoder": {"depth": 1}}, "middle": {"encoder": {"depth": 2}}}
    for key, value in section.items():
        both = isinstance(value, dict) and key in sections[wrong_in]
        sections[wrong_in][key] = {**sections[wrong_in][key], **value} if both else value
    write(folder, "middle", base="whole", **sections["middle"])
    error = refused(write(folder, "leaf", base="middle", **sections["leaf"]))
    assert (error.field, error.file) == (field, str(folder / f"{wrong_in}.yaml"))


def test_a_missing_key_is_missed_in_the_recipe_that_was_asked_for(folder):
    values = yaml.safe_load((folder / "whole.yaml").read_text())
    del values["training"]["steps"]
    write(folder, "short", **{**values, "our_choices": []})
    error = refused(write(folder, "own", base="short", encoder={"width": 8}))
    assert (error.field, error.file, error.found) == ("training.steps", str(folder / "own.yaml"), "nothing")


def test_a_base_that_is_not_there_is_named_with_the_nearest_one(folder):
    error = refused(write(folder, "own", base="whol"))
    assert (error.field, error.file, error.found) == ("base", str(folder / "own.yaml"), "'whol'")
    assert "did you mean base: whole?" in str(error)


def test_a_base_that_is_like_no_other_is_to_be_written(folder):
    assert f"write {folder / 'xyz.yaml'}" in str(refused(write(folder, "own", base="xyz")))


def test_a_base_stands_in_the_same_folder(folder):
    (folder / "below").mkdir()
    error = refused(write(folder / "below", "own", base="../whole"))
    assert error.field == "base"


def test_recipes_that_are_based_on_one_another_are_refused(folder):
    write(folder, "a", base="b")
    write(folder, "b", base="c")
    write(folder, "c", base="b")
    error = refused(folder / "a.yaml")
    assert (error.file, error.field, error.found) == (str(folder / "c.yaml"), "base", "b -> c -> b")
    assert "remove `base: b`" in error.remedy


def test_a_recipe_based_on_itself_is_refused(folder):
    assert refused(write(folder, "a", base="a")).found == "a -> a"


def test_a_key_that_stands_twice_is_refused(folder):
    path = folder / "own.yaml"
    path.write_text("base: whole\ntraining:\n  steps: 3\ntraining:\n  batch_cells: 8\n")
    error = refused(path)
    assert (error.field, error.found) == ("line 4", "training stands here a second time")


def test_text_that_is_no_yaml_is_refused_with_its_line(folder):
    path = folder / "own.yaml"
    path.write_text("base: whole\nencoder: {width: 3\n")
    assert refused(path).field.startswith("line ")


def test_choices_must_be_a_list(folder):
    error = refused(write(folder, "own", base="whole", our_choices="training.steps"))
    assert (error.field, error.file) == ("our_choices", str(folder / "own.yaml"))
