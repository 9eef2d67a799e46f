"""Ways of labelling are compared on held-out cells or donors, and their probabilities mean what they say."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from celllm.annotate import head as heads
from celllm.annotate import judge as judges
from celllm.annotate import novelty as novelties
from celllm.annotate.head import LinearHead
from celllm.annotate.judge import Reference
from celllm.base.errors import InputError

N = 300


@pytest.fixture
def reference(generator):
    """Two donors' worth of labels that the embedding knows by type, and the genes by donor alone."""
    labels = np.array(["a", "b", "c"])[generator.integers(0, 3, N)]
    donors = np.repeat([f"d{number}" for number in range(6)], N // 6)
    of_donor = {donor: ["a", "b", "c"][number % 3] for number, donor in enumerate(np.unique(donors))}
    labels = np.where(generator.random(N) < 0.8, [of_donor[donor] for donor in donors], labels)
    is_type = (labels[:, None] == np.array(["a", "b", "c"])) + 0.3 * generator.normal(size=(N, 3))
    is_donor = (donors[:, None] == np.unique(donors)) + 0.1 * generator.normal(size=(N, 6))
    return Reference({"embedding": is_type, "genes": sparse.csr_matrix(is_donor)}, labels, donors)


def test_held_out_donors_unmask_a_way_that_knows_donors_alone(reference):
    def scores(cells):
        return {found.way: found.interval[0] for found in judges.judge(cells, ways=["embedding", "genes"])}

    cells_out = scores(Reference(reference.views, reference.labels))
    donors_out = scores(reference)
    assert cells_out["genes"] > 0.7
    assert donors_out["genes"] < 0.5
    assert donors_out["embedding"] > 0.8


def test_every_cell_is_asked_once_and_the_best_way_wins(reference):
    found = judges.judge(reference, ways=["genes", "embedding"])
    assert all(sorted(judgement.rows) == list(range(N)) for judgement in found)
    assert judges.best(found).way == "embedding"


def test_a_way_that_is_always_right_has_an_interval_by_the_number_of_cells_asked():
    rows, sure = np.arange(100), np.ones((100, 2))
    mean, low, high = judges.Judgement("genes", (1.0,) * 5, rows, sure).interval
    assert (mean, high) == (1, 1)
    assert 0.6 < low < 0.9


def test_small_classes_and_unlabelled_cells_are_left_out(reference):
    labels = reference.labels.astype(object)
    labels[:4], labels[4:10] = "rare", ""
    kept, small = judges.check(Reference(reference.views, labels.astype(str), reference.donors), file="ref.h5ad")
    assert small == {"rare": 4}
    assert len(kept.labels) == N - 10 == kept.views["genes"].shape[0] == len(kept.donors)


@pytest.mark.parametrize("way", list(judges.WAYS))
@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]], ids=["two", "three"])
def test_one_matrix_says_what_the_pipeline_says(reference, way, classes, monkeypatch):
    rows = np.flatnonzero(np.isin(reference.labels, classes))
    made = []
    monkeypatch.setattr(judges, "of_fitted", lambda *fitted: made.append(fitted) or heads.of_fitted(*fitted))
    head = judges.taught(reference, rows, way)
    logistic, steps = made[0]
    views = reference.views
    seen = [views[name] if step is None else step.transform(views[name]) for name, step in steps.items()]
    seen = seen[0] if len(seen) == 1 else np.hstack(seen)
    np.testing.assert_allclose(head.probabilities(views), logistic.predict_proba(seen), atol=1e-8)
    assert list(head.classes) == classes


@pytest.mark.parametrize("sureness", [0.3, 1.0, 4.0], ids=["too unsure", "right", "too sure"])
def test_calibrated_confidence_is_the_share_that_is_right(generator, sureness):
    logits = 2 * generator.normal(size=(20_000, 3))
    right = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    classes = np.array(["a", "b", "c"])
    truth = classes[(right.cumsum(1) > generator.random((len(right), 1))).argmax(1)]
    head = LinearHead({"embedding": sureness * np.eye(3)}, np.zeros(3), tuple(classes))
    found = heads.calibrated(head, head.probabilities({"embedding": logits}), truth)
    assert found.temperature == pytest.approx(sureness, rel=0.05)
    said = found.probabilities({"embedding": logits})
    is_right = classes[said.argmax(1)] == truth
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        among = (said.max(1) > low) & (said.max(1) <= high)
        assert said.max(1)[among].mean() == pytest.approx(is_right[among].mean(), abs=0.03)


SAVED = {"encoder": "one", "vocabulary": "genes", "sizes": {"embedding": 2, "genes": 3}}


@pytest.mark.parametrize(
    ("head", "given", "said"),
    [
        pytest.param({}, {"encoder": "other"}, "encoder one", id="encoder"),
        pytest.param({}, {"vocabulary": "others"}, "vocabulary genes", id="vocabulary"),
        pytest.param({}, {"sizes": {"embedding": 2, "genes": 4}}, r"expected: .*\(4, 2\)", id="features"),
        pytest.param({"weights": {}}, {}, "found: .*bias", id="no weights"),
        pytest.param({"bias_K": np.full(2, np.nan)}, {}, "bias(?s:.)*finite numbers", id="no numbers"),
        pytest.param({"classes": ("a",)}, {}, r"expected: .*\(3, 1\)", id="classes"),
        pytest.param({"temperature": 0.0}, {}, "temperature above 0", id="temperature"),
    ],
)
def test_a_model_is_refused_where_it_means_something_else(tmp_path, head, given, said):
    whole = LinearHead({"genes": np.eye(3, 2)}, np.zeros(2), ("a", "b"), 1.5)
    types = novelties.Types(np.eye(2), np.zeros((2, 2)), np.array([0.5, 1.0]))
    for one, name in ((whole, "whole"), (dataclasses.replace(whole, **head), "changed")):
        heads.save(heads.Model(one, types, "one", "genes", {"way": "genes"}), tmp_path / name)
    found = heads.load(tmp_path / "whole", **SAVED)
    assert (found.head.classes, found.head.temperature, found.facts) == (("a", "b"), 1.5, {"way": "genes"})
    assert list(found.types.held_out_N) == [0.5, 1.0]
    with pytest.raises(InputError, match=said):
        heads.load(tmp_path / "changed", **SAVED | given)
