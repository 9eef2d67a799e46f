"""The gene axis by the command that the workflow calls."""

import pytest

from celllm.base.errors import InputError
from celllm.harmonise import vocabulary
from celllm.harmonise.commands import build_vocabulary
from celllm.sources import raw


def run(root, folder, group):
    raw.write("h", [raw.describe(root / "config/demo/hgnc_demo.tsv")], folder / "hgnc.json")
    build_vocabulary.main(
        ["--hgnc", str(folder / "hgnc.json"), "--locus-group", group, "--out", str(folder / "genes.tsv")],
    )
    return vocabulary.read(folder / "genes.tsv")


def test_the_axis_holds_the_genes_of_the_group(root, tmp_path):
    genes = run(root, tmp_path, "protein-coding gene")
    assert genes.n_genes == 738
    assert genes.symbols == sorted(genes.symbols)
    assert genes.genes.loc[genes.symbols.index("FYB1"), "hgnc_id"] == "HGNC:4036"


def test_an_unknown_group_is_refused_with_those_there_are(root, tmp_path):
    with pytest.raises(InputError, match=r"(?s)locus_group.*there are non-coding RNA, other, protein-coding gene"):
        run(root, tmp_path, "protein coding")
    assert not (tmp_path / "genes.tsv").exists()
