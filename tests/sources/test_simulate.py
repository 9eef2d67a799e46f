"""The simulator draws what it says it draws, and leaves files that the rest of the chain can read."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.harmonise.normalise import log_normalised
from celllm.harmonise.symbols import SymbolIndex, map_names
from celllm.harmonise.vocabulary import of_locus_group
from celllm.sources import commands, hgnc, raw, responses, simulate, simulate_lines
from celllm.sources.readers.h5ad import read_one
from celllm.sources.readers.registry import read_raw


@pytest.fixture(scope="module")
def table():
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
def genes(table):
    return simulate.genome(table, np.random.default_rng(0))


def separation(matrix, labels, *, train_share, seed):
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    if train_share < 0.8:
        train, _ = train_test_split(train, train_size=train_share / 0.8, stratify=labels[train], random_state=seed)
    model = LogisticRegression(max_iter=1000).fit(matrix[train], labels[train])
    return f1_score(labels[test], model.predict(matrix[test]), average="macro")


def test_genes_are_coding_ones_and_some_go_by_an_earlier_name_of_theirs_alone(genes, table):
    old = [name for name in genes.names if name.startswith("OLD")]

    assert genes.n_genes == len(set(genes.names)) == 750
    assert 10 <= len(old) <= 50  # 8 % of the half that has one: 30 expected
    assert all(name.startswith("OLD") or name in set(table["symbol"][:800]) for name in genes.names)
    with pytest.raises(ValueError, match="the table has 40"):
        simulate.genome(table.iloc[:40], np.random.default_rng(0))


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


@pytest.fixture
def gene_annotation(root, tmp_path):
    manifest = tmp_path / "hgnc_demo" / "manifest.json"
    manifest.parent.mkdir()
    raw.write("hgnc_demo", [raw.describe(root / "config/demo/hgnc_demo.tsv")], manifest)
    return manifest


def make(gene_annotation, kind, *, folder=None, seed=0):
    dataset = f"simulated_{kind}"
    manifest = (folder or gene_annotation.parents[1]) / dataset / "manifest.json"
    commands.simulate(dataset=dataset, kind=kind, hgnc=gene_annotation, seed=seed, manifest=manifest)
    return raw.read(manifest)


@pytest.mark.parametrize("kind", ["tumour_cells", "drug_cells", "cell_lines"])
def test_the_files_are_called_simulated_and_read_by_the_row_of_the_dataset(gene_annotation, kind, root):
    row = tables.read_datasets(root / "config/datasets.tsv").row(f"simulated_{kind}")

    manifest = make(gene_annotation, kind)
    (cells,) = read_raw(manifest, row)

    assert all(file.name.startswith("simulated_") for file in manifest.files)
    assert row.simulated
    assert {column for column in (row.label_column, row.sample_column) if column} <= set(cells.obs.columns)
    if kind == "cell_lines":
        answers = responses.read_raw(manifest, row)
        assert (answers.simulated, answers.table["drug"].nunique()) == (True, 12)


def test_every_gene_is_found_again_some_by_an_earlier_symbol(gene_annotation, root):
    table = hgnc.read(root / "config/demo/hgnc_demo.tsv")
    names = next(read_one(make(gene_annotation, "drug_cells").only())).names

    mapping = map_names(names, SymbolIndex(table), of_locus_group(table, "protein-coding gene"))

    assert (mapping.index_N >= 0).all()
    assert len(np.unique(mapping.index_N)) == len(names)
    assert 10 <= len(set(names) - set(table["symbol"])) <= 80


def test_datasets_of_one_seed_share_their_genes_and_repeat(gene_annotation, tmp_path):
    made = [
        make(gene_annotation, "drug_cells"),
        make(gene_annotation, "drug_cells", folder=tmp_path / "again"),
        make(gene_annotation, "drug_cells", folder=tmp_path / "other", seed=1),
        make(gene_annotation, "tumour_cells"),
    ]
    first, again, other, tumour = (next(read_one(manifest.only())) for manifest in made)

    np.testing.assert_array_equal(first.matrix.toarray(), again.matrix.toarray())
    assert first.names == again.names == tumour.names
    assert (first.matrix.sum() != other.matrix.sum()) or first.names != other.names
    with pytest.raises(InputError, match="call it simulated_cells"):
        commands.simulate(dataset="cells", kind="drug_cells", hgnc=gene_annotation, seed=0, manifest=tmp_path / "m")
