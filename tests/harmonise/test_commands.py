"""The gene axis, and cells and responses on it, by the commands that the workflow calls."""

import dataclasses
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.harmonise import cells as cells_file
from celllm.harmonise import harmonisation, vocabulary
from celllm.harmonise.align import Aligner
from celllm.harmonise.commands import align_cells, build_vocabulary
from celllm.sources import raw
from celllm.sources.readers.cells import in_pieces
from celllm.sources.readers.registry import read_raw

REAL = {
    # Least share of counts on the vocabulary, as measured on the harmonised axis of HGNC 2024, protein-coding.
    "pbmc1k_10x_v2": 0.938,
    "embryo_yan2013": 0.925,
    "tumour_lung_nsclc_zilionis": 0.917,
    # total RNA: 19 % of its counts lie on ribosomal, long non-coding and pseudogenes
    "cellline_lung_scmixology_celseq2_5cl": 0.785,
    "ccle_706": 0.998,
}


@pytest.fixture(scope="module")
def datasets(root):
    return {row.dataset: row for row in tables.read_datasets(root / "config/datasets.tsv")}


@pytest.fixture(scope="module")
def demo(root, tmp_path_factory):
    """A folder with the manifests of the demo's raw files, and its vocabulary."""
    folder = tmp_path_factory.mktemp("demo")
    cells = Path(scanpy.__file__).parent / "datasets/10x_pbmc68k_reduced.h5ad"
    raw.write("pbmc68k_reduced", [raw.describe(cells)], folder / "cells.json")
    raw.write("hgnc_demo", [raw.describe(root / "config/demo/hgnc_demo.tsv")], folder / "hgnc.json")
    build_vocabulary(hgnc=folder / "hgnc.json", vocabulary=folder / "genes.tsv")
    return folder


@pytest.fixture(scope="module")
def source(demo, datasets):
    """The demo's cells as the source has them."""
    (pieces,) = read_raw(raw.read(demo / "cells.json"), datasets["pbmc68k_reduced"])
    return pieces


@pytest.fixture(scope="module")
def demo_genes(genes):
    return dict(zip(("index", "vocabulary"), genes, strict=True))


def run(demo, out, row, manifest, **options):
    align_cells(
        dataset=row,
        raw=manifest,
        hgnc=demo / "hgnc.json",
        vocabulary=demo / "genes.tsv",
        cells=out / "cells.h5ad",
        harmonisation=out / "h.json",
        **options,
    )
    genes = vocabulary.read(demo / "genes.tsv")
    cells_file.read(out / "cells.h5ad", vocabulary=genes)
    return ad.read_h5ad(out / "cells.h5ad"), harmonisation.read(out / "h.json")


def aligned(pieces, row, *, index, vocabulary, threshold=0.8, **options):
    """Matrix, obs and report of pieces taken in turn."""
    aligner = Aligner(row, index=index, vocabulary=vocabulary, **options)
    matrices, tables_of_cells = zip(*map(aligner.add, pieces), strict=True)
    report = aligner.report(threshold=threshold)
    return sparse.vstack(matrices, format="csr"), pd.concat(tables_of_cells), report


def raw_cells(folder, matrix, names, barcodes=None, **obs):
    """Write raw cells of the simulated cells' form; return their manifest."""
    n_cells = len(matrix)
    made = ad.AnnData(
        sparse.csr_matrix(np.array(matrix, dtype=np.float32)),
        pd.DataFrame(
            obs or {"response": ["sensitive"] * n_cells, "sample": ["s"] * n_cells},
            index=barcodes or [f"c{i}" for i in range(n_cells)],
        ),
        pd.DataFrame(index=names),
    )
    folder.mkdir(exist_ok=True)
    made.write_h5ad(folder / "cells.h5ad")
    raw.write("d", [raw.describe(folder / "cells.h5ad")], folder / "manifest.json")
    return folder / "manifest.json"


def test_the_axis_holds_the_genes_of_the_group(demo):
    genes = vocabulary.read(demo / "genes.tsv")
    assert genes.n_genes == 738
    assert genes.symbols == sorted(genes.symbols)
    assert genes.genes.loc[genes.symbols.index("FYB1"), "hgnc_id"] == "HGNC:4036"


def test_an_unknown_group_is_refused_with_those_there_are(demo, tmp_path):
    with pytest.raises(InputError, match=r"(?s)locus_group.*there are non-coding RNA, other, protein-coding gene"):
        build_vocabulary(hgnc=demo / "hgnc.json", locus_group="protein coding", vocabulary=tmp_path / "genes.tsv")
    assert not (tmp_path / "genes.tsv").exists()


