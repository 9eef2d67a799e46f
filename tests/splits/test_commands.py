"""A task's row and its data become a split file."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import responses
from celllm.sources.responses import Responses
from celllm.splits import format as splits
from celllm.splits.commands import make_splits
from celllm.splits.format import SUBSETS

FEW = {"task": "few", "train": 0.05, "validation": 0}
DONORS = {"task": "donors", "split": "donors", "train": 0.9, "test": 0}
BOTH = {"split": "both", "train": 0.6, "validation": 0.2, "test": 0.2}


@pytest.fixture
def files(tmp_path, aligned):
    genes = Vocabulary(pd.DataFrame({"symbol": ["A", "B"], "hgnc_id": ["1", "2"], "ensembl": "", "entrez": ""}))
    # the last six cells, all of donor b, are a class of their own
    labels = [*np.resize(["x", "y", "y", "", "x"], 94), *(["z"] * 6)]
    cells = aligned(np.ones((100, 2)), genes, label=labels, donor=np.repeat(["a", "b"], 50))
    cells.obs_names = [f"d:l{number}" for number in range(100)]
    cells.write_h5ad(tmp_path / "d.h5ad")
    lines = [f"l{number}" for number in range(0, 40, 2)] + ["unknown line"]
    pairs = [{"line": line, "drug": drug, "smiles": drug, "response": 1.0} for line in lines for drug in "pqrst"]
    responses.write(Responses(pd.DataFrame(pairs), simulated=False), tmp_path / "d.parquet")
    return tmp_path


@pytest.fixture
def make(files, cells_task, pairs_task):
    """Run the command for a task of cells, or of pairs, with these changes."""

    def run(kind, *, with_responses=None, seed=0, **changes):
        task = replace(cells_task if kind == "cells" else pairs_task, **changes)
        manifest = files / task.task / "manifest.json"
        with_responses = kind == "pairs" if with_responses is None else with_responses
        responses_file = files / "d.parquet" if with_responses else None
        make_splits(task=task, cells=files / "d.h5ad", responses=responses_file, seeds=[seed], manifest=manifest)
        (out,) = splits.files_of([manifest])
        return splits.read(out)

    return run


def test_full_and_few_shot_share_their_test_cells(make):
    full, few = make("cells"), make("cells", **FEW)

    assert full.units_of("test") == few.units_of("test")
    assert [len(full.units_of("test")), len(few.units_of("train"))] == [16, 4]
    assert len(full.units_of("unused")) == 19  # the unlabelled ones
    assert full.provenance["seed"] == 0
    assert set(full.provenance["inputs"]) == {"cells"}


def test_a_seed_more_makes_a_split_more_and_leaves_the_others(make, files, cells_task, capsys):
    folder = files / cells_task.task
    make("cells", seed=0)
    before = (folder / "split0.parquet").stat().st_mtime_ns
    make_splits(task=cells_task, cells=files / "d.h5ad", seeds=[0, 1], manifest=folder / "manifest.json")

    assert "kept: 1 splits" in capsys.readouterr().out
    assert (folder / "split0.parquet").stat().st_mtime_ns == before
    assert [split.name for split in splits.files_of([folder / "manifest.json"])] == ["split0.parquet", "split1.parquet"]
    make("cells", test=0.1, min_class_size=20)
    assert (folder / "split0.parquet").stat().st_mtime_ns != before
    assert "left out, fewer cells than min_class_size or 3: z" in capsys.readouterr().out


def test_pairs_of_lines_without_expression_are_no_units_and_are_counted(make, capsys):
    warm = make("pairs")

    assert "left out: 5 of 105 pairs, whose lines have no expression" in capsys.readouterr().out
    assert len(warm.units) == 100
    assert "l0|p" in warm.units
    assert [len(warm.units_of(subset)) for subset in ("train", "validation", "test", "unused")] == [80, 10, 10, 0]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [({"split": "lines"}, [(16, 5), (2, 5), (2, 5)]), (BOTH, [(12, 3), (4, 1), (4, 1)])],
    ids=["lines", "both"],
)
def test_what_is_new_to_a_test_pair_is_met_nowhere_else(make, rule, wanted):
    split = make("pairs", **rule)

    met = [list(zip(*(unit.split("|") for unit in split.units_of(subset)), strict=True)) for subset in SUBSETS[:3]]
    assert [(len(set(lines)), len(set(drugs))) for lines, drugs in met] == wanted
    assert len(set().union(*(lines for lines, _ in met))) == 20


@pytest.mark.parametrize(("kind", "with_responses"), [("cells", True), ("pairs", False)])
def test_a_task_without_its_kind_of_data_is_refused(make, kind, with_responses):
    with pytest.raises(InputError, match="--responses for a regression, and only there"):
        make(kind, with_responses=with_responses)


def test_a_donor_is_held_out_and_a_class_that_no_training_cell_has_is_named(make, capsys):
    split = make("cells", **DONORS, seed=1)

    assert min(int(unit.removeprefix("d:l")) for unit in split.units_of("test")) >= 50
    assert "tested, but without a training cell, so that they can only be missed: z" in capsys.readouterr().out
    make("cells", **DONORS, seed=0)
    assert "can only be missed" not in capsys.readouterr().out
