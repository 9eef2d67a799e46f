"""A typo in the configuration dies before the first job, and the message says what was meant."""

import contextlib
import json

import pytest
import yaml

from celllm.base.errors import InputError
from celllm.config import recipe, settings


@pytest.fixture
def demo(root):
    return yaml.safe_load((root / "config.yaml").read_text())


@pytest.fixture
def check(tmp_path):
    def run(values):
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(values))
        return settings.check(values, files=[file])

    return run


@pytest.mark.parametrize("name", ["config.yaml", "config/real.yaml", "config/paper.yaml", "tests/smoke/config.yaml"])
def test_a_shipped_configuration_passes(root, demo, check, name):
    check({**demo, **yaml.safe_load((root / name).read_text())})


def test_the_schema_in_the_checkout_is_the_generated_one(root):
    assert (root / "workflow/schemas/config.schema.json").read_text() == settings.schema()
    assert all("description" in key for key in json.loads(settings.schema())["properties"].values())


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        pytest.param({"corpsu": ["a"]}, "corpsu", "did you mean corpus?", id="misspelt key"),
        pytest.param(
            {"threads": {"pretrain": 1, "fit": 1, "fitt": 1}}, "threads.fitt", "did you mean fit?", id="nested key"
        ),
        pytest.param({"corpus": []}, "corpus", "at least 1", id="empty corpus"),
        pytest.param({"accelerator": "tpu"}, "accelerator", "one of cpu, gpu", id="unknown accelerator"),
        pytest.param(
            {"locus_group": "proteins"}, "locus_group", "one of protein-coding gene, non-coding RNA", id="genes"
        ),
        pytest.param({"mapped_threshold": 80}, "mapped_threshold", "less than or equal to 1", id="per cent for share"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_key_and_what_was_meant(demo, check, tmp_path, changes, field, words):
    with pytest.raises(InputError) as caught:
        check({**demo, **changes})
    assert (caught.value.file, caught.value.field) == (str(tmp_path / "config.yaml"), field)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("probe", "facts", "found"),
    [
        pytest.param("a", {"corpus": ["a"]}, "a, which is in the corpus", id="corpus"),
        pytest.param("a", {"tested": ["a"]}, "a, on which a task is run", id="task"),
        pytest.param("a", {"labels": False}, "a, which has no label_column", id="labels"),
        pytest.param(None, {}, "null, and encoder e has training.probe_every", id="none"),
        pytest.param("a", {}, None, id="held out"),
    ],
)
def test_a_probe_is_labelled_and_held_out_of_everything(root, probe, facts, found):
    asking = recipe.read(root / "config/recipes/paper.yaml", {"training": {"probe_every": 5}})
    given = {"labels": True, "corpus": ["b"], "tested": ["c"], "recipes": {"e": asking}, "file": "c", **facts}
    with contextlib.nullcontext() if found is None else pytest.raises(InputError, match=found):
        settings.check_probe(probe, **given)


def test_a_missing_key_is_named_with_its_meaning(demo, check):
    values = {key: value for key, value in demo.items() if key != "trials"}
    with pytest.raises(InputError, match=r"(?s)trials\n.*Combinations of options.*nothing"):
        check(values)


def test_a_key_that_stands_twice_is_refused_by_its_line(demo, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("trials: 1\ntrials: 2\n")
    with pytest.raises(InputError, match=r"(?s)line 2.*trials stands here a second time"):
        settings.check(demo, files=[file])


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        pytest.param({"miror": "x"}, "--config on the command line", id="unknown key"),
        pytest.param({"locus_group": "proteins"}, "--config on the command line", id="other value"),
        pytest.param({"threads": {"pretrain": 0, "fit": 1}}, "--config on the command line", id="nested"),
        pytest.param({"trials": 0}, "over.yaml", id="an overlay's"),
    ],
)
def test_a_wrong_value_is_said_to_come_from_where_it_does(demo, tmp_path, changes, source):
    files = [tmp_path / "config.yaml", tmp_path / "over.yaml"]
    files[0].write_text(yaml.safe_dump(demo))
    files[1].write_text("trials: 0\nthreads: {fit: 1}\n")
    with pytest.raises(InputError, match=source):
        settings.check({**demo, **changes}, files=files)


def test_a_name_that_is_no_row_is_refused_with_the_nearest_row():
    with pytest.raises(InputError, match="did you mean annotation"):
        settings.check_names(["anotation"], ["annotation"], field="corpus", table="datasets.tsv", file="c")
