import math

import pytest

from celllm.bench.direction import is_better


@pytest.mark.parametrize(
    ("value", "other", "metric", "better"),
    [
        (0.9, 0.8, "macro_f1", True),
        (0.8, 0.9, "macro_f1", False),
        (0.8, 0.8, "macro_f1", False),
        (0.8, 0.9, "rmse", True),
        (0.9, 0.8, "brier", False),
        (0.1, math.nan, "macro_f1", True),
        (0.9, math.nan, "rmse", True),
        (math.nan, 0.1, "macro_f1", False),
        (math.nan, math.nan, "macro_f1", False),
    ],
)
def test_more_is_better_but_of_errors_and_a_number_beats_none(value, other, metric, better):
    assert is_better(value, other, metric=metric) is better
