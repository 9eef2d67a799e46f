"""Raw cells to the vocabulary's axis, by the command that the workflow calls."""

import dataclasses

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.cli import align_cells, build_vocabulary, fetch
from celllm.contracts import counts, harmonisation, hgnc, raw, readers, tables, vocabulary
from celllm.errors import InputError
from celllm.genes.symbols import SymbolIndex

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
            fetch.main(["--dataset", dataset, "--files", "config/files.tsv", "--manifest", str(manifest)])
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
    source = readers.read_pbmc68k_reduced(demo / "pbmc68k_reduced/10x_pbmc68k_reduced.h5ad")
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


def test_cells_with_too_few_genes_at_the_source_are_dropped_and_counted(root, demo):
    row = tables.read_datasets(root / "config/datasets.tsv").row("pbmc68k_reduced")
    source = readers.read_pbmc68k_reduced(demo / "pbmc68k_reduced/10x_pbmc68k_reduced.h5ad")
    genes = vocabulary.read(demo / "genes.tsv")
    index = SymbolIndex(hgnc.read(root / "config/demo/hgnc_demo.tsv"))
    n_genes = (source.matrix.toarray() > 0).sum(axis=1)
    limit = int(np.median(n_genes))
    strict = dataclasses.replace(row, min_genes=limit)
    made = align_cells.align([source], strict, index=index, genes=genes, threshold=0.8)
    assert made.matrix.shape[0] == made.report.cells_kept == (n_genes >= limit).sum()
    assert made.report.cells_dropped == (n_genes < limit).sum() > 0
    with pytest.raises(InputError, match="cells with at least 9999 expressed genes"):
        align_cells.align([source], dataclasses.replace(row, min_genes=9999), index=index, genes=genes, threshold=0.8)


def test_cells_of_several_files_are_told_apart_by_their_sample(root, demo):
    row = tables.read_datasets(root / "config/datasets.tsv").row("pbmc68k_reduced")
    source = readers.read_pbmc68k_reduced(demo / "pbmc68k_reduced/10x_pbmc68k_reduced.h5ad")
    genes = vocabulary.read(demo / "genes.tsv")
    index = SymbolIndex(hgnc.read(root / "config/demo/hgnc_demo.tsv"))
    files = [dataclasses.replace(source, sample=sample) for sample in ("s1", "s2")]
    made = align_cells.align(files, row, index=index, genes=genes, threshold=0.8)
    assert made.obs.index[0].startswith("pbmc68k_reduced:s1:")
    assert made.obs["sample"].iloc[-1] == "s2"
    assert made.obs.index.is_unique
    with pytest.raises(InputError, match="more than once"):
        align_cells.align([source, source], row, index=index, genes=genes, threshold=0.8)


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
    return SymbolIndex(genes), build_vocabulary.of_locus_group(genes, "protein-coding gene")


@pytest.mark.parametrize("dataset", REAL)
def test_real_cells_reach_their_share_and_keep_their_counts(root, mirror, hgnc_2024, dataset, tmp_path):
    index, genes = hgnc_2024
    row = tables.read_datasets(root / "config/datasets.tsv").row(dataset)
    (file,) = tables.read_files(root / "config/files.tsv").of(dataset)
    raw.write(dataset, [raw.describe(mirror / file.file)], tmp_path / "manifest.json")
    files = list(readers.read_raw(raw.read(tmp_path / "manifest.json"), row))
    made = align_cells.align(files, row, index=index, genes=genes, threshold=REAL[dataset])
    assert made.report.mapped_share_of_counts < REAL[dataset] + 0.0015
    assert made.matrix.shape == (made.report.cells_kept, genes.n_genes)
    if row.values == "counts":
        kept = [f"{dataset}:{name}" in set(made.obs.index) for name in files[0].obs.index]
        spikes = np.array([name.startswith("ERCC-") for name in files[0].names])
        total = files[0].matrix[np.flatnonzero(kept)][:, np.flatnonzero(~spikes)].sum(dtype=np.int64)
        assert made.matrix.sum(dtype=np.int64) == round(made.report.mapped_share_of_counts * total)
