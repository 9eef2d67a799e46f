"""Shards: every kept cell once, as it was; nothing of the others; all or nothing."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.corpus import format as shards
from celllm.corpus import writer
from celllm.corpus.reader import ShardReader
from celllm.harmonise import cells as counts
from celllm.harmonise.vocabulary import Vocabulary

N_GENES = 30


def genes(n_genes=N_GENES, prefix="G"):
    names = [f"{prefix}{number}" for number in range(n_genes)]
    return Vocabulary(pd.DataFrame({"symbol": names, "hgnc_id": names, "ensembl": "", "entrez": ""}))


@pytest.fixture
def made(aligned):
    def make(dataset, n_cells, *, seed=0, vocabulary=None, **facts):
        vocabulary = vocabulary or genes()
        matrix = np.random.default_rng(seed).poisson(0.5, (n_cells, vocabulary.n_genes)).astype(np.int32)
        matrix[0] = 0  # a cell without any count must not shift its neighbours
        obs = {"sample": [f"s{number % 2}" for number in range(n_cells)], "donor": "secret", "label": "secret"}
        malignancy = np.arange(n_cells) % 3 - 1
        return aligned(matrix, vocabulary, dataset=dataset, is_malignant=malignancy, **obs, **facts)

    return make


def write(cells, manifest, *, excluded=(), equal=(), **changes):
    settings = {
        "vocabulary": genes().digest,
        "n_genes": N_GENES,
        "tested": set(excluded),
        "hashes": {"t": set(equal)},
        "shard_cells": 16,
        "seed": 0,
        "provenance": {"stage": "test"},
    }
    sources = []
    for number, one in enumerate(cells):
        sources.append(manifest.parent.parent / f"{number}" / f"{one.uns['dataset']}.h5ad")
        counts.write(one, sources[-1])
    return writer.write(sources, manifest, **{**settings, **changes})


@pytest.fixture
def cells(made):
    return [made("blood", 37, seed=1), made("tumour", 20, seed=2, simulated=True)]


@pytest.fixture
def manifest(tmp_path):
    return tmp_path / "shards" / "manifest.json"


def test_every_cell_comes_back_as_it_went_in_and_no_label_with_it(cells, manifest):
    written = write(cells, manifest)
    reader = ShardReader(manifest)
    together = ad.concat(cells)

    rows = reader.rows(np.arange(reader.n_cells))

    expected = together[reader.cells["cell_id"]]
    assert sorted(reader.cells["cell_id"]) == sorted(together.obs_names)
    np.testing.assert_array_equal(rows.toarray(), expected.X.toarray())
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(reader.is_malignant, expected.obs["is_malignant"])
    np.testing.assert_array_equal(reader.cells["sample"], expected.obs["sample"])
    np.testing.assert_array_equal(reader.dataset, [name.split(":")[0] for name in expected.obs_names])
    assert all(b"secret" not in file.read_bytes() for file in manifest.parent.iterdir())
    # data sets are mixed and shards have their size
    assert [entry.n_cells for entry in written.shards] == [16, 16, 16, 9]
    for entry in written.shards:
        assert set(shards.read_cells(manifest, entry)["dataset"]) == {"blood", "tumour"}
    # rows come in the order asked for across shards, and repeat
    asked = np.array([56, 0, 17, 17, 3, 40])
    np.testing.assert_array_equal(reader.rows(asked).toarray(), rows.toarray()[asked])
    assert reader.rows([]).shape == (0, N_GENES)
    with pytest.raises(IndexError, match="numbered 0 to 56"):
        reader.rows([57])


def test_cells_equal_to_a_benchmark_cell_are_absent_whatever_their_name_and_counted(cells, manifest):
    written = write(cells, manifest, excluded={"blood:3"}, equal={"blood:3", "blood:7", "tumour:1", "other"})

    assert not {"blood:3", "blood:7", "tumour:1"} & set(ShardReader(manifest).cells["cell_id"])
    # one that is a test cell too is counted once
    assert written.datasets["blood"] == {"kept": 35, "excluded_test": 1, "excluded_equal": 1, "simulated": False}
    assert written.datasets["tumour"]["excluded_equal"] == 1


def test_a_seed_fixes_the_files_and_another_one_changes_the_order(cells, tmp_path):
    first = write(cells[:1], tmp_path / "a" / "manifest.json")
    again = write(cells[:1], tmp_path / "b" / "manifest.json", provenance={"stage": "later"})
    other = write(cells[:1], tmp_path / "c" / "manifest.json", seed=1)

    assert again.digest == first.digest
    assert other.digest != first.digest
    assert ShardReader(tmp_path / "a" / "manifest.json").digest == first.digest


def test_an_interrupted_write_leaves_no_manifest_and_nothing_of_the_run_before(cells, manifest, monkeypatch):
    write(cells, manifest, shard_cells=4)
    whole = counts.pieces

    def breaking(path):
        if path.name == "tumour.h5ad":
            message = "power cut"
            raise RuntimeError(message)
        yield from whole(path)

    monkeypatch.setattr(counts, "pieces", breaking)
    with pytest.raises(RuntimeError, match="power cut"):
        write(cells, manifest)

    assert list(manifest.parent.iterdir()) == []
    with pytest.raises(InputError, match="no such file"):
        ShardReader(manifest)


def test_the_pieces_in_which_cells_are_read_do_not_show(cells, tmp_path, monkeypatch):
    whole = write(cells, tmp_path / "whole" / "manifest.json")
    pieces = counts.pieces
    monkeypatch.setattr(counts, "pieces", lambda path: pieces(path, size=7))

    assert write(cells, tmp_path / "cut" / "manifest.json").digest == whole.digest


def test_an_interruption_between_shards_leaves_no_manifest(cells, manifest, monkeypatch):
    whole = shards.write_shard

    def breaking(path, name, shard, table):
        if name == "shard-00002":
            message = "disk full"
            raise OSError(message)
        return whole(path, name, shard, table)

    monkeypatch.setattr(shards, "write_shard", breaking)
    with pytest.raises(OSError, match="disk full"):
        write(cells, manifest)

    assert not manifest.exists()
    assert {file.name.split(".")[0] for file in manifest.parent.iterdir()} == {"shard-00000", "shard-00001"}


def test_what_a_killed_run_left_is_removed(cells, manifest):
    (manifest.parent / ".buckets-old").mkdir(parents=True)
    (manifest.parent / "shard-00099.genes.npy.part").touch()

    written = write(cells, manifest)

    assert len(list(manifest.parent.iterdir())) == 1 + len(shards.PARTS) * len(written.shards)


@pytest.mark.parametrize(("count", "n_large"), [(65_534, 0), (65_535, 1), (65_536, 1), (2**24, 1)])
def test_a_count_beyond_16_bits_is_kept_and_costs_no_other_count_a_byte(manifest, made, count, n_large):
    cells = made("full length", 5)
    cells.X[2, 7] = count

    (entry,) = write([cells], manifest).shards

    reader = ShardReader(manifest)
    rows = reader.rows([4, 2, 0, 1, 3])
    expected = cells[reader.cells["cell_id"].iloc[[4, 2, 0, 1, 3]]].X.toarray()
    np.testing.assert_array_equal(rows.toarray(), expected)
    assert rows.max() == count
    assert entry.bytes["counts.npy"] - 128 == 2 * entry.n_nonzero  # 128 is the header of an .npy file
    assert entry.bytes["large.npy"] - 128 == 16 * n_large


@pytest.mark.parametrize(
    ("bad", "changes", "found"),
    [
        pytest.param({"dataset": "z", "units": "zscore"}, {}, "zscore", id="no counts"),
        pytest.param({"dataset": "short"}, {"n_genes": 31}, "found: +30", id="other genes"),
        pytest.param({"dataset": "blood"}, {}, "blood a second time", id="dataset twice"),
        pytest.param({"dataset": "o", "vocabulary": genes(prefix="H")}, {}, "vocabulary", id="other vocabulary"),
    ],
)
def test_unfit_cells_are_refused_by_name(cells, manifest, made, bad, changes, found):
    with pytest.raises((InputError, VocabularyMismatch), match=found) as caught:
        write([*([] if changes else cells[:1]), made(n_cells=4, **bad)], manifest, **changes)
    assert caught.value.file.endswith(f"{bad['dataset']}.h5ad")
    assert not manifest.exists()


def test_a_corpus_of_test_cells_only_is_refused(made, manifest):
    with pytest.raises(InputError, match="none that is in no test set"):
        write([made("blood", 2)], manifest, excluded={"blood:0", "blood:1"})
