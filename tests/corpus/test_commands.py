"""Aligned cells and splits become shards."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from celllm.corpus.commands import join_shards, write_shards
from celllm.corpus.reader import ShardReader
from celllm.harmonise import vocabulary
from celllm.harmonise.quality import cell_hashes
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits import format as splits
from celllm.splits.format import Split

N_CELLS = 20


def genes_of(*symbols):
    table = {"symbol": symbols, "hgnc_id": [f"HGNC:{s}" for s in symbols], "ensembl": "", "entrez": ""}
    return Vocabulary(pd.DataFrame(table))


@pytest.fixture
def write_cells(aligned, tmp_path):
    def write(dataset, genes, first=0):
        matrix = csr_matrix(np.arange(first, first + N_CELLS * genes.n_genes).reshape(N_CELLS, -1))
        simulated = dataset.startswith("simulated")
        cells = aligned(matrix, genes, dataset=dataset, simulated=simulated, cell_hash=cell_hashes(matrix))
        cells.write_h5ad(tmp_path / f"{dataset}.h5ad")

    return write


@pytest.fixture
def files(tmp_path, write_cells):
    genes = genes_of("A", "B", "C")
    vocabulary.write(genes, tmp_path / "genes.tsv")
    write_cells("blood", genes)
    write_cells("simulated_skin", genes, first=1000)
    for seed, test in enumerate((["blood:1", "blood:2"], ["blood:2", "blood:3"])):
        units = [f"blood:{number}" for number in range(N_CELLS)]
        parts = np.array(["test" if unit in test else "train" for unit in units])
        splits.write(Split("annotation", seed, units, parts), tmp_path / f"split{seed}.parquet")
    return tmp_path


def write(files, *cells, **options):
    manifests = [files / f"shards/{name}/manifest.json" for name in cells]
    for name, manifest in zip(cells, manifests, strict=True):
        write_shards(
            cells=files / f"{name}.h5ad",
            exclude=[files / f"split{seed}.parquet" for seed in (0, 1)],
            vocabulary=files / "genes.tsv",
            shard_cells=16,
            manifest=manifest,
            **options,
        )
    join_shards(shards=manifests, seed=0, manifest=files / "shards/manifest.json")
    return ShardReader(files / "shards/manifest.json")


def test_test_cells_of_every_seed_stay_out(files, capsys):
    reader = write(files, "blood", "simulated_skin")

    assert reader.n_cells == 37
    assert not {"blood:1", "blood:2", "blood:3"} & set(reader.cells["cell_id"])
    assert reader.datasets["blood"] == {"kept": 17, "excluded_test": 3, "excluded_equal": 0, "simulated": False}
    assert reader.datasets["simulated_skin"]["simulated"] is True
    of_cell = dict(zip(reader.cells["cell_id"], reader.rows(np.arange(37)).toarray().tolist(), strict=True))
    assert of_cell["blood:7"] == [21, 22, 23]
    assert capsys.readouterr().out.splitlines() == [
        "17 cells in 2 shards; left out: 3 test cells, and 0 cells with the counts of a benchmark cell",
        "20 cells in 2 shards; left out: 0 test cells, and 0 cells with the counts of a benchmark cell",
        "37 cells of 2 data sets in 4 shards",
    ]


def test_cells_with_the_counts_of_a_benchmark_cell_stay_out_whatever_their_data_set(files, write_cells):
    genes = genes_of("A", "B", "C")
    # its first ten cells have the counts of blood's last ten
    write_cells("copy", genes, first=30)

    reader = write(files, "blood", "copy", benchmark_cells=[files / "blood.h5ad"], shared=[files / "blood.h5ad"])

    # of a data set that is in the corpus too only the test cells count: blood:1 to blood:3 have no copy here
    assert reader.datasets["copy"]["excluded_equal"] == 0
    reader = write(files, "copy", benchmark_cells=[files / "blood.h5ad"])
    assert reader.datasets["copy"]["excluded_equal"] == 10
    assert set(reader.cells["cell_id"]) == {f"copy:{number}" for number in range(10, 20)}
