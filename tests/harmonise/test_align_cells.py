"""Raw cells to the vocabulary's axis, by the command that the workflow calls."""

import dataclasses

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.harmonise import cells as counts
from celllm.harmonise import harmonisation, vocabulary
from celllm.harmonise.align import Aligner
from celllm.harmonise.commands import align_cells, build_vocabulary
from celllm.harmonise.symbols import SymbolIndex
from celllm.sources import commands as sources
from celllm.sources import hgnc, raw
from celllm.sources.readers.cells import in_pieces
from celllm.sources.readers.registry import read_raw

REAL = {
    # Least share of counts on the vocabulary, as measured on the harmonised axis of HGNC 2024, protein-coding.
    "pbmc1k_10x_v2": 0.938,
    "pbmc1k_10x_v3": 0.936,
    "pbmc1k_10x_5prime": 0.958,
    "pbmc_multistudy": 0.929,
    "pbmc_kang2018_ifnb": 0.935,
    "embryo_yan2013": 0.925,
    "skin_ctcl_gse128531": 0.944,
    "tumour_breast_tnbc_copykat": 0.954,
    "tumour_lung_nsclc_zilionis": 0.917,
    "cellline_lung_scmixology_celseq2_3cl": 0.856,
    "cellline_lung_scmixology_dropseq_3cl": 0.864,
    # total RNA: 19 % of its counts lie on ribosomal, long non-coding and pseudogenes
    "cellline_lung_scmixology_celseq2_5cl": 0.785,
    "cellline_liposarcoma_mls_g1": 0.925,
    "pbmc_zheng2017_facs": 0.964,
    "pbmc3k_10x": 0.964,
    "tumour_pancreas_pdac_moncada": 0.961,
    "pancreas_baron_subset": 0.952,
    "drug_pc9_erlotinib_gse149383": 0.932,
    "ccle_706": 0.998,
}


