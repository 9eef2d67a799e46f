"""A row of config/methods.tsv becomes an object; cheap ones import nothing slow, and docs/add-a-method.md is true."""

import importlib
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.bench.conftest import ROWS

import celllm.bench.methods
from celllm.base.errors import InputError
from celllm.bench.metrics import classification_metrics
from celllm.config import tables

ROW = ROWS.row("majority")
MODULE = "celllm.bench.methods.nearest_centroid"
# torch takes seconds and scanpy more, which is longer than most of these methods take to fit
SLOW = {"torch", "scanpy", "matplotlib", "openpyxl", "rdkit", "torch_geometric"}
PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sys.modules)
"""


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
def test_code_from_outside_the_package_and_scikit_learn_is_never_imported(module, made, monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(InputError, match=r"celllm\.<room>\.<module>:<Class>"):
        made(replace(ROW, module=module))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            pytest.param({"module": module}, module, id=module)
            for module in (
                "celllm.bench.methods.nothing:Class",
                "celllm.bench.methods.controls:MajorityClas",
                "sklearn.nothing:Class",
                "sklearn.linear_model:Logistics",
            )
        ),
        pytest.param({"options": {"depth": 3}}, "depth", id="option"),
    ],
)
def test_a_module_class_or_option_that_does_not_exist_is_named_and_so_is_the_row(made, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        made(replace(ROW, **changes))

    if "options" in changes:
        assert caught.value.__notes__ == ["in the row majority of config/methods.tsv"]


@pytest.mark.parametrize(
    ("encoder", "message"),
    [("celllm", "--encoder results/pretrain"), (tables.COMPONENTS, r"--encoder results/bench/pca\.safetensors")],
)
def test_a_method_that_starts_from_a_file_asks_for_it(vocabulary, encoder, message):
    with pytest.raises(InputError, match=message):
        celllm.bench.method.build(replace(ROW, encoder=encoder), {}, seed=0, encoder=None, vocabulary=vocabulary)


@pytest.mark.parametrize("name", ROWS.names)
def test_every_shipped_method_can_be_made_and_has_the_two_calls(made, name):
    row, found = ROWS.row(name), made(name)

    assert callable(found.fit)
    assert callable(found.predict)
    assert found.sees_test_labels == (row.role == "upper_control")
    assert hasattr(found, "classes_") == (row.kind == "classification")


def test_classifiers_without_an_encoder_import_nothing_slow(root):
    without = [row for row in ROWS if row.kind == "classification" and row.encoder in (None, tables.COMPONENTS)]
    cheap = {row.module.partition(":")[0] for row in without} | {"celllm.bench.methods.estimators"}
    assert len(cheap) > 3

    assert importlib.import_module("celllm.bench.methods.drugs")
    assert {"torch", "rdkit", "torch_geometric"} <= set(sys.modules)  # what is slow is seen under its name
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, "celllm.bench.job", "celllm.bench.scores", *cheap],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin"},
    )
    assert not SLOW & set(done.stdout.split())


@pytest.fixture
def page(root):
    return (root / "docs/add-a-method.md").read_text()


@pytest.fixture(params=["forest", "nearest_centroid"])
def row(request, root, page, tmp_path, monkeypatch):
    """Each row of the page; the file that one needs stands where the page puts it, as a module of the package."""
    path, code = re.search(r"`(src/celllm/\S+\.py)`, whole:\n\n```python\n(.*?)```", page, flags=re.DOTALL).groups()
    assert path == f"src/{MODULE.replace('.', '/')}.py"
    assert not (root / path).exists()
    (tmp_path / "nearest_centroid.py").write_text(code)
    monkeypatch.setattr(celllm.bench.methods, "__path__", [*celllm.bench.methods.__path__, str(tmp_path)])
    (line,) = re.findall(rf"^{request.param} \|.*$", page, flags=re.MULTILINE)
    header = (root / "config/methods.tsv").read_text().splitlines()[0]
    (tmp_path / "methods.tsv").write_text(f"{header}\n" + line.replace(" | ", "\t") + "\n")
    yield tables.read_methods(tmp_path / "methods.tsv").row(request.param)
    sys.modules.pop(MODULE, None)


def test_the_examples_become_methods_that_learn_from_training_alone_and_refuse_other_options(row, made, cells, parts):
    answers = []
    for hidden in ("test", "validation"):
        method = made(row)
        method.fit(cells.hiding(parts[hidden]), parts["train"], parts["validation"])
        answers.append(method.predict(cells, parts["test"]))

    np.testing.assert_array_equal(*answers)
    predicted, truth = method.classes_[answers[0].argmax(axis=1)], cells.labels[parts["test"]]
    found = classification_metrics(truth, predicted, classes=list(method.classes_), scores=answers[0])
    assert found["accuracy"] > 0.9
    assert np.isnan(found["ece"]) == (row.method == "nearest_centroid")
    assert method.trained_parameters > 0
    with pytest.raises(InputError, match="metrics"):
        made(row, metrics="cosine")


def test_files_that_the_page_names_exist(root, page):
    for module, name in re.findall(r"`(celllm(?:\.\w+)+)\.(\w+)`", page):
        assert name in (root / "src" / f"{module.replace('.', '/')}.py").read_text(), f"{module}.{name}"
    for path in re.findall(r"`((?:tests|config)/[\w/]+\.\w+)`", page):
        assert (root / path).is_file(), path
