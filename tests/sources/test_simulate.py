"""The simulator draws what it says it draws."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from celllm.harmonise.normalise import log_normalised
from celllm.sources import simulate, simulate_lines


@pytest.fixture(scope="module")
def hgnc():
    """Coding genes G0…G799, each with an earlier name of its own and one it shares, and some that code nothing."""
    n = 900
    return pd.DataFrame(
        {
            "symbol": [f"G{number}" for number in range(n)],
            "locus_group": np.where(np.arange(n) < 800, "protein-coding gene", "non-coding RNA"),
            "prev_symbol": [["SHARED", f"OLD{number}"] if number % 2 else [f"G{number + 1}"] for number in range(n)],
        },
    )


@pytest.fixture(scope="module")
def genes(hgnc):
    return simulate.genome(hgnc, np.random.default_rng(0))


def separation(matrix, labels, *, train_share, seed):
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    if train_share < 0.8:
        train, _ = train_test_split(train, train_size=train_share / 0.8, stratify=labels[train], random_state=seed)
    model = LogisticRegression(max_iter=1000).fit(matrix[train], labels[train])
    return f1_score(labels[test], model.predict(matrix[test]), average="macro")


def test_genes_are_coding_ones_and_some_go_by_an_earlier_name_of_theirs_alone(genes, hgnc):
    old = [name for name in genes.names if name.startswith("OLD")]

    assert genes.n_genes == len(set(genes.names)) == 750
    assert 10 <= len(old) <= 50  # 8 % of the half that has one: 30 expected
    assert all(name.startswith("OLD") or name in set(hgnc["symbol"][:800]) for name in genes.names)
    with pytest.raises(ValueError, match="the table has 40"):
        simulate.genome(hgnc.iloc[:40], np.random.default_rng(0))


def test_counts_have_the_mean_and_the_variance_of_a_negative_binomial(generator):
    share = np.tile([0.2, 0.8], (20_000, 1))

    counts = simulate.draw_counts(share, np.full(20_000, 100.0), generator).toarray()

    mean = np.array([20.0, 80.0])
    np.testing.assert_allclose(counts.mean(axis=0), mean, rtol=0.02)
    np.testing.assert_allclose(counts.var(axis=0), mean + simulate.DISPERSION * mean**2, rtol=0.06)


def test_tumour_cells_cycle_more_and_have_gained_and_lost_blocks(genes, generator):
    cells = simulate.tumour_cells(genes, 600, generator)
    values = cells.counts.toarray() / cells.counts.sum(axis=1).A1[:, None]
    of_patient = {sample: values[cells.obs["sample"] == sample].mean(axis=0) for sample in cells.obs["sample"].unique()}
    normal = values[cells.obs["disease_state"] == "normal"].mean(axis=0)
    tumour = values[cells.obs["disease_state"] == "cancer"].mean(axis=0)

    assert set(cells.obs["disease_state"]) == {"normal", "cancer"}
    assert 180 <= cells.counts.getnnz(axis=1).mean() <= 320
    assert cells.obs["sample"].str.startswith("simulated_").all()
    assert tumour[genes.proliferation].sum() > 1.4 * normal[genes.proliferation].sum()
    same_type = genes.type_folds.max(axis=0) == 0
    ratio = np.log((of_patient["simulated_patient_1"] + 1e-6) / (of_patient["simulated_patient_2"] + 1e-6))
    by_block = [np.median(ratio[same_type & (genes.block == block)]) for block in range(simulate.N_BLOCKS)]
    assert max(by_block) > 0.25
    assert min(by_block) < -0.25
    assert (np.diff(genes.block) >= 0).all()


def test_drug_responses_are_neither_trivial_nor_hopeless_and_need_data(genes):
    full, few = [], []
    for seed in range(2):
        cells = simulate.drug_cells(genes, 500, np.random.default_rng(seed))
        matrix, labels = log_normalised(cells.counts), cells.obs["response"].to_numpy(str)
        full.append(separation(matrix, labels, train_share=0.8, seed=seed))
        few.append(separation(matrix, labels, train_share=0.05, seed=seed))

    assert 0.82 < np.mean(full) < 0.96
    assert np.mean(few) < np.mean(full) - 0.05


def test_cell_lines_are_bulk_and_most_pairs_are_measured(genes, generator):
    lines, responses = simulate_lines.cell_lines(genes, 80, generator)

    assert lines.counts.sum(axis=1).A1.min() > 5e5
    assert lines.obs.index[0] == "simulated_line_01"
    assert set(responses["line"]) <= set(lines.obs.index)
    assert not responses.duplicated(["line", "drug"]).any()
    assert 0.9 < len(responses) / (80 * 12) < 0.99


def test_lines_respond_alike_to_drugs_of_one_target_beyond_drug_and_line_means(genes):
    _, responses = simulate_lines.cell_lines(genes, 400, np.random.default_rng(1))
    table = responses.pivot_table(index="line", columns="drug", values="response")
    rest = table.sub(table.mean(axis=1), axis=0)

    correlation = rest.corr()

    assert correlation.loc["erlotinib", "gefitinib"] > 0.5
    assert correlation.loc["erlotinib", "olaparib"] < 0.2
    assert table.corr().loc["erlotinib", "olaparib"] > 0.1  # a line is sensitive in general
