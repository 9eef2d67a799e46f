"""Shards and an encoder become the tables of the source audit."""

import pandas as pd
import pytest

from celllm.base.errors import VocabularyMismatch
from celllm.report.commands import audit_source

DATASETS = """\
dataset title role reader units simulated label_column sample_column malignancy source_malignancy min_genes citation \
licence
d Cells corpus h5ad counts no - - normal tumour 0 - -
"""


def audit(training, **changes):
    (training.path / "datasets.tsv").write_text(DATASETS.replace(" ", "\t"))
    argv = [*training.options("shards", "encoder", "history", **changes), "--malignancy-rule", "metadata"]
    argv += ["--datasets", str(training.path / "datasets.tsv"), "--most-cells", "40"]
    audit_source.main([*argv, "--tables", str(training.path / "tables")])


def table(training, name):
    return pd.read_csv(training.path / f"tables/{name}.tsv", sep="\t")


def test_the_corpus_is_probed_and_its_labels_are_counted(training):
    training.embed_genes()
    training.pretrain()
    audit(training)
    labels = table(training, "audit_labels").iloc[0]
    assert (labels["dataset"], labels["cells"], labels["tumour"], labels["normal"]) == ("d", 50, 25, 25)
    assert (labels["by_source"], labels["wrong_by_source"]) == ("tumour", 25)
    source = table(training, "audit_source")
    assert set(source["question"]) == {"tumour"}  # one data set, and no validation cells to ask the head about
    assert {"majority class", "data set alone", "CellLM", "CellLM without pretraining"} < set(source["view"])
    assert (source["n_train"] + source["n_test"] == 40).all()
    assert table(training, "audit_label_rule").empty  # one label by source teaches nothing


def test_an_encoder_of_other_genes_is_refused(training, encoder_file):
    training.embed_genes()
    training.pretrain()
    genes = pd.read_csv(training.path / "genes.tsv", sep="\t")
    assert len(genes) == 40
    other = training.path / "other.safetensors"
    from celllm.model.store import load_encoder, save_encoder

    made = load_encoder(encoder_file, vocabulary=None)
    save_encoder(other, made.encoder, recipe=made.recipe, vocabulary="0" * 64)
    with pytest.raises(VocabularyMismatch):
        audit(training, encoder="other.safetensors")
