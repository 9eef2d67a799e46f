"""Which methods stand beside a pretrained encoder and which bound a task, by their roles in config/methods.tsv."""

from dataclasses import replace

import pytest

from celllm.config import tables
from celllm.config.references import controls_of, linear_reference, references_of


@pytest.fixture
def methods(root):
    return {row.method: row for row in tables.read_methods(root / "config/methods.tsv")}


@pytest.fixture
def task(root):
    return tables.read_tasks(root / "config/tasks.tsv").row


@pytest.mark.parametrize(
    ("method", "on", "expected"),
    [
        pytest.param("celllm", "annotation_pbmc68k", ("logistic", "celllm_scratch"), id="cells"),
        pytest.param("celllm_response", "cell_line_cold", ("ridge", "celllm_scratch_response"), id="lines"),
        pytest.param("celllm_response", "cell_line_drug", ("ridge_pairs", "celllm_scratch_response"), id="new drugs"),
        pytest.param("celllm_response", "cell_line_both", ("ridge_pairs", "celllm_scratch_response"), id="new pairs"),
        pytest.param("celllm_scratch", "annotation_pbmc68k", ("logistic",), id="without pretraining"),
        pytest.param("majority", "annotation_pbmc68k", (), id="no encoder"),
        pytest.param("pca_logistic", "annotation_pbmc68k", (), id="components are no encoder"),
    ],
)
def test_an_encoder_needs_the_linear_model_and_the_network_without_pretraining(methods, task, method, on, expected):
    assert references_of(methods[method], task(on), methods) == expected


def test_a_reference_that_no_row_is_stands_as_its_role_and_so_is_missing(methods, task):
    rest = {name: replace(row, role="baseline") for name, row in methods.items()}
    on = task("annotation_pbmc68k")

    assert references_of(methods["celllm"], on, rest) == ("linear_reference", "scratch_reference")
    assert controls_of(on, rest) == ("lower_control", "upper_control")


@pytest.mark.parametrize("name", ["annotation_pbmc68k", "cell_line_cold", "cell_line_drug"])
def test_the_shipped_table_has_every_reference_and_control(methods, task, name):
    on = task(name)
    for method in (linear_reference(on, methods), *controls_of(on, methods)):
        assert methods[method].kind == on.kind
