"""Splits: stratified, disjoint, fixed by the seed, and with one test subset for every regime."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.config.tables import Task
from celllm.splits.cells import by_donor, stratified

FULL = Task(
    task="annotation",
    kind="classification",
    title="Annotation",
    dataset="cells",
    response=None,
    split="random",
    split_seeds=(0, 1, 2),
    train=0.7,
    validation=0.1,
    test=0.2,
    min_class_size=10,
    protocol="clean",
    headline="macro_f1",
)
FEW = replace(FULL, task="fewshot", train=0.05, validation=0.0)
DONORS = replace(FULL, split="donors", train=0.9, validation=0.1, test=0.0)
SIZES = {"T": 300, "B": 120, "NK": 60, "rare": 12, "tiny": 9, "": 40}


@pytest.fixture
def labels():
    return np.random.default_rng(1).permutation(np.repeat(list(SIZES), list(SIZES.values())))


@pytest.fixture
def units(labels):
    return [f"cells:{number:04d}" for number in range(len(labels))]


@pytest.fixture
def donors(labels):
    return np.resize(["d2", "d1", "d3"], len(labels))


def test_every_class_has_nearly_its_share_in_every_subset_and_no_usable_cell_is_left_over(labels, units):
    subsets = stratified(labels, units, FULL, seed=0)

    for label in ("T", "B", "NK", "rare"):
        for subset, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
            assert abs(np.sum((labels == label) & (subsets == subset)) - share * SIZES[label]) <= 1.01
    np.testing.assert_array_equal(subsets == "unused", np.isin(labels, ["", "tiny"]))


def test_few_shot_trains_on_a_share_of_all_cells_and_is_tested_on_those_of_full_training(labels, units):
    full, few = stratified(labels, units, FULL, seed=0), stratified(labels, units, FEW, seed=0)

    np.testing.assert_array_equal(full == "test", few == "test")
    assert np.sum(few == "test") == round(0.2 * 492)
    assert np.sum(few == "train") == round(0.05 * 492)
    assert not np.any(few == "validation")
    assert set(few[np.isin(labels, ["", "tiny"])]) == {"unused"}


@pytest.mark.parametrize("seed", range(15))
def test_every_class_has_a_training_cell_even_in_few_shot(labels, units, seed):
    few = stratified(labels, units, replace(FEW, train=0.01), seed=seed)

    assert set(labels[few == "train"]) == {"T", "B", "NK", "rare"}
    np.testing.assert_array_equal(few == "test", stratified(labels, units, FULL, seed=seed) == "test")


def test_seeds_differ_one_seed_repeats_and_the_order_of_the_cells_does_not_matter(labels, units):
    first = stratified(labels, units, FULL, seed=3)
    order = np.random.default_rng(7).permutation(len(labels))

    shuffled = stratified(labels[order], [units[row] for row in order], FULL, seed=3)

    np.testing.assert_array_equal(shuffled, first[order])
    assert (stratified(labels, units, FULL, seed=4) != first).any()


def test_classes_that_are_all_too_small_are_refused(labels, units):
    with pytest.raises(InputError, match="1 classes of at least 200 labelled cells") as caught:
        stratified(labels, units, replace(FULL, min_class_size=200), seed=0)
    assert caught.value.field == "min_class_size, test of annotation"
    assert caught.value.file == "config/tasks.tsv"


def test_splits_do_not_depend_on_the_hash_seed_of_the_process(root):
    code = (
        "import numpy as np; from celllm.splits.cells import stratified; from celllm.splits.pairs import divide;"
        "from celllm.config.tables import Task;"
        "t = Task('t','classification','t','d',None,'random',(0,),.05,0.,.2,5,'clean','macro_f1');"
        "n = [f'cell{i}' for i in range(200)]; l = np.array(['a','b','c','d'] * 50);"
        "print(''.join(stratified(l, n, t, seed=1)));"
        "t = Task('t','regression','t','d','d','both',(0,),.5,.2,.3,0,'clean','pearson');"
        "l = np.repeat([f'l{i}' for i in range(20)], 10); d = np.tile([f'd{i}' for i in range(10)], 20);"
        "print(''.join(divide(l, d, d, t, seed=1)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root / "src")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().count("train") > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_donor_is_tested_and_met_nowhere_else(labels, units, donors, seed):
    subsets = by_donor(labels, donors, units, DONORS, seed=seed)

    usable = ~np.isin(labels, ["", "tiny"])
    assert set(donors[subsets == "test"]) == {f"d{seed + 1}"}
    assert (subsets[usable & (donors == f"d{seed + 1}")] == "test").all()
    assert (subsets[usable & (donors != f"d{seed + 1}")] != "unused").all()
    assert (subsets[~usable] == "unused").all()
    for label in ("T", "B", "NK"):
        others = (labels == label) & (donors != f"d{seed + 1}")
        assert (subsets[others] == "validation").mean() == pytest.approx(0.1, abs=0.03)


def test_a_class_of_the_tested_donor_alone_stays_in_the_test_subset(labels, units, donors):
    donors = np.where(labels == "rare", "d1", donors)
    subsets = by_donor(labels, donors, units, DONORS, seed=0)

    assert set(subsets[labels == "rare"]) == {"test"}


@pytest.mark.parametrize(
    ("change", "seed", "message"),
    [
        (lambda _labels, donors: donors, 3, "0-2, one a donor: d1, d2, d3"),
        (lambda _labels, donors: np.full_like(donors, "d1"), 0, "two donors or more"),
        (lambda labels, _donors: np.where(labels == "T", "d1", "d2"), 1, "at least 2 classes among the cells"),
    ],
    ids=["more seeds than donors", "one donor", "one class left to train on"],
)
def test_donors_that_cannot_be_held_out_are_refused(labels, units, donors, change, seed, message):
    with pytest.raises(InputError, match=message):
        by_donor(labels, change(labels, donors), units, DONORS, seed=seed)