@pytest.fixture(scope="module")
def demo(root, tmp_path_factory):
    """A folder with the demo's raw files and vocabulary."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for dataset in ("hgnc_demo", "pbmc68k_reduced"):
            manifest = folder / dataset / "manifest.json"
            rows = list(tables.read_files("config/files.tsv").of(dataset))
            row = tables.read_datasets("config/datasets.tsv").row(dataset)
            sources.fetch(dataset=row, files=rows, manifest=manifest)
    build_vocabulary.main(["--hgnc", str(folder / "hgnc_demo/manifest.json"), "--out", str(folder / "genes.tsv")])
    return folder


def run(root, demo, out, *, dataset="pbmc68k_reduced", manifest=None, threshold="0.8"):
    align_cells.main(
        [
            "--dataset",
            dataset,
            "--datasets",
            str(root / "config/datasets.tsv"),
            "--raw",
            str(manifest or demo / dataset / "manifest.json"),
            "--hgnc",
            str(demo / "hgnc_demo/manifest.json"),
            "--vocabulary",
            str(demo / "genes.tsv"),
            "--threshold",
            threshold,
            "--cells",
            str(out / "cells.h5ad"),
            "--harmonisation",
            str(out / "h.json"),
        ],
    )
    genes = vocabulary.read(demo / "genes.tsv")
    return counts.read(out / "cells.h5ad", vocabulary=genes), harmonisation.read(out / "h.json")


def bundled(demo, root):
    row = tables.read_datasets(root / "config/datasets.tsv").row("pbmc68k_reduced")
    (source,) = read_raw(raw.read(demo / "pbmc68k_reduced/manifest.json"), row)
    return source, row


def aligned(pieces, row, *, index, genes, threshold, **options):
    """Matrix, obs and report of pieces taken in turn."""
    aligner = Aligner(row, index=index, vocabulary=genes, **options)
    matrices, tables_of_cells = zip(*map(aligner.add, pieces), strict=True)
    report = aligner.report(threshold=threshold)
    return sparse.vstack(matrices, format="csr"), pd.concat(tables_of_cells), report


def raw_cells(folder, matrix, names, barcodes=None, **obs):
    barcodes = barcodes or [f"c{i}" for i in range(len(matrix))]
    made = ad.AnnData(
        sparse.csr_matrix(np.array(matrix, dtype=np.float32)),
        pd.DataFrame(obs, index=barcodes),
        pd.DataFrame(index=names),
    )
    folder.mkdir(exist_ok=True)
    made.write_h5ad(folder / "cells.h5ad")
    raw.write("d", [raw.describe(folder / "cells.h5ad")], folder / "manifest.json")
    return folder / "manifest.json"


def test_the_demo_cells_stand_on_the_vocabulary(root, demo, tmp_path):
    cells, report = run(root, demo, tmp_path)
    source, _ = bundled(demo, root)
    assert cells.shape == (700, 738)
    assert report.mapped_share_of_counts == pytest.approx(cells.X.sum() / source.matrix.sum())
    assert report.mapped_share_of_counts > 0.98
    assert report.by_route["previous"] == 47
    # a gene that has changed its symbol keeps its counts
    old = source.matrix[:, [source.names.index("FYB")]].toarray().ravel()
    assert old.sum() > 0
    assert (cells[:, "FYB1"].X.toarray().ravel() == old).all()
    assert cells.obs_names[0] == f"pbmc68k_reduced:{source.obs.index[0]}"
    assert cells.obs["label"].iloc[0] == "CD14+ Monocyte"
    assert (cells.obs["n_counts"].to_numpy() == cells.X.sum(axis=1).A1).all()
    assert cells.obs["cell_hash"].nunique() == 700


@pytest.fixture
def demo_genes(root, demo):
    index = SymbolIndex(hgnc.read(root / "config/demo/hgnc_demo.tsv"))
    return {"index": index, "genes": vocabulary.read(demo / "genes.tsv")}


def test_cells_with_too_few_genes_at_the_source_are_dropped_and_counted(root, demo, demo_genes):
    source, row = bundled(demo, root)
    n_genes = (source.matrix.toarray() > 0).sum(axis=1)
    limit = int(np.median(n_genes))
    strict = dataclasses.replace(row, min_genes=limit)
    matrix, _, report = aligned([source], strict, **demo_genes, threshold=0.8)
    assert matrix.shape[0] == report.cells_kept == (n_genes >= limit).sum()
    (sample,) = report.samples.values()
    assert report.cells_dropped == sample.too_few_genes == (n_genes < limit).sum() > 0
    with pytest.raises(InputError, match="cells with at least 9999 expressed genes"):
        aligned([source], dataclasses.replace(row, min_genes=9999), **demo_genes, threshold=0.8)


def test_empty_cells_are_told_apart_from_shallow_ones_by_sample(root, demo_genes, tmp_path):
    row = tables.read_datasets(root / "config/datasets.tsv").row("simulated_drug_cells")
    matrix = [[2, 1, 0], [0, 0, 0], [0, 4, 0], [0, 0, 0], [1, 1, 1]]
    samples = ["a", "a", "a", "b", "b"]
    raw_cells(tmp_path / "d", matrix, ["FYB", "CD3D", "CD79A"], response=["sensitive"] * 5, sample=samples)
    pieces = read_raw(raw.read(tmp_path / "d/manifest.json"), dataclasses.replace(row, min_genes=2))
    _, obs, report = aligned(pieces, dataclasses.replace(row, min_genes=2), **demo_genes, threshold=0.8)
    assert report.samples["a"] == harmonisation.SampleCells(kept=1, empty=1, too_few_genes=1)
    assert report.samples["b"] == harmonisation.SampleCells(kept=1, empty=1, too_few_genes=0)
    assert list(obs.index) == ["simulated_drug_cells:c0", "simulated_drug_cells:c4"]


def test_cells_of_several_files_are_told_apart_by_their_sample(root, demo, demo_genes):
    source, row = bundled(demo, root)
    files = [dataclasses.replace(source, sample=sample) for sample in ("s1", "s2")]
    _, obs, report = aligned(files, row, **demo_genes, threshold=0.8)
    assert obs.index[0].startswith("pbmc68k_reduced:s1:")
    assert obs["sample"].iloc[-1] == obs["donor"].iloc[-1] == "s2"
    assert obs.index.is_unique
    assert {name: sample.kept for name, sample in report.samples.items()} == {"s1": 700, "s2": 700}


def test_a_cell_name_that_comes_twice_stops_the_command_and_leaves_nothing(root, demo, tmp_path):
    columns = {"response": ["sensitive"] * 2, "sample": ["s"] * 2}
    with pytest.warns(UserWarning, match="not unique"):
        manifest = raw_cells(tmp_path / "d", [[6], [5]], ["FYB"], barcodes=["x", "x"], **columns)
    with pytest.raises(InputError, match=r"(?s)cell names.*simulated_drug_cells:x more than once"):
        run(root, demo, tmp_path, dataset="simulated_drug_cells", manifest=manifest)
    assert {path.name for path in tmp_path.iterdir()} == {"d"}


@pytest.mark.parametrize("size", [1, 7, 300, 700])
def test_pieces_of_any_size_give_the_same_cells_and_report(root, demo, demo_genes, size):
    source, row = bundled(demo, root)
    whole = aligned([source], row, **demo_genes, threshold=0.8)
    cut = aligned(in_pieces(source, size), row, **demo_genes, threshold=0.8)
    assert (whole[0] != cut[0]).nnz == 0
    pd.testing.assert_frame_equal(whole[1], cut[1])
    assert whole[2] == cut[2]


def test_names_of_one_gene_that_sum_beyond_32_bits_are_refused(root, demo, tmp_path):
    manifest = raw_cells(tmp_path / "d", [[2**30, 2**30]], ["FYB", "FYB1"], response=["sensitive"], sample=["s"])
    with pytest.raises(InputError, match=r"(?s)summed over its names.*a count of 2147483648, beyond"):
        run(root, demo, tmp_path, dataset="simulated_drug_cells", manifest=manifest)


def test_labels_of_the_source_are_one_each_under_the_rule_by_source(root, demo, demo_genes):
    source, row = bundled(demo, root)
    lists = dataclasses.replace(row, malignancy="samples", source_malignancy="normal")
    told = dataclasses.replace(source, sample="s", facts={"malignancy": "tumour", "study": "SRA1"})
    for rule, expected in (("metadata", 1), ("by_source", 0)):
        _, obs, _ = aligned([told], lists, **demo_genes, threshold=0.8, malignancy_rule=rule)
        assert set(obs["is_malignant"]) == {expected}
        assert set(obs["study"]) == {"SRA1"}
    with pytest.raises(InputError, match=r"(?s)malignancy of sample s.*snakemake --forcerun fetch"):
        aligned([dataclasses.replace(told, facts={})], lists, **demo_genes, threshold=0.8)


def test_a_label_map_renames_takes_away_and_refuses_what_it_does_not_know(root, demo, demo_genes):
    source, row = bundled(demo, root)
    names = sorted(set(source.obs["bulk_labels"]))
    mapped = dataclasses.replace(row, label_map={**dict.fromkeys(names, "cell"), names[0]: None})
    _, obs, _ = aligned([source], mapped, **demo_genes, threshold=0.8)
    assert ((obs["label"] == "").to_numpy() == (source.obs["bulk_labels"] == names[0]).to_numpy()).all()
    assert set(obs["label"]) == {"cell", ""}
    with pytest.raises(InputError, match=rf"(?s)label .*label_map.*{names[-1][:4]}"):
        aligned([source], dataclasses.replace(row, label_map={names[0]: "a"}), **demo_genes, threshold=0.8)


def test_too_few_mapped_counts_show_the_names_most_lost(root, demo, tmp_path):
    manifest = raw_cells(tmp_path / "d", [[6, 3, 1]], ["FYB", "Actb", "Gapdh"], response=["sensitive"], sample=["s"])
    message = r"(?s)cells\.h5ad: gene names.*at least 80% of the counts.*60\.0%; most lost: Actb 30\.00%, Gapdh 10\.00%"
    with pytest.raises(InputError, match=message):
        run(root, demo, tmp_path, dataset="simulated_drug_cells", manifest=manifest)
    assert not (tmp_path / "cells.h5ad").exists()
    assert not (tmp_path / "h.json").exists()
    cells, _ = run(root, demo, tmp_path, dataset="simulated_drug_cells", manifest=manifest, threshold="0.6")
    assert cells[:, "FYB1"].X.toarray().tolist() == [[6]]


def test_an_h5ad_without_the_label_column_stops_the_command(root, demo, tmp_path):
    manifest = raw_cells(tmp_path / "d", [[6]], ["FYB"], outcome=["sensitive"], sample=["s"])
    with pytest.raises(InputError, match=r"(?s)obs column response.*the columns outcome, sample"):
        run(root, demo, tmp_path, dataset="simulated_drug_cells", manifest=manifest)


def test_simulated_cells_say_so(root, demo, tmp_path):
    manifest = raw_cells(tmp_path / "d", [[6]], ["FYB"], response=["sensitive"], sample=["s"])
    cells, _ = run(root, demo, tmp_path, dataset="simulated_drug_cells", manifest=manifest)
    assert cells.uns["simulated"] is True


@pytest.fixture(scope="module")
def hgnc_2024(mirror):
    genes = hgnc.read(mirror / "hgnc_complete_set_2024-10.txt.gz")
    return SymbolIndex(genes), vocabulary.of_locus_group(genes, "protein-coding gene")


@pytest.mark.parametrize("dataset", REAL)
def test_real_cells_reach_their_share_and_keep_their_counts(root, mirror, hgnc_2024, dataset, tmp_path):
    index, genes = hgnc_2024
    row = tables.read_datasets(root / "config/datasets.tsv").row(dataset)
    (file,) = tables.read_files(root / "config/files.tsv").of(dataset)
    raw.write(dataset, [raw.describe(mirror / file.file)], tmp_path / "manifest.json")
    files = list(read_raw(raw.read(tmp_path / "manifest.json"), row))
    matrix, obs, report = aligned(files, row, index=index, genes=genes, threshold=REAL[dataset])
    assert report.mapped_share_of_counts < REAL[dataset] + 0.0015
    assert matrix.shape == (report.cells_kept, genes.n_genes)
    if row.units == "counts":
        source = sparse.vstack([piece.matrix for piece in files], format="csr")
        ids = set(obs.index)
        kept = [f"{dataset}:{name}" in ids for piece in files for name in piece.obs.index]
        spikes = np.array([name.startswith("ERCC-") for name in files[0].names])
        total = source[np.flatnonzero(kept)][:, np.flatnonzero(~spikes)].sum(dtype=np.int64)
        assert matrix.sum(dtype=np.int64) == round(report.mapped_share_of_counts * total)
