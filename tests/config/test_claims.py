from __future__ import annotations

from pathlib import Path

import pytest

from celllm.base.errors import InputError
from celllm.config import tables

HEADER = "claim\tsource\ttask\tmethod\tmetric\tpaper\ttolerance\n"


def written(folder: Path, *lines: str) -> Path:
    path = folder / "claims.tsv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_mean_over_two_tasks_names_both(tmp_path):
    (claim,) = tables.read_claims(written(tmp_path, "a\tabstract\tx+y\tcelllm\tmacro_f1\t0.7\t0.02"))
    assert claim.tasks == ("x", "y")
    assert (claim.paper, claim.tolerance) == (0.7, 0.02)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        pytest.param("a\ts\tx\tm\tmacro_f1\t71.8\t0.02", "paper of a", id="percent"),
        pytest.param("a\ts\tx\tm\tmacro_f1\t\t0.02", "paper of a", id="no number"),
        pytest.param("a\ts\tx\tm\tmacro_f1\t0.7\t-0.1", "tolerance of a", id="negative tolerance"),
    ],
)
def test_a_number_that_is_no_fraction_is_refused(tmp_path, line, field):
    with pytest.raises(InputError, match=f"claims.tsv: {field}"):
        tables.read_claims(written(tmp_path, line))


def test_two_claims_of_one_name_are_refused(tmp_path):
    line = "a\ts\tx\tm\tmacro_f1\t0.7\t0.02"
    with pytest.raises(InputError, match="a in lines 2 and 3"):
        tables.read_claims(written(tmp_path, line, line))


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "claims.tsv"
    path.write_text("claim\tsource\n", encoding="utf-8")
    with pytest.raises(InputError, match="the columns claim, source, task, method, metric, paper, tolerance"):
        tables.read_claims(path)


def test_every_shipped_claim_names_tasks_and_a_method_of_one_kind(root):
    tasks = tables.read_tasks(root / "config/tasks.tsv")
    methods = tables.read_methods(root / "config/methods.tsv")
    shipped = tables.read_claims(root / "config/claims.tsv")
    kinds = [{tasks.row(task).kind for task in claim.tasks} | {methods.row(claim.method).kind} for claim in shipped]
    assert all(len(kind) == 1 for kind in kinds)


def test_the_abstract_of_the_paper_is_quoted(root):
    quoted = {claim.claim: claim.paper for claim in tables.read_claims(root / "config/claims.tsv")}
    assert quoted["annotation-celllm"] == 0.718
    assert quoted["annotation-scbert"] == 0.688
    assert quoted["drug-fewshot-celllm"] == 0.889
    assert quoted["drug-fewshot-scbert"] == 0.806
    assert quoted["cell-line-celllm"] == 0.934
    assert quoted["cell-line-scbert"] == 0.872
