"""From the gene annotation to simulated files that the rest of the chain can read."""

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.harmonise.symbols import SymbolIndex, map_names
from celllm.harmonise.vocabulary import of_locus_group
from celllm.sources import commands, hgnc, raw, responses
from celllm.sources.readers.h5ad import read_one
from celllm.sources.readers.registry import read_raw


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
