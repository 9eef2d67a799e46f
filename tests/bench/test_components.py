from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench import pca as components
from celllm.bench.methods.components import fit_components, projected
from celllm.bench.methods.features import gene_features
from celllm.bench.methods.pca_logistic import LogisticOnComponents
from celllm.harmonise.vocabulary import Vocabulary


def _fitted(cells, n_components, cells_at_once, read=None):
    return fit_components(
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


@pytest.mark.parametrize("values", ["counts", "tpm"])
def test_depth_does_not_move_a_cell_among_the_components(cells, components_file, vocabulary, values):
    method = LogisticOnComponents({}, seed=0, encoder=components_file, vocabulary=vocabulary)
    shown = replace(cells, values=values)
    rows = np.arange(5)

    seen = method.features(shown, rows)

    assert seen.shape == (5, 4)
    np.testing.assert_allclose(method.features(replace(shown, counts=cells.counts * 3), rows), seen, atol=1e-5)


def test_components_of_other_genes_are_refused(components_file, vocabulary):
    other = Vocabulary(vocabulary.genes.iloc[::-1].reset_index(drop=True))

    with pytest.raises(VocabularyMismatch, match=vocabulary.digest[:12]):
        LogisticOnComponents({}, seed=0, encoder=components_file, vocabulary=other)


def test_z_scores_cannot_be_seen_by_components_of_counts(cells, components_file, vocabulary):
    method = LogisticOnComponents({}, seed=0, encoder=components_file, vocabulary=vocabulary)

    with pytest.raises(InputError, match=r"found: *zscore"):
        method.features(replace(cells, values="zscore"), np.arange(5))


def test_equal_components_make_equal_files(cells, tmp_path):
    for name in ("a", "b"):
        components.write(_fitted(cells, 3, 30), tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
