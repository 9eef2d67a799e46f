"""Samples of an archive by a pattern of its members' names, as GEO's `GSE…_RAW.tar` holds them."""

import dataclasses
import gzip
import io
import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.config.tables import Dataset, SourceFile, read_files
from celllm.sources.fetch import FetchContext, fetch_all
from celllm.sources.raw import RawManifest
from celllm.sources.readers.cells import annotate
from celllm.sources.readers.registry import read_raw

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
MTX = "%%MatrixMarket matrix coordinate integer general\n2 3 2\n1 1 5\n2 3 4\n"
PARTS = {"matrix.mtx": MTX, "features.tsv": "ENSG00000000001\tA\nENSG00000000002\tB\n", "barcodes.tsv": "AA\nCC\nGG\n"}
ROW = Dataset("d", "D", "corpus", "tenx_mtx", "counts", False, None, None, "normal", 0, None, None)
FILE = SourceFile("d", "GSE1_RAW.tar", "https://example.org/GSE1_RAW.tar", None, None, None)


def fetched(folder, row, files):
    context = FetchContext(folder=folder / row.dataset, mirrors=[folder])
    manifest = RawManifest(row.dataset, tuple(fetch_all([(file, {}) for file in files], context)), folder)
    return list(read_raw(manifest, row))


def tar(path, names):
    with tarfile.open(path, "w") as archive:
        for name, text in names.items():
            entry = tarfile.TarInfo(name)
            content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_each_human_donor_of_a_geo_archive_is_a_sample(root, rows, tmp_path):
    shutil.copyfile(FIXTURES / "simulated_GSE84133_RAW.tar", tmp_path / "GSE84133_RAW.tar")
    row = rows.row("baron")
    found = fetched(tmp_path, row, [file for file in read_files(root / "config/files.tsv") if file.dataset == "baron"])
    assert [cells.sample for cells in found] == ["human1", "human2"]
    assert [cells.matrix.toarray().tolist() for cells in found] == [[[1, 0], [2, 0]], [[1, 0], [2, 0], [3, 0]]]
    assert found[0].names == ["A1BG", "CD3E"]
    made = pd.concat([annotate(cells, row) for cells in found])
    assert made["label"].tolist() == ["alpha", "beta", "acinar", "alpha", "delta"]
    assert made["donor"].tolist() == ["human1"] * 2 + ["human2"] * 3


@pytest.mark.parametrize("form", ["GSM{n}_{name}_{part}.gz", "GSM{n}_{name}/outs/{part}.gz"], ids=["names", "folders"])
def test_samples_are_chosen_by_name_and_their_name_is_a_fact(tmp_path, form):
    samples = {1: "tumour1", 2: "normal1", 3: "cellline"}
    names = {form.format(n=n, name=name, part=part): PARTS[part] for n, name in samples.items() for part in PARTS}
    tar(tmp_path / FILE.file, names)
    state = {"sample": {"tumour*": "cancer", "*": "normal"}}
    row = dataclasses.replace(ROW, obs={"state": state}, malignancy="obs:state:cancer")
    found = fetched(tmp_path, row, [dataclasses.replace(FILE, part=r"GSM\d+_((?:tumour|normal)\d)[_/]")])
    assert [cells.sample for cells in found] == ["tumour1", "normal1"]
    assert [cells.matrix.sum() for cells in found] == [9, 9]
    assert [set(annotate(cells, row)["is_malignant"]) for cells in found] == [{1}, {0}]


@pytest.mark.parametrize(
    ("part", "names", "message"),
    [
        ("(x)", {"a.csv": ""}, r"members that fit \(x\)\n +found: +a\.csv"),
        ("a", {"a.csv": ""}, r"part of GSE1_RAW\.tar(?s:.*)with 0 groups"),
        ("(a", {"a.csv": ""}, r"part of GSE1_RAW\.tar(?s:.*)unterminated"),
        ("(a)", {"a b.csv": ""}, r"member a b\.csv\n(?s:.*)files of different names"),
        ("(a)", {"a/b": "", "a_b": ""}, r"member a_b\n(?s:.*)files of different names"),
    ],
    ids=["none", "no group", "no pattern", "unsafe", "two of one name"],
)
def test_a_pattern_or_member_that_makes_no_file_is_refused(tmp_path, part, names, message):
    tar(tmp_path / FILE.file, names)
    with pytest.raises(InputError, match=message):
        fetched(tmp_path, ROW, [dataclasses.replace(FILE, part=part)])
