"""Scores of positives against those of negatives."""

import numpy as np
import pytest

from celllm.base.ranking import separation


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], (1.0, 1.0)),
        ([0.0, 0.0], [0.0, 0.0], (0.5, 0.5)),
        ([3.0, 1.0], [2.0, 0.0], (0.75, (1 + 2 / 3) / 2)),  # ranked + - + -: three of four pairs are in order
    ],
    ids=["apart", "all equal", "one pair in the wrong order"],
)
def test_the_area_is_the_share_of_pairs_in_order(positive, negative, expected):
    assert separation(np.array(positive), np.array(negative)) == pytest.approx(expected)
