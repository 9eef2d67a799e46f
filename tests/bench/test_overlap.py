"""Equal cells are found wherever they are, and a cell is no duplicate of itself."""

import pandas as pd

from celllm.bench.overlap import exact_duplicates, leakage, subset_sizes


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


def test_duplicates_are_counted_across_subsets_and_within_them():
    hash_of = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z", "f": "x"}
    found = exact_duplicates(
        hash_of, cells=list("abcdef"), subsets=["train", "test", "test", "test", "validation", "unused"]
    )
    assert (found.n_cells, found.n_duplicates) == (6, 5)
    assert found.across == {("validation", "train"): 0, ("test", "train"): 1, ("test", "validation"): 0}


def test_a_cell_with_many_duplicates_in_training_counts_once():
    hash_of = dict.fromkeys("abc", "x")
    found = exact_duplicates(hash_of, cells=list("abc"), subsets=["train", "train", "test"])
    assert found.across["test", "train"] == 1


def test_a_line_that_stands_in_several_subsets_is_no_duplicate_of_itself():
    found = exact_duplicates({"a": "x", "b": "y"}, cells=["a", "a", "b"], subsets=["train", "test", "test"])
    assert (found.n_cells, found.n_duplicates) == (2, 0)
    assert found.across["test", "train"] == 0


def test_a_duplicate_of_a_line_in_several_subsets_is_found_in_each():
    found = exact_duplicates({"a": "x", "b": "x"}, cells=["a", "a", "b"], subsets=["train", "validation", "test"])
    assert found.across == {("validation", "train"): 0, ("test", "train"): 1, ("test", "validation"): 1}


def test_part_sizes_count_units():
    assert subset_sizes(["test", "train", "train"]) == {"test": 1, "train": 2}
