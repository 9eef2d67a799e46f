"""A task's row and its data become a split file."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from celllm.base.errors import InputError
from celllm.config.tables import Task
from celllm.harmonise import cells as cells_file
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import responses
from celllm.sources.responses import Responses
from celllm.splits import format as splits
from celllm.splits.commands import make_splits

CELLS = Task(
    task="full",
    kind="classification",
    title="Full",
    dataset="d",
    response=None,
    split="random",
    split_seeds=(0, 1, 2, 3, 4),
    train=0.7,
    validation=0.1,
    test=0.2,
    min_class_size=5,
    protocol="clean",
    headline="macro_f1",
)
FEW = replace(CELLS, task="few", train=0.05, validation=0)
DONORS = replace(CELLS, task="donors", split="donors", train=0.9, test=0)
PAIRS = replace(
    CELLS, task="pairs", kind="regression", response="d", split="pairs", train=0.8, test=0.1, headline="pearson"
)
LINES = replace(PAIRS, task="lines", split="lines")
BOTH = replace(PAIRS, task="both", split="both", train=0.6, validation=0.2, test=0.2)


@pytest.fixture
def files(tmp_path):
    n_cells = 100
    genes = Vocabulary(pd.DataFrame({"symbol": ["A", "B"], "hgnc_id": ["1", "2"], "ensembl": "", "entrez": ""}))
    obs = pd.DataFrame(
        {
            "sample": "s",
            "donor": np.repeat(["a", "b"], n_cells // 2),
            "study": "d",
            # the last six cells, all of donor b, are a class of their own
            "label": [*np.resize(["x", "y", "y", "", "x"], n_cells - 6), *(["z"] * 6)],
            "is_malignant": 0,
            "n_counts": 1.0,
            "n_genes": 1,
            "cell_hash": [str(number) for number in range(n_cells)],
        },
        index=[f"d:l{number}" for number in range(n_cells)],
    )
    matrix = csr_matrix(np.ones((n_cells, 2)))
    facts = {"vocabulary": genes, "dataset": "d", "units": "counts", "simulated": False, "provenance": {}}
    with cells_file.writing_cells(tmp_path / "d.h5ad", **facts) as writer:
        writer.append(matrix, obs)
    lines = [f"l{number}" for number in range(0, 40, 2)] + ["unknown line"]
    pairs = [{"line": line, "drug": drug, "smiles": drug, "response": 1.0} for line in lines for drug in "pqrst"]
    responses.write(Responses(pd.DataFrame(pairs), simulated=False), tmp_path / "d.parquet")
    return tmp_path


def make(files, task, *, with_responses=None, seed=0):
    out = files / task.task / f"split{seed}.parquet"
    with_responses = task.kind == "regression" if with_responses is None else with_responses
    responses_file = files / "d.parquet" if with_responses else None
    make_splits(task=task, cells=files / "d.h5ad", responses=responses_file, seed=seed, split=out)
    return splits.read(out)


def test_full_and_few_shot_share_their_test_cells(files):
    full, few = make(files, CELLS), make(files, FEW)

    assert full.units_of("test") == few.units_of("test")
    assert len(full.units_of("test")) == 16
    assert len(few.units_of("train")) == 4
    assert len(full.units_of("unused")) == 19  # the unlabelled ones
    assert full.provenance["seed"] == 0
    assert set(full.provenance["inputs"]) == {"cells"}


def test_pairs_of_lines_without_expression_are_no_units_and_are_counted(files, capsys):
    warm = make(files, PAIRS)

    assert "left out: 5 of 105 pairs, whose lines have no expression" in capsys.readouterr().out
    assert len(warm.units) == 100
    assert "l0|p" in warm.units
    assert [len(warm.units_of(subset)) for subset in ("train", "validation", "test", "unused")] == [80, 10, 10, 0]


def test_a_cold_split_keeps_the_pairs_of_a_line_together(files):
    cold = make(files, LINES)

    lines = {
        subset: {unit.split("|")[0] for unit in cold.units_of(subset)} for subset in ("train", "validation", "test")
    }
    assert [len(lines[subset]) for subset in lines] == [16, 2, 2]
    assert len(set.union(*lines.values())) == 20


def test_a_line_and_a_drug_are_both_new_to_a_test_pair_of_both(files):
    both = make(files, BOTH)

    units = {subset: [unit.split("|") for unit in both.units_of(subset)] for subset in ("train", "validation", "test")}
    names = {subset: [set(names) for names in zip(*met, strict=True)] for subset, met in units.items()}
    assert [(len(lines), len(drugs)) for lines, drugs in names.values()] == [(12, 3), (4, 1), (4, 1)]
    assert len(both.units_of("unused")) == 100 - 36 - 4 - 4


@pytest.mark.parametrize(("task", "with_responses"), [(CELLS, True), (PAIRS, False)], ids=["cells", "pairs"])
def test_a_task_without_its_kind_of_data_is_refused(files, task, with_responses):
    with pytest.raises(InputError, match=f"response of {task.task}"):
        make(files, task, with_responses=with_responses)


def test_classes_that_take_no_part_are_named(files, capsys):
    split = make(files, replace(CELLS, min_class_size=20))

    assert "left out, fewer cells than min_class_size or 3: z" in capsys.readouterr().out
    assert len(split.units_of("unused")) == 6 + 19


def test_a_class_that_no_training_cell_has_is_named(files, capsys):
    make(files, DONORS, seed=1)
    assert "tested, but without a training cell, so that they can only be missed: z" in capsys.readouterr().out

    make(files, DONORS, seed=0)
    assert "can only be missed" not in capsys.readouterr().out


def test_a_donor_is_held_out_by_the_column_of_the_cells(files):
    split = make(files, DONORS, seed=1)

    numbers = [int(unit.removeprefix("d:l")) for unit in split.units_of("test")]
    assert min(numbers) >= 50
