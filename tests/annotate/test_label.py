"""`celllm.annotate` and `celllm annotate`: the way that does best on the reference labels the query."""

import anndata as ad
import h5py
import numpy as np
import pytest

import celllm
from celllm.annotate import commands, label
from celllm.annotate import judge as judges
from celllm.base.errors import InputError


@pytest.fixture
def halves(own):
    """A labelled reference, and a query of other cells of the same types, one of them empty."""
    query = own[1::2].copy()
    query.X = query.X.multiply(np.arange(query.n_obs)[:, None] > 0).tocsr()
    query.X.eliminate_zeros()
    return own[::2].copy(), query


def test_cells_get_the_labels_of_their_like(halves, folder, capsys):
    reference, query = halves
    clusters = query.obs["cell_type"].copy()
    query.obs["cluster"] = clusters
    found = celllm.annotate(query, reference, labels="cell_type", encoder=folder.path, clusters="cluster")
    truth, given = query.obs["cell_type"].to_numpy(str), found.obs["celllm_prediction"].to_numpy(str)
    assert given[0] == "unassigned"
    assert (given == truth)[1:].mean() > 0.9
    assert list(found.obs["celllm_majority"]) == list(truth)
    probabilities = found.obsm["celllm_probabilities"]
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.obs["celllm_confidence"][1:], probabilities.max(1)[1:])
    assert list(found.uns["celllm_annotate"]["classes"]) == ["alpha", "beta", "gamma"]
    said = capsys.readouterr().out
    ways = [line for line in said.splitlines() if "logistic regression on" in line]
    assert len(ways) == len(judges.WAYS)
    scores = {line: float(line.split("[")[0].split()[-1]) for line in ways}
    (used,) = (score for line, score in scores.items() if line.endswith("<- used"))
    assert used == max(scores.values())


@pytest.mark.parametrize("threshold", [0.0, 0.9, 1.01])
def test_below_the_threshold_a_cell_is_unassigned(halves, folder, threshold):
    reference, query = halves
    options = {"encoder": folder.path, "threshold": threshold, "novelty": 0}
    found = celllm.annotate(query, reference, labels="cell_type", **options)
    is_unassigned = found.obs["celllm_prediction"] == "unassigned"
    np.testing.assert_array_equal(is_unassigned, found.obs["celllm_confidence"] < threshold)


def test_a_type_that_the_reference_lacks_is_unassigned_unless_novelty_is_off(halves, folder, capsys):
    reference, query = halves
    is_known = (reference.obs["cell_type"] != "gamma").to_numpy()
    rows = np.flatnonzero((query.obs["cell_type"] != "gamma").to_numpy() | (np.arange(query.n_obs) % 5 == 0))[1:]
    query = query[rows].copy()
    unlike = (query.obs["cell_type"] == "gamma").to_numpy()
    options = {"labels": "cell_type", "encoder": folder.path, "threshold": 0}
    found = celllm.annotate(query, reference[is_known].copy(), novelty=0.2, **options)
    refused = (found.obs["celllm_prediction"] == "unassigned").to_numpy()
    np.testing.assert_array_equal(refused, found.obs["celllm_novelty"] > 0.8)
    assert refused[unlike].mean() > 0.6 > 0.3 > refused[~unlike].mean()
    assert f"unlike the reference: {refused.mean():.1%}" in capsys.readouterr().out
    found = celllm.annotate(query, reference[is_known].copy(), novelty=0, **options)
    assert "unassigned" not in set(found.obs["celllm_prediction"])


@pytest.mark.parametrize("way", list(judges.WAYS))
def test_a_saved_model_labels_as_the_reference_did(tmp_path, halves, folder, way):
    for cells, name in zip(halves, ("reference", "query"), strict=True):
        cells.write_h5ad(tmp_path / f"{name}.h5ad")
    saved = tmp_path / "saved.safetensors"
    options = {"encoder": folder.path}
    commands.annotate(
        tmp_path / "query.h5ad",
        out=tmp_path / "first.h5ad",
        reference=tmp_path / "reference.h5ad",
        labels="cell_type",
        way=way,
        save=saved,
        **options,
    )
    assert saved.stat().st_mode == (tmp_path / "first.h5ad").stat().st_mode
    commands.annotate(tmp_path / "query.h5ad", out=tmp_path / "second.h5ad", model=saved, **options)
    first, second = (ad.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("first", "second"))
    assert first.uns["celllm_annotate"]["model"]["way"] == way
    assert list(first.obs.columns) == ["cell_type", "donor", "celllm_prediction", "celllm_confidence", "celllm_novelty"]
    assert list(first.obs["celllm_prediction"]) == list(second.obs["celllm_prediction"])
    np.testing.assert_allclose(
        first.obsm["celllm_probabilities"], second.obsm["celllm_probabilities"], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({}, "--model saved.safetensors", id="neither reference nor model"),
        pytest.param({"labels": "cell_type", "model": "saved"}, "both", id="reference and model"),
        pytest.param({"labels": "cell_type", "threshold": float("nan")}, "0 to 1", id="threshold"),
        pytest.param({"labels": "type"}, "the columns cell_type, donor", id="no such column"),
        pytest.param({"labels": "cell_type", "donors": "one"}, "two donors or more", id="one donor"),
        pytest.param({"labels": "cell_type", "donors": "barcode"}, "45 in 45 cells", id="a donor a cell"),
        pytest.param({"labels": "one"}, "two classes", id="one label"),
        pytest.param({"labels": "barcode"}, r"\(1\) and 35 more", id="a label a cell"),
        pytest.param({"labels": "cell_type", "clusters": "leiden"}, "--clusters", id="no such clusters"),
    ],
)
def test_what_cannot_be_labelled_after_is_refused_and_nothing_is_left(tmp_path, halves, folder, options, said):
    reference, query = halves
    reference.obs["one"] = "a"
    reference.obs["barcode"] = [f"cell {number}" for number in range(reference.n_obs)]
    reference.write_h5ad(tmp_path / "reference.h5ad")
    query.write_h5ad(tmp_path / "query.h5ad")
    before = sorted(tmp_path.iterdir())
    given = tmp_path / "reference.h5ad" if options else None
    with pytest.raises(InputError, match=said):
        commands.annotate(
            tmp_path / "query.h5ad", out=tmp_path / "out.h5ad", reference=given, encoder=folder.path, **options
        )
    assert sorted(tmp_path.iterdir()) == before


def test_a_clusters_commonest_label_is_each_of_its_cells():
    names = np.array(["a", "b", "b", "a", "c", "b"], dtype=object)
    groups = np.array(["0", "0", "0", "1", "1", "1"], dtype=object)
    assert list(label.majority(names, groups)) == ["b", "b", "b", "a", "a", "a"]


@pytest.mark.parametrize("fault", ["none", "older release"])
def test_a_query_is_refused_before_the_reference_is_judged(tmp_path, own, folder, fault):
    query = tmp_path / "query.h5ad"
    if fault != "none":
        own.write_h5ad(query)
        with h5py.File(query, "r+") as file:
            del file["obs"].attrs["column-order"]
    with pytest.raises(InputError, match=rf"query\.h5ad(?s:.)*{'' if fault == 'none' else fault}"):
        celllm.annotate(query, tmp_path / "none.h5ad", tmp_path / "o", labels="cell_type", encoder=folder.path)
