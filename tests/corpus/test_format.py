"""Shards round-trip, hold no label, and are refused unless they are whole."""

import json

import numpy as np
import pyarrow as pa
import pytest

from celllm.base.errors import InputError
from celllm.corpus import format as shards
from celllm.corpus.format import ShardManifest

MATRIX = shards.shard_of(
    indptr=np.array([0, 2, 2, 3]),
    genes=np.array([0, 65_535, 7], dtype=np.uint16),
    counts=np.array([1, 2, 70_000]),
)
CELLS = pa.table(
    {
        "cell_id": ["d:1", "d:2", "d:3"],
        "dataset": ["d"] * 3,
        "sample": ["s"] * 3,
        "study": ["t"] * 3,
        "is_malignant": [1, 0, -1],
        "cell_hash": ["a", "b", "c"],
        "label": ["secret"] * 3,
    },
)


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "shards" / "manifest.json"
    entry = shards.write_shard(path, "shard-00000", MATRIX, CELLS)
    order = shards.write_order(path, np.array([2, 0, 1], dtype=np.uint32))
    share = {"d": {"kept": 3, "excluded_test": 1, "excluded_equal": 0, "simulated": False}}
    shards.write(ShardManifest("v", 65_536, 3, 3, share, (entry,), {"stage": "test"}, order), path)
    return path


def test_a_shard_comes_back_as_it_was_written_and_memory_mapped(manifest):
    read = shards.read(manifest)
    (entry,) = read.shards

    back = shards.open_shard(manifest, entry)

    for array, expected in zip(back, MATRIX, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert isinstance(array, np.memmap)
    assert (read.n_cells, read.n_nonzero, read.n_genes) == (3, 3, 65_536)
    assert read.datasets["d"]["excluded_test"] == 1
    assert read.provenance == {"stage": "test"}
    assert list(shards.read_cells(manifest, entry).columns) == shards.CELLS.names  # and no label


@pytest.mark.parametrize("name", [*(f"shard-00000.{part}" for part in shards.PARTS), "order.npy"])
def test_a_missing_or_shortened_file_is_named(manifest, name):
    file = manifest.with_name(name)
    content = file.read_bytes()

    file.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"{file.name}.*\n.*{len(content)} bytes\n.*{len(content) - 1} bytes"):
        shards.read(manifest)
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        shards.read(manifest)


@pytest.mark.parametrize(
    "change",
    [{"format": "celllm-shards-1"}, {"shards": [{"name": "x"}]}, {"extra": 1}],
    ids=["format", "shard without sizes", "unknown key"],
)
def test_a_manifest_of_another_form_is_refused(manifest, change):
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, **change}))

    with pytest.raises(InputError, match="celllm-shards-3"):
        shards.read(manifest)


def test_the_digest_is_of_the_content_not_of_its_history(manifest):
    values = json.loads(manifest.read_text())
    before = shards.read(manifest).digest

    manifest.write_text(json.dumps({**values, "provenance": {"stage": "later"}}))
    assert shards.read(manifest).digest == before
    manifest.write_text(json.dumps({**values, "vocabulary": "w"}))
    assert shards.read(manifest).digest != before


def test_discarding_takes_manifest_order_and_every_shard_and_nothing_else(manifest):
    other = manifest.parent / "notes.txt"
    other.touch()

    shards.discard(manifest)

    assert list(manifest.parent.iterdir()) == [other]
