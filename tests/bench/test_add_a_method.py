"""docs/add-a-method.md is true: its examples, taken from the page as they stand, become methods and learn."""

from __future__ import annotations

import re
import sys

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


def _row(name, root, page, tmp_path):
    (line,) = re.findall(rf"^{name} \|.*$", page, flags=re.MULTILINE)
    header = (root / "config/methods.tsv").read_text().splitlines()[0]
    (tmp_path / "methods.tsv").write_text(f"{header}\n" + line.replace(" | ", "\t") + "\n")
    return tables.read_methods(tmp_path / "methods.tsv").row(name)


@pytest.fixture(params=["forest", "nearest_centroid"])
def row(request, root, page, tmp_path, monkeypatch):
    """Each row of the page; the file that one needs stands where the page puts it, as a module of the package."""
    path, code = re.search(r"`(src/celllm/\S+\.py)`, whole:\n\n```python\n(.*?)```", page, flags=re.DOTALL).groups()
    assert path == f"src/{MODULE.replace('.', '/')}.py"
    assert not (root / path).exists()
    (tmp_path / "nearest_centroid.py").write_text(code)
    monkeypatch.setattr(celllm.bench.methods, "__path__", [*celllm.bench.methods.__path__, str(tmp_path)])
    yield _row(request.param, root, page, tmp_path)
    sys.modules.pop(MODULE, None)


@pytest.fixture
def made(row, vocabulary, components_file):
    """Make the method of the row, with the first values of its search."""

    def make(**options):
        first = {name: values[0] for name, values in row.search.items()}
        encoder = components_file if row.encoder else None
        return build(row, {**row.options, **first, **options}, seed=0, encoder=encoder, vocabulary=vocabulary)

    return make


def test_the_examples_become_methods_that_learn(row, made, cells, parts):
    method, shown = made(), cells.hiding(parts["test"])
    method.fit(shown, parts["train"], parts["validation"])
    scores = method.predict(shown, parts["test"])

    predicted = method.classes_[scores.argmax(axis=1)]
    truth = cells.labels[parts["test"]]
    found = classification_metrics(truth, predicted, classes=list(method.classes_), scores=scores)
    assert found["accuracy"] > 0.9
    assert np.isnan(found["ece"]) == (row.method == "nearest_centroid")
    assert method.trained_parameters > 0


def test_the_examples_validation_labels_teach_them_nothing(made, cells, parts):
    def scores(shown):
        method = made()
        method.fit(shown, parts["train"], parts["validation"])
        return method.predict(shown, parts["test"])

    np.testing.assert_array_equal(scores(cells), scores(cells.hiding(parts["validation"])))


def test_the_examples_refuse_an_option_they_do_not_know(made):
    with pytest.raises(InputError, match="metrics"):
        made(metrics="cosine")


def test_files_that_the_page_names_exist(root, page):
    for module, name in re.findall(r"`(celllm(?:\.\w+)+)\.(\w+)`", page):
        assert name in (root / "src" / f"{module.replace('.', '/')}.py").read_text(), f"{module}.{name}"
    for path in re.findall(r"`((?:tests|config)/[\w/]+\.\w+)`", page):
        assert (root / path).is_file(), path
