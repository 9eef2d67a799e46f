"""Components of a corpus by the command that the workflow calls."""

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.bench import pca as components
from celllm.bench.commands import fit_components
from celllm.corpus.reader import ShardReader


def test_the_file_holds_components_of_the_shards_and_says_what_made_it(training):
    shards = training.path / "manifest.json"
    out = training.path / "pca.safetensors"
    fit_components.main(
        ["--shards", str(shards), "--components", "3", "--stage", "fit_components-1", "--out", str(out)]
    )

    found = components.read(out, vocabulary=training.genes.digest)
    reader = ShardReader(shards)
    counts = reader.rows(np.arange(reader.n_cells)).toarray().astype(float)
    logged = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 10_000)
    np.testing.assert_allclose(found.mean_G, logged.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.components_KG @ found.components_KG.T, np.eye(3), atol=1e-4)
    assert found.n_cells == reader.n_cells
    assert found.provenance["shards"] == reader.digest
    assert found.provenance["stage"] == "fit_components-1"


def test_more_components_than_cells_are_refused(training):
    shards, out = training.path / "manifest.json", training.path / "pca.safetensors"
    with pytest.raises(InputError, match=r"expected: 1 to 40(.|\n)*found: +51"):
        fit_components.main(["--shards", str(shards), "--components", "51", "--out", str(out)])
    assert not out.exists()