def test_the_demo_cells_stand_on_the_vocabulary(demo, datasets, source, tmp_path, capsys):
    cells, report = run(demo, tmp_path, datasets["pbmc68k_reduced"], demo / "cells.json")
    assert "700 cells kept, 0 dropped" in capsys.readouterr().out
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


def test_empty_cells_are_told_apart_from_shallow_ones_by_sample(demo, datasets, tmp_path, capsys):
    row = dataclasses.replace(datasets["simulated_drug_cells"], min_genes=2)
    matrix = [[2, 1, 0], [0, 0, 0], [0, 4, 0], [0, 0, 0], [1, 1, 1]]
    columns = {"response": ["sensitive"] * 5, "sample": ["a", "a", "a", "b", "b"]}
    cells, report = run(demo, tmp_path, row, raw_cells(tmp_path / "d", matrix, ["FYB", "CD3D", "CD79A"], **columns))
    assert report.samples["a"] == harmonisation.SampleCells(kept=1, empty=1, too_few_genes=1)
    assert report.samples["b"] == harmonisation.SampleCells(kept=1, empty=1, too_few_genes=0)
    assert list(cells.obs_names) == ["simulated_drug_cells:c0", "simulated_drug_cells:c4"]
    assert "sample a: 1 cells kept, 1 empty and 1 with fewer than 2 genes dropped" in capsys.readouterr().out
    with pytest.raises(InputError, match="cells with at least 9999 expressed genes"):
        run(demo, tmp_path, dataclasses.replace(row, min_genes=9999), tmp_path / "d/manifest.json")


@pytest.mark.parametrize(("n_cells", "size"), [(20, 1), (700, 300)])
def test_pieces_of_any_size_of_any_file_give_the_same_cells_and_report(datasets, source, demo_genes, n_cells, size):
    row, cells = datasets["pbmc68k_reduced"], next(in_pieces(source, n_cells))
    files = [dataclasses.replace(cells, sample=sample) for sample in ("s1", "s2")]
    whole = aligned(files, row, **demo_genes)
    cut = aligned([piece for file in files for piece in in_pieces(file, size)], row, **demo_genes)
    assert whole[1].index[0].startswith("pbmc68k_reduced:s1:")
    assert whole[1]["sample"].iloc[-1] == whole[1]["donor"].iloc[-1] == "s2"
    assert {name: sample.kept for name, sample in whole[2].samples.items()} == {"s1": n_cells, "s2": n_cells}
    assert (whole[0] != cut[0]).nnz == 0
    pd.testing.assert_frame_equal(whole[1], cut[1])
    assert whole[2] == cut[2]


def test_labels_of_the_source_are_one_each_under_the_rule_by_source(datasets, source, demo_genes):
    lists = dataclasses.replace(datasets["pbmc68k_reduced"], malignancy="samples", source_malignancy="normal")
    told = dataclasses.replace(source, sample="s", facts={"malignancy": "tumour", "study": "SRA1"})
    for rule, expected in (("metadata", 1), ("by_source", 0)):
        _, obs, _ = aligned([told], lists, **demo_genes, malignancy_rule=rule)
        assert set(obs["is_malignant"]) == {expected}
        assert set(obs["study"]) == {"SRA1"}
    with pytest.raises(InputError, match=r"(?s)malignancy of sample s.*snakemake --forcerun fetch"):
        aligned([dataclasses.replace(told, facts={})], lists, **demo_genes)


def test_a_label_map_renames_takes_away_and_refuses_what_it_does_not_know(datasets, source, demo_genes):
    names = sorted(set(source.obs["bulk_labels"]))
    row = datasets["pbmc68k_reduced"]
    mapped = dataclasses.replace(row, label_map={**dict.fromkeys(names, "cell"), names[0]: None})
    _, obs, _ = aligned([source], mapped, **demo_genes)
    assert ((obs["label"] == "").to_numpy() == (source.obs["bulk_labels"] == names[0]).to_numpy()).all()
    assert set(obs["label"]) == {"cell", ""}
    with pytest.raises(InputError, match=rf"(?s)label .*label_map.*{names[-1][:4]}"):
        aligned([source], dataclasses.replace(row, label_map={names[0]: "a"}), **demo_genes)


