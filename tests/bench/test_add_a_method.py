"""docs/add-a-method.md is true: its example, taken from the page as it stands, becomes a method and learns."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import celllm.bench.methods
from celllm.base.errors import InputError
from celllm.bench.method import build
from celllm.bench.metrics import classification_metrics
from celllm.config import tables

MODULE = "celllm.bench.methods.nearest_centroid"


@pytest.fixture
def page(root):
    return (root / "docs/add-a-method.md").read_text()


@pytest.fixture
def row(root, page, tmp_path, monkeypatch):
    """The page's file where the page puts it, as a module of the package, and the page's row in a table of methods."""
    path, code = re.search(r"`(src/celllm/\S+\.py)`, whole:\n\n```python\n(.*?)```", page, flags=re.DOTALL).groups()
    assert path == f"src/{MODULE.replace('.', '/')}.py"
    assert not (root / path).exists()
    (tmp_path / "nearest_centroid.py").write_text(code)
    monkeypatch.setattr(celllm.bench.methods, "__path__", [*celllm.bench.methods.__path__, str(tmp_path)])
    (line,) = re.findall(r"^nearest_centroid \|.*$", page, flags=re.MULTILINE)
    header = (root / "config/methods.tsv").read_text().splitlines()[0]
    (tmp_path / "methods.tsv").write_text(f"{header}\n" + line.replace(" | ", "\t") + "\n")
    found = tables.read_methods(tmp_path / "methods.tsv").row("nearest_centroid")
    yield replace(found, options={name: values[0] for name, values in found.search.items()})
    sys.modules.pop(MODULE, None)


def test_the_example_becomes_a_method_that_learns(row, cells, parts, vocabulary):
    method = build(row, seed=0, encoder=None, vocabulary=vocabulary, file="methods.tsv")
    shown = cells.hiding(parts["test"])
    method.fit(shown, parts["train"], parts["validation"])
    scores = method.predict(shown, parts["test"])

    predicted = method.classes_[scores.argmax(axis=1)]
    truth = cells.labels[parts["test"]]
    found = classification_metrics(truth, predicted, classes=list(method.classes_), scores=scores)
    assert found["accuracy"] > 0.9
    assert np.isnan(found["ece"])
    assert method.trained_parameters == 3 * 40


def test_the_examples_validation_labels_teach_it_nothing(row, cells, parts, vocabulary):
    def scores(shown):
        method = build(row, seed=0, encoder=None, vocabulary=vocabulary, file="methods.tsv")
        method.fit(shown, parts["train"], parts["validation"])
        return method.predict(shown, parts["test"])

    np.testing.assert_array_equal(scores(cells), scores(cells.hiding(parts["validation"])))


def test_the_example_refuses_an_option_it_does_not_know(row, vocabulary):
    row.options["metrics"] = "cosine"
    with pytest.raises(InputError, match="any of metric"):
        build(row, seed=0, encoder=None, vocabulary=vocabulary, file="methods.tsv")


def test_files_that_the_page_names_exist(root, page):
    for module, name in re.findall(r"`(celllm(?:\.\w+)+)\.(\w+)`", page):
        assert name in (root / "src" / f"{module.replace('.', '/')}.py").read_text(), f"{module}.{name}"
    assert (root / "tests/bench/test_rivals.py").is_file()
