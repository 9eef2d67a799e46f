"""A table of runs says which methods run on which tasks; what it names must exist and fit."""

from pathlib import Path

import pytest

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.config.runs import planned

ROOT = Path(__file__).resolve().parents[2]
TASKS = tables.read_tasks(ROOT / "config/tasks.tsv")
METHODS = tables.read_methods(ROOT / "config/methods.tsv")
HEADER = ("task", "methods", "splits", "seeds", "optional")


@pytest.fixture
def plan(tmp_path):
    def run(*rows, encoders=("celllm",), corpus=()):
        path = tmp_path / "runs.tsv"
        path.write_text("\n".join("\t".join(row) for row in (HEADER, *rows)) + "\n")
        table = tables.read_runs(path)
        return planned(table, tasks=TASKS, methods=METHODS, encoders=encoders, corpus=corpus)

    return run


def test_methods_without_random_numbers_run_with_the_first_seed_alone(plan):
    found = plan(("annotation_pbmc68k", "celllm majority", "0-1", "3-4", "no")).runs["annotation_pbmc68k"]
    assert (found["celllm"].splits, found["celllm"].seeds) == ((0, 1), (3, 4))
    assert found["majority"].seeds == (3,)


def test_a_method_on_another_pretraining_seed_is_one_beside_it(plan):
    found = plan(("annotation_pbmc68k", "celllm_probe celllm_probe.pretrain2", "0", "0", "no"))
    method = found.methods["celllm_probe.pretrain2"]

    assert list(found.runs["annotation_pbmc68k"]) == ["celllm_probe", "celllm_probe.pretrain2"]
    assert (method.pretrain_seed, method.role, found.methods["celllm_probe"].pretrain_seed) == (2, "ablation", None)
    assert (method.module, method.options) == (METHODS.row("celllm_probe").module, METHODS.row("celllm_probe").options)


def test_without_splits_all_of_the_task_are_run_and_rows_of_a_task_add_up(plan):
    found = plan(("annotation_pbmc68k", "majority", "-", "0", "no"), ("annotation_pbmc68k", "celllm", "0", "0", "yes"))
    assert found.runs["annotation_pbmc68k"]["majority"].splits == TASKS.row("annotation_pbmc68k").split_seeds
    assert found.runs["annotation_pbmc68k"]["celllm"].splits == (0,)
    assert found.optional == {"annotation_pbmc68k"}


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        pytest.param(("anotation_pbmc68k", "majority", "0"), {}, "did you mean annotation_pbmc68k", id="task"),
        pytest.param(("annotation_pbmc68k", "majorty", "0"), {}, "did you mean majority", id="method"),
        pytest.param(("annotation_pbmc68k", "ridge", "0"), {}, "methods of kind classification", id="kind"),
        pytest.param(("annotation_pbmc68k", "-", "0"), {}, "one name or more", id="no method"),
        pytest.param(("annotation_pbmc68k", "majority", "99"), {}, "split seeds of the task", id="split"),
        pytest.param(("annotation_pbmc68k", "majority majority", "0"), {}, "majority twice", id="twice"),
        pytest.param(("annotation_pbmc68k", "majority.pretrain1", "0"), {}, "write majority", id="no pretraining"),
        pytest.param(("annotation_pbmc68k", "scbert", "0"), {}, "add scbert to encoders", id="encoder"),
        pytest.param(
            ("cell_line_simulated_cold", "ridge", "0"),
            {"corpus": ("simulated_cell_lines",)},
            "take simulated_cell_lines out of corpus",
            id="tested lines in the corpus",
        ),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(plan, row, options, message):
    with pytest.raises(InputError, match=message):
        plan((*row, "0", "no"), **options)
