"""Splits: stratified, disjoint, fixed by the seed, and with one test subset for every regime."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.splits.cells import by_donor, stratified

SIZES = {"T": 300, "B": 120, "NK": 60, "rare": 12, "tiny": 9, "": 40}
LABELS = np.random.default_rng(1).permutation(np.repeat(list(SIZES), list(SIZES.values())))
UNITS = [f"cells:{number:04d}" for number in range(len(LABELS))]
DONORS = np.resize(["d2", "d1", "d3"], len(LABELS))
IS_USABLE = ~np.isin(LABELS, ["", "tiny"])
PROGRAM = """
import numpy as np
from celllm.config.tables import Task
from celllm.splits.cells import stratified
from celllm.splits.pairs import divide
task = Task('t', 'classification', 't', 'd', None, 'random', (0,), .05, 0., .2, 5, 'clean', 'macro_f1')
print(*stratified(np.array(list('abcd' * 50)), [f'cell{i}' for i in range(200)], task, seed=1))
task = Task('t', 'regression', 't', 'd', 'd', 'both', (0,), .5, .2, .3, 0, 'clean', 'pearson')
drugs = np.tile([f'd{i}' for i in range(10)], 20)
print(*divide(np.repeat([f'l{i}' for i in range(20)], 10), drugs, drugs, task, seed=1))
"""


@pytest.fixture
def split(cells_task):
    def make(seed=0, order=slice(None), **changes):
        task = replace(cells_task, **{"min_class_size": 10, **changes})
        return stratified(LABELS[order], list(np.array(UNITS)[order]), task, seed=seed)

    return make


@pytest.fixture
def held_out(cells_task):
    task = replace(cells_task, split="donors", train=0.9, validation=0.1, test=0.0, min_class_size=10)
    return lambda seed, donors=DONORS: by_donor(LABELS, donors, UNITS, task, seed=seed)


def test_every_class_has_nearly_its_share_in_every_subset_and_no_usable_cell_is_left_over(split):
    subsets = split()

    for label in ("T", "B", "NK", "rare"):
        for subset, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
            assert abs(np.sum((label == LABELS) & (subsets == subset)) - share * SIZES[label]) <= 1.01
    np.testing.assert_array_equal(subsets != "unused", IS_USABLE)


def test_few_shot_trains_on_a_share_of_all_cells_and_is_tested_on_those_of_full_training(split):
    few = split(train=0.05, validation=0.0)

    np.testing.assert_array_equal(split() == "test", few == "test")
    assert [np.sum(few == subset) for subset in ("train", "validation", "test")] == [25, 0, 98]
    assert set(few[~IS_USABLE]) == {"unused"}
    for seed in range(5):
        assert set(LABELS[split(seed, train=0.01, validation=0.0) == "train"]) == {"T", "B", "NK", "rare"}
    with pytest.raises(
        InputError, match=r"min_class_size, test of types\n(?s:.*)1 classes of at least 200 labelled cells"
    ):
        split(min_class_size=200)


def test_splits_depend_on_the_seed_and_not_on_the_order_of_cells_or_the_hash_seed_of_the_process(split, root):
    order = np.random.default_rng(7).permutation(len(LABELS))
    np.testing.assert_array_equal(split(3, order), split(3)[order])
    assert (split(4) != split(3)).any()
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
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
def test_one_donor_is_tested_and_met_nowhere_else(held_out, seed):
    subsets, is_tested = held_out(seed), f"d{seed + 1}" == DONORS

    np.testing.assert_array_equal(subsets == "test", IS_USABLE & is_tested)
    np.testing.assert_array_equal(subsets != "unused", IS_USABLE)
    for label in ("T", "B", "NK"):
        assert (subsets[(label == LABELS) & ~is_tested] == "validation").mean() == pytest.approx(0.1, abs=0.03)


def test_a_class_of_the_tested_donor_alone_is_tested_and_cells_of_no_known_donor_take_no_part(held_out):
    assert set(held_out(0, np.where(LABELS == "rare", "d1", DONORS))[LABELS == "rare"]) == {"test"}
    donors = np.where(DONORS == "d3", "", DONORS)
    assert set(held_out(1, donors)[donors == ""]) == {"unused"}


@pytest.mark.parametrize(
    ("donors", "seed", "message"),
    [
        pytest.param(DONORS, 3, "0-2, one a donor: d1, d2, d3", id="more seeds than donors"),
        pytest.param(np.where(DONORS == "d3", "", DONORS), 2, "0-1, one a donor: d1, d2", id="a donor not known"),
        pytest.param(np.full_like(DONORS, "d1"), 0, "two donors or more", id="one donor"),
        pytest.param(np.where(LABELS == "T", "d1", "d2"), 1, "at least 2 classes among", id="one class to train on"),
    ],
)
def test_donors_that_cannot_be_held_out_are_refused(held_out, donors, seed, message):
    with pytest.raises(InputError, match=message):
        held_out(seed, donors)
