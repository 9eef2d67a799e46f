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
    pd.DataFrame({"unit": ["a"], "subset": ["train"]}).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(InputError, match="no such key"):
        splits.read(tmp_path / "s.parquet")


def test_rows_are_places_in_the_data_whatever_its_order_and_other_units_are_refused(split):
    units = ["d:e", "d:d", "d:c", "d:b", "d:a"]

    assert split.rows("train", units).tolist() == [1, 4]
    assert split.units_of("train") == ["d:a", "d:d"]
    for others, found in ((["d:x", *units[1:]], "d:x not among them"), (units[1:], "5 units")):
        with pytest.raises(InputError, match=found):
            split.rows("train", others)


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
