"""The split file round-trips and refuses what does not belong to the data."""

import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.splits import format as splits
from celllm.splits.format import Split


@pytest.fixture
def split():
    subsets = np.array(["train", "test", "unused", "train", "validation"])
    return Split("annotation", 3, ["d:a", "d:b", "d:c", "d:d", "d:e"], subsets, provenance={"stage": "make_splits-1"})


def test_a_split_comes_back_as_it_was_written(split, tmp_path):
    splits.write(split, tmp_path / "new" / "seed3.parquet")

    back = splits.read(tmp_path / "new" / "seed3.parquet")

    assert all(getattr(back, name) == getattr(split, name) for name in ("task", "seed", "units", "provenance"))
    np.testing.assert_array_equal(back.subsets, split.subsets)


def test_rows_are_places_in_the_data_whatever_its_order(split):
    units = ["d:e", "d:d", "d:c", "d:b", "d:a"]

    assert split.rows("train", units).tolist() == [1, 4]
    assert split.rows("test", units).tolist() == [3]
    assert split.units_of("train") == ["d:a", "d:d"]


@pytest.mark.parametrize(
    ("units", "found"),
    [
        (["d:a", "d:b", "d:c", "d:d", "d:x"], "d:x not among them"),
        (["d:a", "d:b", "d:c", "d:d"], "5 units"),
    ],
    ids=["another cell", "a cell less"],
)
def test_data_with_other_units_is_refused(split, units, found):
    with pytest.raises(InputError, match=found):
        split.rows("train", units)


@pytest.mark.parametrize(
    ("units", "subsets", "found"),
    [
        (["a", "b"], ["train", "valid"], "valid"),
        (["a", "a"], ["train", "test"], "2 units, 1 different ones"),
        (["a", "b"], ["train"], "1"),
    ],
    ids=["unknown subset", "unit twice", "subset missing"],
)
def test_a_malformed_split_is_not_written(units, subsets, found, tmp_path):
    with pytest.raises(InputError, match=f"found: +{found}"):
        splits.write(Split("t", 0, units, np.array(subsets)), tmp_path / "s.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_another_origin_is_refused(tmp_path):
    pd.DataFrame({"unit": ["a"], "subset": ["train"]}).to_parquet(tmp_path / "s.parquet")

    with pytest.raises(InputError, match="no such key"):
        splits.read(tmp_path / "s.parquet")