WRONG = {
    "cell name twice": (
        [[6], [5]],
        ["FYB"],
        {"barcodes": ["x", "x"]},
        "cell names.*simulated_drug_cells:x more than once",
    ),
    "sum beyond 32 bits": (
        [[2**30, 2**30]],
        ["FYB", "FYB1"],
        {},
        "summed over its names.*a count of 2147483648, beyond",
    ),
    "names of another species": (
        *([[6, 3, 1]], ["FYB", "Actb", "Gapdh"], {}),
        r"gene names.*at least 80% of the counts.*60\.0%; most lost: Actb 30\.00%, Gapdh 10\.00%",
    ),
    "transposed": (
        *([[6, 3, 1]], ["AAAC", "AAAG", "AACC"], {"barcodes": ["FYB"]}),
        "gene names.*cells are called like genes, FYB: the matrix is transposed",
    ),
    "row numbers": ([[6, 3, 1]], ["0", "1", "2"], {}, "gene names.*row numbers, 0 to 2"),
    "shifted ids": (
        *([[6, 3]], ["FYB1_ENSG00000167286", "CD3D_ENSG00000082074"], {}),
        "gene names.*of different genes for 2 of 2, such as FYB1_ENSG00000167286",
    ),
    "no label column": (
        *([[6]], ["FYB"], {"outcome": ["sensitive"], "sample": ["s"]}),
        "obs column response.*the columns outcome, sample",
    ),
}


@pytest.mark.filterwarnings("ignore:.*not unique")
@pytest.mark.parametrize(("matrix", "names", "more", "message"), WRONG.values(), ids=WRONG)
def test_cells_that_cannot_be_aligned_stop_the_command(demo, datasets, tmp_path, matrix, names, more, message):
    manifest = raw_cells(tmp_path / "d", matrix, names, **more)
    with pytest.raises(InputError, match=rf"(?s)cells\.h5ad.*{message}"):
        run(demo, tmp_path, datasets["simulated_drug_cells"], manifest)
    assert {path.name for path in tmp_path.iterdir()} == {"d"}


def test_what_is_missing_and_lost_is_counted_and_named(demo, datasets, tmp_path, capsys):
    row = dataclasses.replace(datasets["simulated_drug_cells"], donor_column="donor")
    obs = {"response": ["sensitive", "NA", "unknown"], "sample": ["s", "s", "nan"], "donor": ["d", "", "d"]}
    manifest = raw_cells(tmp_path / "d", [[60, 5, 9]] * 3, ["FYB", "NOGENE", "mm10_Cd3d"], **obs)
    cells, report = run(demo, tmp_path, row, manifest)
    assert report.missing == {"label": 2, "donor": 1, "sample": 1}
    assert cells.obs[["label", "donor", "sample"]].to_numpy().tolist() == [
        ["sensitive", "d", "s"],
        ["", "", "s"],
        ["", "d", ""],
    ]
    said = capsys.readouterr().out
    assert "lost, of all counts: NOGENE 7.7%" in said
    assert "2 kept cells without label" in said
    assert "left out: 1 features, genes of other species" in said
    assert report.left_out == {"genes of other species": 1}
    (tmp_path / "h.json").write_text((tmp_path / "h.json").read_text().replace("n_names", "n_nams"))
    with pytest.raises(InputError, match=r"(?s)a harmonisation report.*n_nams"):
        harmonisation.read(tmp_path / "h.json")


def test_a_lower_threshold_lets_lost_names_pass_and_simulated_cells_say_so(demo, datasets, tmp_path):
    manifest = raw_cells(tmp_path / "d", [[6, 3, 1]], ["FYB", "Actb", "Gapdh"])
    cells, report = run(demo, tmp_path, datasets["simulated_drug_cells"], manifest, mapped_threshold=0.6)
    assert cells[:, "FYB1"].X.toarray().tolist() == [[6]]
    assert cells.uns["simulated"]
    assert report.threshold == 0.6
    assert cells.var["is_named"].sum() == 1


@pytest.mark.parametrize("dataset", REAL)
def test_real_cells_reach_their_share_and_keep_their_counts(root, mirror, datasets, complete, dataset, tmp_path):
    index, genes = complete
    row = datasets[dataset]
    of_dataset = pd.read_csv(root / "config/files.tsv", sep="\t").set_index("dataset")["file"]
    raw.write(
        dataset,
        [raw.describe(mirror / (row.built[0] if row.built else of_dataset[dataset]))],
        tmp_path / "manifest.json",
    )
    files = list(read_raw(raw.read(tmp_path / "manifest.json"), row))
    matrix, obs, report = aligned(files, row, index=index, vocabulary=genes, threshold=REAL[dataset])
    assert report.mapped_share_of_counts < REAL[dataset] + 0.0015
    assert matrix.shape == (report.cells_kept, genes.n_genes)
    if row.units == "counts":
        source = sparse.vstack([piece.matrix for piece in files], format="csr")
        ids = set(obs.index)
        kept = [f"{dataset}:{name}" in ids for piece in files for name in piece.obs.index]
        spikes = np.array([name.startswith("ERCC-") for name in files[0].names])
        total = source[np.flatnonzero(kept)][:, np.flatnonzero(~spikes)].sum(dtype=np.int64)
        assert matrix.sum(dtype=np.int64) == round(report.mapped_share_of_counts * total)
