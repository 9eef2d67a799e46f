"""Pairs of line and drug: what is held out is held out whole, and nothing hangs on the order of the pairs."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.config.tables import Task
from celllm.splits import pairs as pair_splits
from celllm.splits.pairs import over_both, over_drugs, over_lines, over_pairs

TASK = Task(
    task="response",
    kind="regression",
    title="Response",
    dataset="lines",
    response="lines",
    split="pairs",
    split_seeds=(0, 1, 2),
    train=0.8,
    validation=0.1,
    test=0.1,
    min_class_size=0,
    protocol="clean",
    headline="pearson",
)
WIDE = replace(TASK, split="both", train=0.6, validation=0.2, test=0.2)
LINES = np.repeat([f"line{number}" for number in range(50)], 20)
DRUGS = np.tile([f"drug{number}" for number in range(20)], 50)
PARTS = ("train", "validation", "test")
RULES = {
    "pairs": lambda lines, drugs, seed: over_pairs(lines, drugs, TASK, seed=seed, file="t"),
    "lines": lambda lines, drugs, seed: over_lines(lines, TASK, seed=seed, file="t"),
    "drugs": lambda lines, drugs, seed: over_drugs(drugs, TASK, seed=seed, file="t"),
    "both": lambda lines, drugs, seed: over_both(lines, drugs, WIDE, seed=seed, file="t"),
}


def sizes(parts):
    return [int(np.sum(parts == part)) for part in (*PARTS, "unused")]


def names_by_part(names, parts):
    return {part: set(names[parts == part]) for part in PARTS}


def test_pairs_are_divided_eight_to_one_to_one_and_share_lines_and_drugs():
    parts = RULES["pairs"](LINES, DRUGS, 0)

    assert sizes(parts) == [800, 100, 100, 0]
    for names in (LINES, DRUGS):
        by_part = names_by_part(names, parts)
        assert by_part["train"] & by_part["test"]


@pytest.mark.parametrize(("rule", "names", "wanted"), [("lines", LINES, [40, 5, 5]), ("drugs", DRUGS, [16, 2, 2])])
def test_whole_lines_or_whole_drugs_are_in_one_part(rule, names, wanted):
    by_part = names_by_part(names, RULES[rule](LINES, DRUGS, 0))

    assert [len(by_part[part]) for part in PARTS] == wanted
    assert sum(wanted) == len(set.union(*by_part.values()))


def test_a_pair_of_both_has_line_and_drug_in_its_part_and_any_other_pair_is_unused():
    parts = RULES["both"](LINES, DRUGS, 0)

    assert sizes(parts) == [30 * 12, 10 * 4, 10 * 4, 1000 - 360 - 80]
    lines, drugs = names_by_part(LINES, parts), names_by_part(DRUGS, parts)
    for names, by_part in ((LINES, lines), (DRUGS, drugs)):
        assert sum(len(by_part[part]) for part in PARTS) == len(set(names)) == len(set.union(*by_part.values()))
    mixed = np.array(
        [
            not any(line in lines[part] and drug in drugs[part] for part in PARTS)
            for line, drug in zip(LINES, DRUGS, strict=True)
        ]
    )
    np.testing.assert_array_equal(parts == "unused", mixed)


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_the_pairs_does_not_matter(rule, generator):
    order = generator.permutation(len(LINES))

    np.testing.assert_array_equal(RULES[rule](LINES[order], DRUGS[order], 2), RULES[rule](LINES, DRUGS, 2)[order])


@pytest.mark.parametrize("rule", RULES)
def test_seeds_differ_and_one_seed_repeats(rule):
    np.testing.assert_array_equal(RULES[rule](LINES, DRUGS, 3), RULES[rule](LINES, DRUGS, 3))
    assert (RULES[rule](LINES, DRUGS, 3) != RULES[rule](LINES, DRUGS, 4)).any()


def test_the_lines_of_both_are_those_of_lines():
    # one seed holds out the same lines whether the drugs are known or not, so the two tasks can be compared
    by_line = over_lines(LINES, WIDE, seed=1, file="t")
    both = over_both(LINES, DRUGS, WIDE, seed=1, file="t")

    assert set(by_line[both == "test"]) == {"test"}


def test_two_names_of_one_structure_are_held_out_together(pairs):
    # caffeine is also screened as "ethanol": three drugs, two structures
    twins = replace(pairs, smiles=[pairs.smiles[0], pairs.smiles[1], pairs.smiles[1]])
    task = replace(TASK, split="drugs", train=0.5, validation=0, test=0.5)
    for seed in range(6):
        parts = pair_splits.divide(twins, task, seed=seed, file="t")
        assert set(parts[pairs.drug == 1]) == set(parts[pairs.drug == 2]) != set(parts[pairs.drug == 0])


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_of_the_task_is_the_one_that_divides(pairs, rule):
    task = replace(TASK, split=rule, train=0.34, validation=0.33, test=0.33)
    lines = pairs.line_ids[pairs.line]
    names, structures = (np.array(values)[pairs.drug] for values in (pairs.drugs, pairs.smiles))
    wanted = {
        "pairs": over_pairs(lines, names, task, seed=5, file="t"),
        "lines": over_lines(lines, task, seed=5, file="t"),
        "drugs": over_drugs(structures, task, seed=5, file="t"),
        "both": over_both(lines, structures, task, seed=5, file="t"),
    }

    np.testing.assert_array_equal(pair_splits.divide(pairs, task, seed=5, file="t"), wanted[rule])


def test_a_rule_for_cells_is_refused(pairs):
    with pytest.raises((InputError, ValueError), match="pairs, lines, drugs"):
        pair_splits.divide(pairs, replace(TASK, split="random"), seed=0, file="t")


def test_one_drug_alone_cannot_be_held_out():
    with pytest.raises(InputError, match="at least one of the drugs") as caught:
        over_drugs(["aspirin"] * 30, TASK, seed=0, file="tasks.tsv")
    assert caught.value.field == "validation of response"
    assert caught.value.found == "none: the share 0.1 of 1"


@pytest.mark.parametrize("n_lines", [1, 2, 4])
def test_fewer_lines_than_parts_are_refused(n_lines):
    with pytest.raises(InputError, match="at least one of the cell lines"):
        over_lines([f"line{number}" for number in range(n_lines)] * 5, TASK, seed=0, file="t")


def test_a_part_whose_share_is_zero_may_be_empty():
    parts = over_lines(LINES, replace(TASK, train=0.2, validation=0, test=0.8), seed=0, file="t")

    assert [size / 20 for size in sizes(parts)] == [10, 0, 40, 0]


def test_a_sparse_table_that_leaves_both_without_a_test_pair_is_refused():
    # every line met one drug only: a test line and a test drug need not meet
    lines, drugs = np.array([f"l{number}" for number in range(10)]), np.array([f"d{number}" for number in range(10)])
    task = replace(TASK, split="both", train=0.8, validation=0, test=0.2)
    lines_of_test = set(lines[over_lines(lines, task, seed=0, file="t") == "test"])
    free = [drug for drug in drugs if drug not in set(drugs[over_drugs(drugs, task, seed=0, file="t") == "test"])]
    taken = [drug for drug in drugs if drug not in free]
    known = [line for line in lines if line not in lines_of_test]
    met = list(zip([*sorted(lines_of_test), *known], [*free[:2], *taken, *free[2:]], strict=True))

    with pytest.raises(InputError, match="test of response") as caught:
        over_both([line for line, _ in met], [drug for _, drug in met], task, seed=0, file="t")
    assert caught.value.found == "2 pairs of its lines, 2 of its drugs"


def test_splits_do_not_depend_on_the_hash_seed_of_the_process(root):
    code = (
        "from celllm.splits.pairs import over_both;"
        "from celllm.config.tables import Task;"
        "t = Task('t','regression','t','d','d','both',(0,),.5,.2,.3,0,'clean','pearson');"
        "l = [f'l{i}' for i in range(20) for _ in range(10)]; d = [f'd{i}' for i in range(10)] * 20;"
        "print(''.join(over_both(l, d, t, seed=1, file='f')))"
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
