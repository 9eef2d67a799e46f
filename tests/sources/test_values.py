"""Numbers at the door: what they are said to be, or refused; and logarithms undone."""

import numpy as np
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources.values import check_values, without_log


@pytest.mark.parametrize(
    ("data", "values", "log", "message"),
    [
        pytest.param([1.0, -2.18], "counts", None, r"negative value -2\.18", id="negative counts"),
        pytest.param(
            [8.4, 0.69],
            "counts",
            None,
            r"log-normalised: max 8\.4, fractional values such as 8\.4",
            id="logs as counts",
        ),
        pytest.param([8000.5, 1.0], "counts", None, r"not whole numbers: max 8000\.5", id="TPM as counts"),
        pytest.param([1.0, -1.0], "tpm", None, "negative value", id="negative TPM"),
        pytest.param([9.7, 0.3], "tpm", None, r"log-normalised values: the largest is 9\.7", id="logs as TPM"),
        pytest.param([9.7, 0.3], "cp10k", None, "log-normalised values", id="logs as CP10K"),
        pytest.param([812.0, 0.3], "tpm", "log2(x+1)", r"values up to 812\.0, too large for a log", id="TPM as logs"),
        pytest.param([1.0, np.nan], "zscore", None, "1 of 2 values not a finite number", id="nan"),
        pytest.param([1.0, np.inf], "counts", None, "1 of 2 values not a finite number", id="infinite"),
        pytest.param([2**31], "counts", None, "a count of 2147483648, beyond the largest", id="beyond 32 bits"),
        pytest.param([2.0**40], "counts", None, "a count of 1099511627776, beyond", id="beyond 32 bits, as float"),
    ],
)
def test_numbers_that_are_not_what_they_are_said_to_be_are_refused(data, values, log, message):
    with pytest.raises(InputError, match=rf"(?s)f\.h5ad: X.*{message}.*config/datasets\.tsv"):
        check_values(np.array(data), values, file="f.h5ad", field="X", log=log)


@pytest.mark.parametrize(
    ("data", "values", "log"),
    [
        ([0.0, 3.0], "counts", None),
        ([2**31 - 1], "counts", None),
        ([0.5, 800.0], "tpm", None),
        ([0.5, 1.5], "expected_counts", None),
        ([0.5, 9.0], "tpm", "log2(x+1)"),
        ([-3.2, 1.0], "zscore", None),
        ([], "counts", None),
    ],
)
def test_numbers_that_can_be_what_they_are_said_to_be_pass(data, values, log):
    check_values(np.array(data), values, file="f.h5ad", field="X", log=log)


def test_small_numbers_that_are_no_source_s_own_are_no_logarithms():
    check_values(np.array([0.5]), "tpm", file="f.h5ad", field="X", is_source=False)


@pytest.mark.parametrize(
    ("log", "taken"),
    [
        ("log2(x+1)", lambda x: np.log2(x + 1)),
        ("ln(x+1)", np.log1p),
        ("log10(x+1)", lambda x: np.log10(x + 1)),
        ("log2(x/10+1)", lambda x: np.log2(x / 10 + 1)),
    ],
)
def test_an_undone_logarithm_gives_the_numbers_back(log, taken):
    plain = np.array([[0.0, 0.25, 3.0], [12_000.0, 0.0, 1e-3]])
    undone = without_log(sparse.csr_matrix(taken(plain)), log)
    np.testing.assert_allclose(undone.toarray(), plain, rtol=1e-12)
    assert undone.nnz == 4


@pytest.mark.parametrize("log", ["log(x+1)", "log2(x)", "log2(x/0.1+1)", "sqrt(x)"])
def test_a_transformation_that_cannot_be_undone_is_refused(log):
    with pytest.raises(ValueError, match="not a logarithm"):
        without_log(sparse.csr_matrix((1, 1)), log)
