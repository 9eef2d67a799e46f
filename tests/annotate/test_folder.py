"""An encoder's folder holds all that cells of strangers need, and says when it does not."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from celllm.annotate import commands
from celllm.annotate import folder as folders
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.store import load_encoder
from celllm.sources import raw


def published(hgnc, folder):
    """Write HGNC's table as it is published, and return its manifest."""
    lists = {name: hgnc[name].str.join("|") for name in ("prev_symbol", "alias_symbol")}
    hgnc.assign(status="Approved", **lists).to_csv(folder / "hgnc.txt", sep="\t", index=False)
    raw.write("hgnc", [raw.describe(folder / "hgnc.txt")], folder / "hgnc.json")
    return folder / "hgnc.json"


def test_golden_cells_get_their_embeddings_again_and_other_weights_give_others(folder):
    assert folders.golden_difference(folders.read(folder.path)) < folders.TOLERANCE
    weights = folder.pretrained.encoder.norm.weight
    weights.data[0] += 0.01
    assert folders.golden_difference(folder) > folders.TOLERANCE


def test_the_encoder_in_the_package_is_small_and_gives_its_golden_embeddings():
    found = folders.read()
    assert (found.path / folders.ENCODER).stat().st_size <= folders.MAX_BYTES
    assert folders.golden_difference(found) < folders.TOLERANCE
    assert "## Limits" in (found.path / folders.CARD).read_text()


def test_weights_of_genes_take_half_the_room(folder, encoder_file):
    table = load_encoder(encoder_file).encoder.embedding.genes.weight
    rounded = table.detach().numpy().astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(folder.pretrained.encoder.embedding.genes.weight.detach().numpy(), rounded)
    saved = encoder_file.stat().st_size - (folder.path / folders.ENCODER).stat().st_size
    assert saved == pytest.approx(table.numel() * 2, abs=200)


def test_the_command_writes_a_folder_from_the_workflows_files(tmp_path, encoder_file, vocabulary, hgnc, folder):
    vocabulary_file.write(vocabulary, tmp_path / "genes.tsv")
    options = {"encoder": encoder_file, "vocabulary": tmp_path / "genes.tsv", "hgnc": published(hgnc, tmp_path)}
    commands.package_encoder(**options, folder=tmp_path / "made")
    made = folders.read(tmp_path / "made")
    pd.testing.assert_frame_equal(made.hgnc, hgnc[list(made.hgnc.columns)])
    for name in (folders.GENES, folders.HGNC, folders.CARD, folders.GOLDEN):
        assert (tmp_path / "made" / name).read_bytes() == (folder.path / name).read_bytes()


def test_the_card_says_what_the_probe_of_the_run_said_beside_its_rivals(training, probed, hgnc):
    genes = {"method": "graphmae", "epochs": 5, "hidden": 8, "trainable": "trained"}
    training.write_recipe(training={"probe_every": 4}, genes=genes)
    training.embed_genes()
    training.pretrain(probed=probed)
    files = {"encoder": training.path / "encoder.safetensors", "vocabulary": training.path / "genes.tsv"}
    files["hgnc"] = published(hgnc, training.path)
    commands.package_encoder(
        **files,
        folder=training.path / "made",
        shards=training.path / "manifest.json",
        cells=(probed["probe_cells"],),
        components=probed["probe_components"],
        seed=0,
    )
    last = json.loads((training.path / "history.jsonl").read_text().splitlines()[-1])
    card = (training.path / "made" / folders.CARD).read_text()
    titles = {"components_": "components of the corpus", "untrained_": "untrained", "": "this encoder"}
    for name, title in {**titles, "joined_": "and the components"}.items():
        for share in ("5pct", "all"):
            value = f"{last[f'probe_{name}{share}']:.3f}"
            assert re.search(rf"^\| [^|]*{title} \| {value} \| {value} \|$", card, re.MULTILINE)


def test_an_encoder_too_large_for_the_package_is_refused(tmp_path, folder, vocabulary, hgnc):
    with pytest.raises(InputError, match=r"at most 0\.001 MB"):
        folders.write(
            tmp_path / "none", folder.pretrained, vocabulary=vocabulary, hgnc=hgnc, card="", stamp={}, max_bytes=1000
        )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", [folders.ENCODER, folders.GENES, folders.HGNC])
def test_what_is_missing_is_named_with_the_command_that_makes_it(folder, name):
    (folder.path / name).unlink()
    with pytest.raises(InputError, match=rf"no {name}[\s\S]*celllm package_encoder"):
        folders.read(folder.path)


def test_the_file_in_a_folder_names_the_folder(folder):
    assert folders.read(folder.path / folders.ENCODER).pretrained.digest == folder.pretrained.digest


def test_genes_of_another_encoder_are_refused(folder, vocabulary):
    vocabulary_file.write(Vocabulary(vocabulary.genes[::-1].reset_index(drop=True)), folder.path / folders.GENES)
    with pytest.raises(VocabularyMismatch, match=r"own genes\.tsv"):
        folders.read(folder.path)


def test_without_an_encoder_in_the_package_one_is_told_what_to_give(monkeypatch, tmp_path):
    monkeypatch.setattr(folders, "packaged", lambda: tmp_path / "none")
    with pytest.raises(InputError, match="--encoder FOLDER"):
        folders.read()
