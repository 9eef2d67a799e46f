"""Principal components of the corpus: fitted in batches, written, read, and made by the command."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.decomposition import PCA

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench import commands
from celllm.corpus import components
from celllm.corpus.components import fit_pca, gene_features, projected
from celllm.corpus.reader import ShardReader


def _fitted(cells, n_components, cells_at_once, read=None):
    return fit_pca(
        read or (lambda rows: cells.counts[rows]),
        n_cells=90,
        vocabulary="abc",
        n_components=n_components,
        cells_at_once=cells_at_once,
    )


def test_one_batch_gives_the_components_of_scikit_learns_exact_pca(cells):
    logged = gene_features(cells.counts, "counts")
    exact = PCA(n_components=5, svd_solver="full").fit(logged.toarray())

    found = _fitted(cells, 5, 90)

    np.testing.assert_allclose(np.abs(np.sum(found.components_KG * exact.components_, axis=1)), 1, atol=1e-4)
    np.testing.assert_allclose(found.explained_K, exact.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(np.abs(projected(logged, found)), np.abs(exact.transform(logged.toarray())), atol=2e-3)


def test_batches_find_nearly_what_all_cells_at_once_find(cells):
    order = np.random.default_rng(0).permutation(90)
    whole = _fitted(cells, 2, 90)
    found = _fitted(cells, 2, 25, read=lambda rows: cells.counts[order[rows]])

    np.testing.assert_allclose(found.mean_G, whole.mean_G, rtol=1e-4, atol=1e-5)
    # cosines of the angles between the planes of the two components
    assert np.linalg.svd(found.components_KG @ whole.components_KG.T, compute_uv=False).min() > 0.99


def test_no_more_than_a_batch_is_read_at_once_and_a_short_last_one_joins_the_one_before(cells):
    sizes = []

    def read(rows):
        sizes.append(len(rows))
        return cells.counts[rows]

    _fitted(cells, 12, 20, read=read)

    assert sizes == [20, 20, 20, 30]


def test_components_come_back_as_written_and_equal_ones_make_equal_files(cells, tmp_path):
    made = _fitted(cells, 3, 30)
    for name in ("a", "b"):
        components.write(made, tmp_path / name)
    found = components.read(tmp_path / "a", vocabulary="abc")

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for name in ("mean_G", "components_KG", "explained_K"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    assert (found.vocabulary, found.n_cells, found.provenance) == ("abc", 90, {})


def test_another_vocabulary_and_a_file_of_another_kind_are_refused(cells, tmp_path):
    components.write(_fitted(cells, 3, 30), tmp_path / "pca")
    save_file({"mean": np.zeros(2, np.float32)}, str(tmp_path / "other"))
    (tmp_path / "text").write_text("components")

    with pytest.raises(VocabularyMismatch, match="snakemake --forcerun fit_pca"):
        components.read(tmp_path / "pca", vocabulary="xyz")
    with pytest.raises(InputError, match=r"found: *None"):
        components.read(tmp_path / "other")
    with pytest.raises(InputError, match="no safetensors file"):
        components.read(tmp_path / "text")


def test_the_command_fits_the_cells_of_the_shards_and_says_what_made_the_file(training):
    shards, out = training.path / "manifest.json", training.path / "pca.safetensors"
    commands.fit_pca(shards=shards, pca=out, components=3, stage="fit_pca-1")

    found = components.read(out, vocabulary=training.genes.digest)
    reader = ShardReader(shards)
    counts = reader.rows(np.arange(reader.n_cells)).toarray().astype(float)
    logged = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 10_000)
    np.testing.assert_allclose(found.mean_G, logged.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.components_KG @ found.components_KG.T, np.eye(3), atol=1e-4)
    assert found.n_cells == reader.n_cells
    assert found.provenance["shards"] == reader.digest
    assert found.provenance["stage"] == "fit_pca-1"


def test_more_components_than_cells_are_refused(training):
    shards, out = training.path / "manifest.json", training.path / "pca.safetensors"
    with pytest.raises(InputError, match=r"expected: 1 to 40(.|\n)*found: +51"):
        commands.fit_pca(shards=shards, pca=out, components=51)
    assert not out.exists()
