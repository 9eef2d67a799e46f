"""A leaked cell that is planted is found; where nothing leaks the audit says so."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from tests.report.conftest import listed

from celllm.base.errors import InputError
from celllm.config import catalogue as catalogues
from celllm.config.catalogue import Catalogue
from celllm.corpus.commands import join_shards, write_shards
from celllm.harmonise import vocabulary as vocabularies
from celllm.harmonise.quality import cell_hashes
from celllm.report.commands import Page, report_table
from celllm.splits import format as splits
from celllm.splits.format import Split

N_CELLS = 30


@pytest.fixture
def folder(tmp_path, vocabulary, aligned, generator, cells_task, pairs_task):
    """Blood (task), lines (task) and skin (corpus), which holds cells 0 to 2 of blood; line 1 equals line 0."""
    vocabularies.write(vocabulary, tmp_path / "genes.tsv")
    blood, skin, lines = (generator.poisson(1.0, (N_CELLS, vocabulary.n_genes)) for _ in range(3))
    skin[:3] = blood[:3]
    blood[11] = blood[10]
    lines[1] = lines[0]
    for name, matrix in (("blood", blood), ("skin", skin), ("lines", lines)):
        hashes = cell_hashes(csr_matrix(matrix.astype(np.int32)))
        aligned(matrix, vocabulary, dataset=name, cell_hash=hashes).write_h5ad(tmp_path / f"{name}.h5ad")
    parts = np.array(["train"] * 10 + ["test"] + ["train"] * (N_CELLS - 11))
    splits.write(Split("blood", 0, [f"blood:{n}" for n in range(N_CELLS)], parts), tmp_path / "blood.parquet")
    pairs, of_pair = ["0|a", "0|b", "1|a", "2|a"], np.array(["train", "test", "test", "train"])
    splits.write(Split("lines", 0, pairs, of_pair), tmp_path / "lines.parquet")
    tasks = {row.task: replace(row, dataset=row.task) for row in (replace(cells_task, task="blood"), pairs_task)}
    made = Catalogue(tasks=tasks, methods={}, datasets={}, runs={}, not_run=(), claims=(), config={})
    catalogues.write(made, tmp_path / "catalogue.json")
    return tmp_path


def shards(folder, *, corpus=("skin",), benchmark=("blood", "lines"), exclude=()):
    manifests = [folder / f"shards/{name}/manifest.json" for name in corpus]
    for name, manifest in zip(corpus, manifests, strict=True):
        write_shards(
            cells=folder / f"{name}.h5ad",
            benchmark_cells=[folder / f"{name}.h5ad" for name in benchmark],
            shared=[folder / f"{name}.h5ad" for name in benchmark if name in corpus],
            exclude=[folder / f"{name}.parquet" for name in exclude],
            vocabulary=folder / "genes.tsv",
            shard_cells=16,
            manifest=manifest,
        )
    join_shards(shards=manifests, seed=0, manifest=folder / "shards/manifest.json")


def audit(folder, *, corpus=("skin",)):
    inputs = listed(
        cells=[folder / f"{name}.h5ad" for name in corpus],
        benchmark_cells=[folder / f"{name}.h5ad" for name in ("blood", "lines")],
        splits=[folder / "blood.parquet", folder / "lines.parquet"],
        shards=folder / "shards/manifest.json",
        catalogue=folder / "catalogue.json",
    )
    page = Page(html=folder / "leakage.html", tsv=folder / "audit_leakage.tsv", rows=folder)
    report_table(table="audit_leakage", page=page, **inputs)


def table(folder, name):
    return pd.read_table(folder / f"{name}.tsv").to_dict("records")


def test_cells_that_were_left_out_are_counted_and_none_is_left(folder):
    shards(folder)
    audit(folder)
    blood, lines = table(folder, "audit_leakage")
    assert (blood["equal_before_exclusion"], blood["left_out"], blood["in_shards"]) == (3, 3, 0)
    assert (blood["verdict"], lines["equal_before_exclusion"]) == ("clean", 0)
    assert "skin</td>" in (folder / "leakage.html").read_text()


def test_a_leaked_cell_is_found_and_the_command_fails(folder):
    shards(folder, benchmark=())  # nobody kept the benchmark's cells out
    with pytest.raises(InputError, match="3, such as skin:"):
        audit(folder)
    blood, _ = table(folder, "audit_leakage")
    assert (blood["left_out"], blood["in_shards"], blood["verdict"]) == (0, 3, "LEAK")
    assert "LEAK</td>" in (folder / "leakage.html").read_text()


def test_a_leaked_cell_is_found_though_its_hash_on_disk_is_wrong(folder):
    file = folder / "skin.h5ad"
    cells = ad.read_h5ad(file)
    cells.obs["cell_hash"] = [f"wrong-{number}" for number in range(N_CELLS)]
    cells.write_h5ad(file)
    shards(folder)
    with pytest.raises(InputError, match="no cell with the counts of a benchmark cell"):
        audit(folder)
    assert table(folder, "audit_leakage")[0]["in_shards"] == 3


def test_of_a_task_that_is_in_the_corpus_only_test_cells_must_stay_out(folder):
    shards(folder, corpus=("skin", "blood"), exclude=("blood",))
    audit(folder, corpus=("skin", "blood"))
    rows = {(row["task_dataset"], row["corpus_dataset"]): row for row in table(folder, "audit_leakage")}
    assert rows["blood", "blood"]["benchmark_cells"] == 1
    # cell 10 is the test cell, cell 11 has its counts
    assert (rows["blood", "blood"]["equal_before_exclusion"], rows["blood", "blood"]["left_out"]) == (2, 2)
    assert rows["blood", "skin"]["in_shards"] == 0


def test_exact_duplicates_are_counted_across_subsets(folder):
    shards(folder)
    audit(folder)
    blood, lines = table(folder, "exact_duplicates")
    assert (blood["cells"], blood["exact_duplicates"], blood["test_in_train"]) == (N_CELLS, 2, 1)
    assert (blood["train_units"], blood["validation_units"], blood["test_units"]) == (29, 0, 1)
    # line 1 of the test part equals line 0 of both; line 0 in two parts is no duplicate of its own
    assert (lines["cells"], lines["exact_duplicates"], lines["test_in_train"]) == (3, 2, 1)
