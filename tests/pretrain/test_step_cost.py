"""`step_cost.tsv` round-trips, and refuses what it should."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.pretrain import step_cost

ROWS = [
    (16, "divided", 1.5, 0.5, True),
    (16, "undivided", 1.25, 2.0, True),
    (64, "undivided", math.nan, math.nan, False),
]


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = pd.DataFrame(ROWS, columns=list(step_cost.COLUMNS))
    step_cost.write(table.iloc[::-1], tmp_path / "cost.tsv")
    pd.testing.assert_frame_equal(step_cost.read(tmp_path / "cost.tsv"), table)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("16\tdivided\t\t0.5\tyes", "an empty value"),
        ("16\tby hand\t1\t0.5\tyes", "by hand"),
        ("16\tdivided\t1\t0.5\tmaybe", "yes or no"),
        ("few\tdivided\t1\t0.5\tyes", "few"),
    ],
    ids=["fits without seconds", "unknown mode", "unknown answer", "no number"],
)
def test_a_wrong_row_is_refused(tmp_path, row, message):
    (tmp_path / "cost.tsv").write_text("\t".join(step_cost.COLUMNS) + "\n" + row + "\n")
    with pytest.raises(InputError, match=message):
        step_cost.read(tmp_path / "cost.tsv")
