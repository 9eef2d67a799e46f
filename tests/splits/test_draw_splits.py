"""A task's row and its data become a split file."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from celllm.base.errors import InputError
from celllm.harmonise import cells as counts
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import responses
from celllm.sources.responses import Responses
from celllm.splits import format as splits
from celllm.splits.commands import draw_splits

HEADER = "task kind title dataset response split split_seeds train validation test min_class_size protocol headline"
ROWS = [
    "full classification Full d - random 0-4 0.7 0.1 0.2 5 clean macro_f1",
    "large classification Large d - random 0-4 0.7 0.1 0.2 50 clean macro_f1",
    "donors classification Donors d - donors 0-1 0.9 0.1 0 5 clean macro_f1",
    "few classification Few d - random 0-4 0.05 0 0.2 5 clean macro_f1",
    "warm regression Warm d d pairs 0-4 0.8 0.1 0.1 0 clean pearson",
    "cold regression Cold d d lines 0-4 0.8 0.1 0.1 0 clean pearson",
    "both regression Both d d both 0-4 0.6 0.2 0.2 0 clean pearson",
]


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
    cells = counts.build(
        matrix,
        obs,
        vocabulary=genes,
        dataset="d",
        units="counts",
        simulated=False,
        provenance={},
    )
    counts.write(cells, tmp_path / "d.h5ad")
    lines = [f"l{number}" for number in range(0, 40, 2)] + ["unknown line"]
    pairs = [{"line": line, "drug": drug, "smiles": drug, "response": 1.0} for line in lines for drug in "pqrst"]
    responses.write(Responses(pd.DataFrame(pairs), simulated=False), tmp_path / "d.parquet")
    table = "\n".join(line.replace(" ", "\t") for line in [HEADER, *ROWS])
    (tmp_path / "tasks.tsv").write_text(table + "\n")
    return tmp_path


def draw(files, task, *, with_responses=False, seed=0):
    argv = ["--task", task, "--tasks", str(files / "tasks.tsv"), "--cells", str(files / "d.h5ad")]
    argv += ["--responses", str(files / "d.parquet")] if with_responses else []
    out = files / task / f"seed{seed}.parquet"
    draw_splits.main([*argv, "--seed", str(seed), "--stage", "draw_splits-1", "--split", str(out)])
    return splits.read(out)


def test_full_and_few_shot_share_their_test_cells(files):
    full, few = draw(files, "full"), draw(files, "few")

    assert full.units_of("test") == few.units_of("test")
    assert len(full.units_of("test")) == 16
    assert len(few.units_of("train")) == 4
    assert len(full.units_of("unused")) == 19  # the unlabelled ones
    assert full.provenance["seed"] == 0
    assert set(full.provenance["inputs"]) == {"cells"}


def test_pairs_of_lines_without_expression_are_no_units_and_are_counted(files, capsys):
    warm = draw(files, "warm", with_responses=True)

    assert "left out: 5 of 105 pairs, whose lines have no expression" in capsys.readouterr().out
    assert len(warm.units) == 100
    assert "l0|p" in warm.units
    assert [len(warm.units_of(part)) for part in ("train", "validation", "test", "unused")] == [80, 10, 10, 0]


def test_a_cold_split_keeps_the_pairs_of_a_line_together(files):
    cold = draw(files, "cold", with_responses=True)

    lines = {part: {unit.split("|")[0] for unit in cold.units_of(part)} for part in ("train", "validation", "test")}
    assert [len(lines[part]) for part in lines] == [16, 2, 2]
    assert len(set.union(*lines.values())) == 20


def test_a_line_and_a_drug_are_both_new_to_a_test_pair_of_both(files):
    both = draw(files, "both", with_responses=True)

    units = {part: [unit.split("|") for unit in both.units_of(part)] for part in ("train", "validation", "test")}
    names = {part: [set(names) for names in zip(*met, strict=True)] for part, met in units.items()}
    assert [(len(lines), len(drugs)) for lines, drugs in names.values()] == [(12, 3), (4, 1), (4, 1)]
    assert len(both.units_of("unused")) == 100 - 36 - 4 - 4


@pytest.mark.parametrize(("task", "with_responses"), [("full", True), ("warm", False)])
def test_a_task_without_its_kind_of_data_is_refused(files, task, with_responses):
    with pytest.raises(InputError, match=f"response of {task}"):
        draw(files, task, with_responses=with_responses)


def test_classes_that_take_no_part_are_named(files, capsys):
    table = (files / "tasks.tsv").read_text()
    (files / "tasks.tsv").write_text(table.replace("\t50\tclean", "\t20\tclean"))

    split = draw(files, "large")

    assert "left out, fewer cells than min_class_size or 3: z" in capsys.readouterr().out
    assert len(split.units_of("unused")) == 6 + 19


def test_a_class_that_no_training_cell_has_is_named(files, capsys):
    draw(files, "donors", seed=1)
    assert "tested, but without a training cell, so that they can only be missed: z" in capsys.readouterr().out

    draw(files, "donors", seed=0)
    assert "can only be missed" not in capsys.readouterr().out


def test_a_donor_is_held_out_by_the_column_of_the_cells(files):
    split = draw(files, "donors", seed=1)

    numbers = [int(unit.removeprefix("d:l")) for unit in split.units_of("test")]
    assert min(numbers) >= 50
