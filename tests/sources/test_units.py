"""Numbers against the units of their row: values, sums, decimals and factors tell what they are; logarithms undone."""

import numpy as np
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources.units import as_units
from celllm.sources.values import check_values, without_log

N_CELLS, N_GENES = 40, 300


def counts():
    generator = np.random.default_rng(3)
    depth = generator.uniform(0.2, 2.0, (N_CELLS, 1)) * generator.gamma(0.3, 3.0, (1, N_GENES))
    return generator.poisson(depth).astype(np.float64)


def normalised(total=1e4):
    found = counts()
    return found / found.sum(axis=1, keepdims=True) * total


def ambient():
    """Counts from which a share of a soup was taken, as SoupX does."""
    found = counts() * 4
    return np.where(found > 0, np.maximum(found - 0.137 * found.mean(axis=0), 0), 0)


def rounded():
    """Counts times a factor a cell, made whole."""
    return np.rint(counts() * np.random.default_rng(5).uniform(1.3, 4.0, (N_CELLS, 1)))


@pytest.mark.parametrize(
    ("matrix", "units", "log", "message"),
    [
        pytest.param(rounded(), "counts", None, "rounded normalised values: .* begin at 2 or more", id="rounded"),
        pytest.param(np.rint(normalised(1e6)), "counts", None, "rounded normalised values: every cell sums", id="CPM"),
        pytest.param(counts() * 3, "counts", None, "counts times 3: all", id="factor"),
        pytest.param(normalised(), "counts", None, "normalised values: every cell sums to 10,000", id="CP10K"),
        pytest.param(np.log1p(normalised()), "counts", None, r"ln\(x\+1\) undone.*10,000", id="ln as counts"),
        pytest.param(np.log2(1 + normalised(1e6)), "counts", None, r"log2\(x\+1\) undone.*1,000,000", id="log2"),
        pytest.param(counts() * (1 + 1e-7), "counts", None, "rounding of floats.*round them", id="float rounding"),
        pytest.param(ambient(), "counts", None, "SoupX", id="ambient"),
        pytest.param(np.log2(1 + normalised()), "cp10k", "ln(x+1)", r"log2\(x\+1\): undone so.*10,000", id="base"),
        pytest.param(np.minimum(counts(), 12), "cp10k", "ln(x+1)", "these are counts and no log", id="counts as logs"),
        pytest.param(np.log1p(normalised(3e3)), "cp10k", "ln(x+1)", "sum to 3,000 each.*not to 10,000", id="total"),
        pytest.param(normalised(1e4), "tpm", None, "sum to 10,000 each, not to 1,000,000", id="CP10K as TPM"),
        pytest.param(counts() * 1e4, "tpm", None, "more than 1,000,000", id="beyond a million"),
        pytest.param(normalised(), "expected_counts", None, "every cell sums to 10,000", id="no expected counts"),
        pytest.param(np.log1p(counts() + 0.3), "counts", "ln(x+1)", "undone no whole numbers", id="no logs of counts"),
        pytest.param(counts(), "tpm", None, "1 the smallest in most cells, so these are counts", id="counts as TPM"),
        pytest.param(counts(), "zscore", None, "no negative value", id="counts as z-scores"),
    ],
)
def test_units_that_a_row_is_wrong_about_are_named(matrix, units, log, message):
    with pytest.raises(InputError, match=rf"(?s)f\.h5ad: units.*{message}"):
        as_units(sparse.csr_matrix(matrix), units, log=log, file="f.h5ad")


@pytest.mark.parametrize(
    ("matrix", "units", "log"),
    [
        (counts(), "counts", None),
        (counts()[:, :150], "counts", None),
        (ambient(), "expected_counts", None),
        (normalised(), "cp10k", None),
        (normalised()[:, :150], "cp10k", None),
        (np.log1p(normalised()), "cp10k", "ln(x+1)"),
        (np.log2(1 + normalised(1e6) / 10)[:, ::2], "tpm", "log2(x/10+1)"),
        (counts()[:3] * 2, "expected_counts", None),
        (np.log1p(counts()).astype(np.float32), "counts", "ln(x+1)"),
        (counts() - counts().mean(axis=0), "zscore", None),
        (np.array([[2**31 - 1, 1]]), "counts", None),
    ],
)
def test_right_units_pass_and_logarithms_are_undone(matrix, units, log):
    given = sparse.csr_matrix(matrix)
    plain = as_units(given, units, log=log, file="f.h5ad")
    assert plain.shape == given.shape
    assert (plain is given) == (log is None)
    assert units != "counts" or (plain.data == np.rint(plain.data)).all()


def test_cells_thinned_to_one_depth_are_counts():
    generator = np.random.default_rng(4)
    thinned = np.array([generator.multinomial(500, row / row.sum()) for row in normalised()])
    as_units(sparse.csr_matrix(thinned), "counts", log=None, file="f.h5ad")


def test_cells_per_hundred_thousand_among_others_become_cells_per_ten_thousand():
    mixed = np.vstack([normalised(), normalised(1e5)])
    found = as_units(sparse.csr_matrix(np.log1p(mixed).round(2)), "cp10k", log="ln(x+1)", file="f.h5ad").toarray()
    assert found.sum(axis=1) == pytest.approx(1e4, rel=0.05)
    assert (found[N_CELLS:] > 0).sum() == (mixed[N_CELLS:] > 0).sum()


@pytest.mark.parametrize(
    ("data", "values", "log", "message"),
    [
        pytest.param([1.0, -2.18], "counts", None, r"negative value -2\.18", id="negative counts"),
        pytest.param([8.4, 0.69], "counts", None, r"log-normalised: max 8\.4, fractional values such as 8", id="logs"),
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
