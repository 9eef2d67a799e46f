"""Shards: every kept cell once, as it was; nothing of the others; all or nothing."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.corpus import format as shards
from celllm.corpus import writer
from celllm.corpus.reader import ShardReader
from celllm.harmonise.vocabulary import Vocabulary

N_GENES = 30
FIRST = ["blood:19", "blood:16", "blood:13", "blood:15"]
"""Cells that seed 0 puts first, of 37 of blood and 20 of tumour."""


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


def write(cells, manifest, *, excluded=(), equal=(), seed=0, join=True, **changes):
    settings = {
        "vocabulary": genes().digest,
        "n_genes": N_GENES,
        "tested": set(excluded),
        "hashes": {"t": set(equal)},
        "shard_cells": 16,
        "provenance": {"stage": "test"},
    }
    parts = []
    for number, one in enumerate(cells):
        source = manifest.parent.parent / f"{number}" / f"{one.uns['dataset']}.h5ad"
        parts.append(manifest.parent / f"{number}" / "manifest.json")
        source.parent.mkdir(parents=True, exist_ok=True)
        one.write_h5ad(source)
        part = writer.write(source, parts[-1], **{**settings, **changes})
    return writer.join(parts, manifest, seed=seed, provenance=settings["provenance"]) if join else part


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
    assert all(b"secret" not in file.read_bytes() for file in manifest.parent.rglob("*.*"))
    # data sets are mixed, in the order that every release has drawn for this seed, and shards have their size
    assert list(reader.cells["cell_id"][:4]) == FIRST
    assert [(entry.name, entry.n_cells) for entry in written.shards] == [
        ("0/shard-00000", 16),
        ("0/shard-00001", 16),
        ("0/shard-00002", 5),
        ("1/shard-00000", 16),
        ("1/shard-00001", 4),
    ]
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


def test_a_data_set_can_be_read_by_itself_in_its_own_order(cells, manifest):
    write(cells[:1], manifest)

    reader = ShardReader(manifest.parent / "0" / "manifest.json")

    assert list(reader.cells["cell_id"]) == list(cells[0].obs_names)


def test_a_seed_fixes_the_order_and_nothing_else_does(cells, tmp_path):
    first = write(cells[:1], tmp_path / "a" / "manifest.json")
    again = write(cells[:1], tmp_path / "b" / "manifest.json")
    other = write(cells[:1], tmp_path / "c" / "manifest.json", seed=1)
    cut = write(cells[:1], tmp_path / "d" / "manifest.json", shard_cells=7)

    assert again.digest == first.digest
    assert (other.shards, other.order == first.order) == (first.shards, False)
    assert ShardReader(tmp_path / "a" / "manifest.json").digest == first.digest
    assert (len(cut.shards), cut.order) == (6, first.order)


def test_another_data_set_leaves_the_shards_of_the_first_as_they_are(cells, tmp_path):
    alone, both = (write(cells[:n], tmp_path / f"{n}" / "manifest.json") for n in (1, 2))

    assert both.shards[: len(alone.shards)] == alone.shards


def test_an_interruption_between_shards_leaves_no_manifest(cells, manifest, monkeypatch):
    write(cells[:1], manifest, shard_cells=4)
    whole = shards.write_shard

    def breaking(path, name, shard, table):
        if name == "shard-00002":
            message = "disk full"
            raise OSError(message)
        return whole(path, name, shard, table)

    monkeypatch.setattr(shards, "write_shard", breaking)
    with pytest.raises(OSError, match="disk full"):
        write(cells[:1], manifest)

    # nothing of the run before either
    left = {file.name.split(".")[0] for file in (manifest.parent / "0").iterdir()}
    assert left == {"shard-00000", "shard-00001"}
    monkeypatch.undo()
    with pytest.raises(InputError, match="no such file"):
        writer.join([manifest.parent / "0" / "manifest.json"], manifest, seed=0, provenance={})
    with pytest.raises(InputError, match="no such file"):
        ShardReader(manifest)


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
        pytest.param({"dataset": "o", "vocabulary": genes(prefix="H")}, {}, "vocabulary", id="other vocabulary"),
    ],
)
def test_unfit_cells_are_refused_by_name(manifest, made, bad, changes, found):
    with pytest.raises((InputError, VocabularyMismatch), match=found) as caught:
        write([made(n_cells=4, **bad)], manifest, join=False, **changes)
    assert caught.value.file.endswith(f"{bad['dataset']}.h5ad")
    assert not (manifest.parent / "0" / "manifest.json").exists()


def test_parts_that_do_not_belong_together_are_refused_by_name(cells, manifest, made):
    with pytest.raises(InputError, match="blood a second time") as caught:
        write([cells[0], cells[0]], manifest)
    assert caught.value.file.endswith("1/manifest.json")

    others = genes(prefix="H")
    write([made("o", 4, vocabulary=others)], manifest.parent / "o" / "m.json", join=False, vocabulary=others.digest)
    parts = [manifest.parent / name / "manifest.json" for name in ("0", "o/0")]
    with pytest.raises(VocabularyMismatch, match="forcerun write_shards") as caught:
        writer.join(parts, manifest, seed=0, provenance={})
    assert caught.value.file.endswith("o/0/manifest.json")
    assert not manifest.exists()


def test_a_corpus_of_test_cells_only_is_refused(made, manifest):
    with pytest.raises(InputError, match="none that is in no test set"):
        write([made("blood", 2)], manifest, excluded={"blood:0", "blood:1"})
