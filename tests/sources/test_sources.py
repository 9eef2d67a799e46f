"""`celllm sources` says what a configuration needs, what is here, and where to put the rest."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from celllm.base.errors import InputError
from celllm.sources import commands, inventory, raw

DATASETS = (
    "dataset title role reader units simulated label_column sample_column malignancy min_genes citation licence samples"
)
FILES = "dataset file url bytes sha256 sample"
TASKS = "task kind title dataset response split split_seeds train validation test min_class_size protocol headline"
MINE = "gene_annotation: genes\nnetwork: coexpression\ncorpus: [many, simulated_x]\nembed: []\nruns: config/runs.tsv\n"


def write(path, header, *rows):
    path.write_text("\n".join("\t".join(line.split(" ")) for line in (header, *rows)) + "\n")


@pytest.fixture
def checkout(tmp_path, monkeypatch, root):
    """A small checkout: genes in it, a corpus of many files, a task with responses, something nobody needs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "mirror").mkdir()
    write(
        tmp_path / "config/datasets.tsv",
        DATASETS,
        "genes Genes genes hgnc - no - - unknown 0 HGNC CC0 -",
        "many Many corpus robjects counts no - - samples 200 Franzén none list",
        "list List samples sample_table - no - - unknown 0 Franzén none -",
        "cells Cells task h5ad counts no - - normal 1 Zheng MIT -",
        "drugs Drugs response gdsc_tgsa - no - - unknown 0 GDSC own -",
        "simulated_x Simulated_x corpus h5ad counts yes - - unknown 1 us MIT -",
        "other Other corpus h5ad counts no - - normal 1 nobody GPL-3 -",
    )
    write(
        tmp_path / "config/files.tsv",
        FILES,
        "genes genes.tsv repo:config/genes.tsv 12 - -",
        "many {sample}.RData https://x.org/{sample} - - -",
        "list list.tsv - - - -",
        "cells cells.h5ad https://x.org/cells.h5ad 2500000 - -",
        "drugs drugs.csv https://x.org/drugs.csv - - -",
        "other other.h5ad https://x.org/other.h5ad 1 - -",
    )
    write(tmp_path / "config/tasks.tsv", TASKS, "t regression T cells drugs lines 0-2 0.8 0.1 0.1 0 clean pearson")
    write(tmp_path / "config/runs.tsv", "task methods", "t ridge")
    (tmp_path / "config/genes.tsv").touch()
    (tmp_path / "config/checksums.tsv").write_text(
        "dataset\tfile\tbytes\tsha256\tsource\tdate\n" + f"drugs\tdrugs.csv\t700\t{'0' * 64}\tmirror\t2026-01-31\n"
    )
    shutil.copyfile(root / "config.yaml", tmp_path / "config.yaml")
    (tmp_path / "mine.yaml").write_text(MINE)
    return tmp_path


def told(capsys, *config, mirror=None):
    commands.sources(json=True, config=[Path(name) for name in config], mirror=mirror)
    return {entry["dataset"]: entry for entry in json.loads(capsys.readouterr().out)}


def test_a_configuration_needs_its_genes_corpus_lists_tasks_and_responses_and_nothing_simulated(checkout, capsys):
    assert list(told(capsys, "mine.yaml")) == ["genes", "list", "many", "cells", "drugs"]
    (checkout / "more.yaml").write_text("gene2vec: other\n")
    assert "other" in told(capsys, "mine.yaml", "more.yaml")
    assert list(told(capsys)) == ["genes", "many", "list", "cells", "drugs", "other"]
    (checkout / "more.yaml").write_text("corpuss: [many]\n")
    with pytest.raises(InputError, match=r"more\.yaml: corpuss"):
        told(capsys, "more.yaml")


def test_each_file_is_where_it_is(checkout, capsys):
    (checkout / "mirror/drugs.csv").touch()
    (checkout / "resources/raw/cells").mkdir(parents=True)
    (checkout / "resources/raw/cells/cells.h5ad").touch()
    found = told(capsys, mirror=Path("mirror"))
    states = {name: [file["state"] for file in entry["files"]] for name, entry in found.items()}
    assert states["genes"] == ["in checkout"]
    assert states["cells"] == ["fetched"]
    assert states["drugs"] == ["in mirror"]
    assert states["other"] == ["missing"]
    assert found["drugs"]["files"][0]["bytes"] == 700


@pytest.mark.parametrize("where", ["mirror", "gzipped mirror", "fetched"])
def test_a_list_that_is_at_hand_gives_the_files_of_its_samples(checkout, capsys, where):
    text = "sample\tstudy\tmalignancy\ns1\ta\tnormal\ns2\tb\ttumour\ns3\ta\tnormal\n"
    (checkout / "mirror/s1.RData").touch()
    if where == "fetched":
        folder = checkout / "resources/raw/list"
        folder.mkdir(parents=True)
        (folder / "list.tsv").write_text(text)
        raw.write("list", [raw.describe(folder / "list.tsv")], folder / "manifest.json")
    elif where == "mirror":
        (checkout / "mirror/list.tsv").write_text(text)
    else:
        (checkout / "mirror/list.tsv.gz").write_bytes(gzip.compress(text.encode()))
    (checkout / "mine.yaml").write_text(MINE + "exclude_studies: [b]\n")
    entry = told(capsys, "mine.yaml", mirror=Path("mirror"))["many"]
    assert [(file["file"], file["state"]) for file in entry["files"]] == [
        ("s1.RData", "in mirror"),
        ("s3.RData", "missing"),
    ]
    assert not entry["is_template"]


def test_the_table_has_sizes_licences_totals_and_where_to_put_what_is_missing(checkout, capsys):
    commands.sources(config=[Path("mine.yaml")], mirror=Path("mirror"), verbose=True)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].split() == ["dataset", "files", "size", "licence", "present"]
    assert "list not fetched yet" in lines[3]
    assert lines[4].split() == ["cells", "1", "2.50MB", "MIT", "missing"]
    assert "5 datasets, 4 files, 2.50MB + 1 of unknown size; missing: 3 files, 2.50MB + 1 of unknown size" in lines
    assert "Not counted, as their lists of samples are not fetched yet: many" in lines
    assert "  cells: https://x.org/cells.h5ad\n    by hand: mirror/cells.h5ad\n" in text
    assert "  list: no address\n    by hand: mirror/list.tsv (tab-separated under that name: " in text
    assert "  cells: Zheng\n" in text


def test_of_many_missing_files_a_few_stand_for_all(checkout, capsys):
    rows = "".join(f"s{number}\ta\tnormal\n" for number in range(20))
    (checkout / "mirror/list.tsv").write_text(f"sample\tstudy\tmalignancy\n{rows}")
    commands.sources(config=[Path("mine.yaml")], mirror=Path("mirror"))
    text = capsys.readouterr().out
    assert text.count("  many: https://") == inventory.MAX_NAMED
    assert "  many: and 14 more of this kind" in text


@pytest.mark.parametrize("name", ["paper", "real"])
def test_the_checkouts_own_configurations_are_listed(root, monkeypatch, capsys, name):
    monkeypatch.chdir(root)
    found = told(capsys, f"config/{name}.yaml")
    assert all(entry["licence"] and entry["citation"] for entry in found.values())
