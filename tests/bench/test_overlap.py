"""Equal cells are found wherever they are, and a cell is no twin of its own."""

import pandas as pd

from celllm.bench.overlap import leakage, part_sizes, twins


def cells(**hash_of):
    return pd.DataFrame({"cell_id": list(hash_of), "cell_hash": list(hash_of.values())})


def test_a_benchmark_cell_is_counted_before_exclusion_and_as_left_out():
    found = leakage({"x", "y"}, corpus=cells(a="x", b="x", c="z"), shards=cells(c="z"))
    assert (found.before, found.left_out, found.in_shards) == (2, 2, [])


def test_a_leaked_cell_is_named():
    found = leakage({"x", "y"}, corpus=cells(a="x", b="y", c="z"), shards=cells(b="y", c="z"))
    assert (found.before, found.left_out, found.in_shards) == (2, 1, ["b"])


def test_a_leaked_cell_is_found_by_its_counts_where_the_column_of_the_aligned_cells_is_wrong():
    found = leakage({"x"}, corpus=cells(a="wrong"), shards=cells(a="x"))
    assert (found.before, found.in_shards) == (0, ["a"])


def test_twins_are_counted_across_parts_and_within_them():
    hash_of = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z", "f": "x"}
    found = twins(hash_of, cells=list("abcdef"), parts=["train", "test", "test", "test", "validation", "unused"])
    assert (found.n_cells, found.n_twins) == (6, 5)
    assert found.across == {("validation", "train"): 0, ("test", "train"): 1, ("test", "validation"): 0}


def test_a_cell_with_many_twins_in_training_counts_once():
    hash_of = dict.fromkeys("abc", "x")
    found = twins(hash_of, cells=list("abc"), parts=["train", "train", "test"])
    assert found.across["test", "train"] == 1


def test_a_line_that_stands_in_several_parts_is_no_twin_of_its_own():
    found = twins({"a": "x", "b": "y"}, cells=["a", "a", "b"], parts=["train", "test", "test"])
    assert (found.n_cells, found.n_twins) == (2, 0)
    assert found.across["test", "train"] == 0


def test_a_twin_of_a_line_in_several_parts_is_found_in_each():
    found = twins({"a": "x", "b": "x"}, cells=["a", "a", "b"], parts=["train", "validation", "test"])
    assert found.across == {("validation", "train"): 0, ("test", "train"): 1, ("test", "validation"): 1}


def test_part_sizes_count_units():
    assert part_sizes(["test", "train", "train"]) == {"test": 1, "train": 2}
