"""Counts are found by their values; what cannot be told apart is shown and refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.harmonise.counts import find_counts

COUNTS = np.random.default_rng(0).poisson(1.5, (200, 30)).astype(np.float32)
LOGGED = np.log1p(COUNTS / COUNTS.sum(1, keepdims=True) * 1e4)
SCALED = (LOGGED - LOGGED.mean(0)) / LOGGED.std(0)


@pytest.mark.parametrize(
    ("matrices", "place"),
    [
        pytest.param({"X": COUNTS}, "X", id="X"),
        pytest.param({"X": LOGGED, "layers:counts": COUNTS}, "layers:counts", id="layer"),
        pytest.param({"X": SCALED, "raw": COUNTS, "layers:log": LOGGED}, "raw", id="raw"),
        pytest.param({"X": COUNTS, "layers:counts": COUNTS.copy()}, "X", id="copies"),
        pytest.param({"X": np.sign(COUNTS), "layers:spliced": COUNTS}, "layers:spliced", id="presence beside counts"),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_the_matrix_that_holds_counts_is_found(matrices, place, form):
    assert find_counts({name: form(matrix) for name, matrix in matrices.items()}, file="my.h5ad").place == place


@pytest.mark.parametrize(
    ("matrices", "asked", "said"),
    [
        pytest.param(
            {"X": LOGGED},
            None,
            r"X .200 x 30.: log-normalised values .ln\(x\+1\) undone, every cell sums to 10,000.: .*141.195",
            id="none",
        ),
        pytest.param(
            {"X": SCALED, "raw": LOGGED}, None, r"X .*scaled values.*\n.*raw .*log-normalised", id="none of two"
        ),
        pytest.param({"X": COUNTS * (1 + 1e-6)}, None, r"numpy\.rint", id="rounding of floats"),
        pytest.param({"X": np.where(COUNTS == 3, np.nan, COUNTS)}, None, "fill_value=0", id="missing"),
        pytest.param({"X": COUNTS[:, :9], "raw": COUNTS}, None, "--counts X or --counts raw", id="several"),
        pytest.param({"X": COUNTS, "layers:log": LOGGED}, "layers:log", "layers:log", id="asked for, no counts"),
        pytest.param({"X": COUNTS}, "layers:counts", "name one: --counts X", id="asked for, not there"),
        pytest.param({"X": np.vstack([COUNTS, COUNTS + 0.5])}, None, "mixed values", id="the last cells"),
    ],
)
def test_what_holds_no_counts_or_could_is_shown_and_refused(matrices, asked, said):
    with pytest.raises(InputError, match=said):
        find_counts(matrices, file="my.h5ad", asked=asked)
