"""Equal cells are found wherever they are, and a cell is no duplicate of itself."""

import pandas as pd
import pytest

from celllm.bench.overlap import ACROSS, exact_duplicates, leakage, subset_sizes


def cells(**hash_of):
    return pd.DataFrame({"cell_id": list(hash_of), "cell_hash": list(hash_of.values())})


@pytest.mark.parametrize(
    ("corpus", "shards", "wanted"),
    [
        pytest.param({"a": "x", "b": "x", "c": "z"}, {"c": "z"}, (2, 2, []), id="left out"),
        pytest.param({"a": "x", "b": "y", "c": "z"}, {"b": "y", "c": "z"}, (2, 1, ["b"]), id="leaked"),
        pytest.param({"a": "wrong"}, {"a": "x"}, (0, 0, ["a"]), id="wrong column of the aligned cells"),
    ],
)
def test_benchmark_cells_are_counted_before_exclusion_as_left_out_and_named_in_the_shards(corpus, shards, wanted):
    found = leakage({"x", "y"}, corpus=cells(**corpus), shards=cells(**shards))
    assert (found.before, found.left_out, found.in_shards) == wanted


@pytest.mark.parametrize(
    ("hash_of", "names", "subsets", "sizes", "across"),
    [
        pytest.param(
            {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z", "f": "x"},
            "abcdef",
            ["train", "test", "test", "test", "validation", "unused"],
            (6, 5),
            (0, 1, 0),
            id="across subsets and within them",
        ),
        pytest.param(dict.fromkeys("abc", "x"), "abc", ["train", "train", "test"], (3, 3), (0, 1, 0), id="counts once"),
        pytest.param({"a": "x", "b": "y"}, "aab", ["train", "test", "test"], (2, 0), (0, 0, 0), id="a line itself"),
        pytest.param(
            dict.fromkeys("ab", "x"), "aab", ["train", "validation", "test"], (2, 2), (0, 1, 1), id="a line's duplicate"
        ),
    ],
)
def test_duplicates_are_counted(hash_of, names, subsets, sizes, across):
    found = exact_duplicates(hash_of, cells=list(names), subsets=subsets)
    assert (found.n_cells, found.n_duplicates) == sizes
    assert found.across == dict(zip(ACROSS, across, strict=True))


def test_part_sizes_count_units():
    assert subset_sizes(["test", "train", "train"]) == {"test": 1, "train": 2}
