"""Splits: stratified, disjoint, fixed by the seed, and with one test part for every regime."""

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
SIZES = {"T": 300, "B": 120, "NK": 60, "rare": 12, "tiny": 9, "": 40}


@pytest.fixture
def labels():
    return np.random.default_rng(1).permutation(np.repeat(list(SIZES), list(SIZES.values())))


@pytest.fixture
def units(labels):
    return [f"cells:{number:04d}" for number in range(len(labels))]


def draw(labels, units, task, seed=0):
    return stratified(labels, units, task, seed=seed, file="tasks.tsv")


def test_every_class_has_nearly_its_share_in_every_part(labels, units):
    parts = draw(labels, units, FULL)

    for label in ("T", "B", "NK", "rare"):
        for part, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
            assert abs(np.sum((labels == label) & (parts == part)) - share * SIZES[label]) <= 1.01


def test_shares_that_sum_to_one_leave_no_usable_cell_over(labels, units):
    parts = draw(labels, units, FULL)

    np.testing.assert_array_equal(parts == "unused", np.isin(labels, ["", "tiny"]))


def test_cells_without_label_and_small_classes_are_unused_in_every_regime(labels, units):
    assert set(draw(labels, units, FEW)[np.isin(labels, ["", "tiny"])]) == {"unused"}


def test_the_test_part_is_the_same_for_full_and_few_shot_training(labels, units):
    full, few = draw(labels, units, FULL), draw(labels, units, FEW)

    np.testing.assert_array_equal(full == "test", few == "test")
    assert np.sum(few == "test") == round(0.2 * 492)


def test_few_shot_trains_on_a_share_of_all_cells_without_validation(labels, units):
    few = draw(labels, units, FEW)

    assert np.sum(few == "train") == round(0.05 * 492)
    assert not np.any(few == "validation")


@pytest.mark.parametrize("seed", range(15))
def test_every_class_has_a_training_cell_even_in_few_shot(labels, units, seed):
    few = draw(labels, units, replace(FEW, train=0.01), seed)

    assert set(labels[few == "train"]) == {"T", "B", "NK", "rare"}
    np.testing.assert_array_equal(few == "test", draw(labels, units, FULL, seed) == "test")


def test_seeds_differ_and_one_seed_repeats(labels, units):
    first = draw(labels, units, FULL, seed=3)

    np.testing.assert_array_equal(draw(labels, units, FULL, seed=3), first)
    assert (draw(labels, units, FULL, seed=4) != first).any()


def test_the_order_of_the_cells_does_not_matter(labels, units):
    order = np.random.default_rng(7).permutation(len(labels))

    shuffled = draw(labels[order], [units[row] for row in order], FULL)

    np.testing.assert_array_equal(shuffled, draw(labels, units, FULL)[order])


def test_classes_that_are_all_too_small_are_refused(labels, units):
    with pytest.raises(InputError, match="1 classes of at least 200 labelled cells") as caught:
        draw(labels, units, replace(FULL, min_class_size=200))
    assert caught.value.field == "min_class_size, test of annotation"
    assert caught.value.file == "tasks.tsv"


def test_splits_do_not_depend_on_the_hash_seed_of_the_process(root):
    code = (
        "import numpy as np; from celllm.splits.cells import stratified;"
        "from celllm.config.tables import Task;"
        "t = Task('t','classification','t','d',None,'random',(0,),.05,0.,.2,5,'clean','macro_f1');"
        "n = [f'cell{i}' for i in range(200)]; l = np.array(['a','b','c','d'] * 50);"
        "print(''.join(stratified(l, n, t, seed=1, file='f')))"
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
    assert "train" in outputs.pop()


DONORS = replace(FULL, split="donors", train=0.9, validation=0.1, test=0.0)


@pytest.fixture
def donors(labels):
    return np.resize(["d2", "d1", "d3"], len(labels))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_donor_is_tested_and_met_nowhere_else(labels, units, donors, seed):
    parts = by_donor(labels, donors, units, DONORS, seed=seed, file="tasks.tsv")

    usable = ~np.isin(labels, ["", "tiny"])
    assert set(donors[parts == "test"]) == {f"d{seed + 1}"}
    assert (parts[usable & (donors == f"d{seed + 1}")] == "test").all()
    assert (parts[usable & (donors != f"d{seed + 1}")] != "unused").all()
    assert (parts[~usable] == "unused").all()


def test_the_other_donors_cells_are_shared_out_by_class(labels, units, donors):
    parts = by_donor(labels, donors, units, DONORS, seed=0, file="tasks.tsv")

    for label in ("T", "B", "NK"):
        mine = (labels == label) & (donors != "d1")
        assert (parts[mine] == "validation").mean() == pytest.approx(0.1, abs=0.03)


def test_a_class_of_the_tested_donor_alone_stays_in_the_test_part(labels, units, donors):
    donors = np.where(labels == "rare", "d1", donors)
    parts = by_donor(labels, donors, units, DONORS, seed=0, file="tasks.tsv")

    assert set(parts[labels == "rare"]) == {"test"}


def test_more_split_seeds_than_donors_are_refused_with_the_donors_named(labels, units, donors):
    with pytest.raises(InputError, match="0-2, one a donor: d1, d2, d3"):
        by_donor(labels, donors, units, DONORS, seed=3, file="tasks.tsv")


def test_a_single_donor_cannot_be_held_out(labels, units, donors):
    with pytest.raises(InputError, match="two donors or more"):
        by_donor(labels, np.full_like(donors, "d1"), units, DONORS, seed=0, file="tasks.tsv")


def test_a_class_left_to_the_others_alone_is_too_little_to_train_on(labels, units, donors):
    donors = np.where(labels == "T", "d1", "d2")
    with pytest.raises(InputError, match="at least 2 classes among the cells of the other donors"):
        by_donor(labels, donors, units, DONORS, seed=1, file="tasks.tsv")
