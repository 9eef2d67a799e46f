"""Aligned cells and splits become shards."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from celllm.base.errors import VocabularyMismatch
from celllm.corpus.commands import write_shards
from celllm.corpus.reader import ShardReader
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits import format as splits
from celllm.splits.format import Split


def genes_of(*symbols):
    table = {"symbol": symbols, "hgnc_id": [f"HGNC:{s}" for s in symbols], "ensembl": "", "entrez": ""}
    return Vocabulary(pd.DataFrame(table))


def write_cells(path, dataset, genes, n_cells=20):
    obs = pd.DataFrame(
        {
            "sample": "s",
            "donor": "s",
            "study": "d",
            "label": "secret",
            "is_malignant": 1,
            "n_counts": 1.0,
            "n_genes": 1,
            "cell_hash": [f"{dataset}-{number}" for number in range(n_cells)],
        },
        index=[f"{dataset}:{number}" for number in range(n_cells)],
    )
    matrix = csr_matrix(np.arange(n_cells * genes.n_genes).reshape(n_cells, -1))
    made = counts.build(
        matrix,
        obs,
        vocabulary=genes,
        dataset=dataset,
        units="counts",
        simulated=dataset.startswith("simulated"),
        provenance={},
    )
    counts.write(made, path)


@pytest.fixture
def files(tmp_path):
    genes = genes_of("A", "B", "C")
    vocabulary.write(genes, tmp_path / "genes.tsv")
    write_cells(tmp_path / "blood.h5ad", "blood", genes)
    write_cells(tmp_path / "simulated_skin.h5ad", "simulated_skin", genes)
    for seed, test in enumerate((["blood:1", "blood:2"], ["blood:2", "blood:3"])):
        units = [f"blood:{number}" for number in range(20)]
        parts = np.array(["test" if unit in test else "train" for unit in units])
        splits.write(Split("annotation", seed, units, parts), tmp_path / f"seed{seed}.parquet")
    return tmp_path


def write(files, *cells):
    manifest = files / "shards" / "manifest.json"
    argv = ["--cells", *(str(files / f"{name}.h5ad") for name in cells), "--exclude"]
    argv += [str(files / f"seed{seed}.parquet") for seed in (0, 1)]
    argv += ["--vocabulary", str(files / "genes.tsv"), "--seed", "0", "--shard-cells", "16"]
    write_shards.main([*argv, "--stage", "write_shards-1", "--manifest", str(manifest)])
    return ShardReader(manifest)


def test_test_cells_of_every_seed_stay_out(files):
    reader = write(files, "blood", "simulated_skin")

    assert reader.n_cells == 37
    assert not {"blood:1", "blood:2", "blood:3"} & set(reader.cells["cell_id"])
    assert reader.datasets["blood"] == {
        "kept": 17,
        "excluded_test": 3,
        "excluded_equal": 0,
        "simulated": False,
    }
    assert reader.datasets["simulated_skin"]["simulated"] is True
    of_cell = dict(zip(reader.cells["cell_id"], reader.rows(np.arange(37)).toarray().tolist(), strict=True))
    assert of_cell["blood:7"] == [21, 22, 23]


def test_cells_of_another_vocabulary_stop_the_command(files):
    write_cells(files / "other.h5ad", "other", genes_of("A", "C", "B"))

    with pytest.raises(VocabularyMismatch, match=r"other\.h5ad"):
        write(files, "blood", "other")
    assert not (files / "shards" / "manifest.json").exists()
