"""The command `import`: a checkpoint and a list of genes to an encoder file that other commands take."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from celllm.base.app import run
from celllm.base.errors import InputError
from celllm.bench.methods.annotation import EncoderClassifier
from celllm.harmonise import vocabulary
from celllm.model import commands, imported
from celllm.model.inference import embed_cells
from celllm.model.store import PretrainedEncoder, fresh, load_encoder
from celllm.sources import raw
from celllm.splits.units import Cells

N_GENES = {"celllm": 24, "scbert": 15}


@pytest.fixture
def recorder(root: Path) -> ModuleType:
    """What draws the state dicts."""
    spec = importlib.util.spec_from_file_location("recorder", root / "tests/golden/record_released_encoder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkpoints(recorder: ModuleType, tmp_path: Path) -> Path:
    """A folder with a checkpoint and a list of genes of each layout."""
    for layout, n_genes in N_GENES.items():
        torch.save({"model_state_dict": recorder.drawn_state(layout)}, tmp_path / f"{layout}.pth")
        (tmp_path / f"{layout}.txt").write_text("".join(f"GENE{i}\n" for i in range(n_genes)))
    return tmp_path


def call(folder: Path, layout: str, **changes: Path) -> PretrainedEncoder:
    files = {"checkpoint": f"{layout}.pth", "genes": f"{layout}.txt", "out": "encoder.safetensors"}
    options = {name: folder / file for name, file in files.items()} | {"vocabulary": folder / "genes.tsv"} | changes
    commands.import_encoder(layout=layout, max_length=16, **options)
    genes = vocabulary.read(folder / "genes.tsv")
    return load_encoder(folder / "encoder.safetensors", vocabulary=genes.digest)


@pytest.mark.parametrize("layout", ["celllm", "scbert"])
def test_the_encoder_file_embeds_cells_as_the_checkpoint_does(
    checkpoints: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = call(checkpoints, layout)
    assert capsys.readouterr().out.startswith(f"{layout}: ")
    n_genes = N_GENES[layout]
    straight = imported.import_encoder(checkpoints / f"{layout}.pth", layout=layout, n_genes=n_genes, max_length=16)
    assert loaded.recipe == straight.recipe
    assert loaded.encoder.padded_length == 16
    assert not loaded.encoder.embedding.genes.weight.requires_grad
    before = PretrainedEncoder(
        straight.encoder, straight.recipe, "", None if straight.panel is None else np.array(straight.panel), ""
    )
    counts = csr_matrix(np.random.default_rng(0).poisson(0.8, (5, n_genes)).astype(np.float32))
    found = embed_cells(loaded, counts, units="counts")
    np.testing.assert_array_equal(found, embed_cells(before, counts, units="counts"))
    assert np.isfinite(found).all()
    assert found.std() > 0.5
    # the control without pretraining attends in the same way, over the same genes
    control = fresh(loaded, 1).encoder
    assert control.padded_length == 16
    for encoder in (control, loaded.encoder):
        assert torch.equal(encoder.embedding.genes.weight[:n_genes], straight.encoder.embedding.genes.weight[:n_genes])


@pytest.mark.parametrize(("layout", "rows"), [("celllm", 42), ("scbert", 41)])
def test_an_imported_encoder_is_tuned_like_any_other(
    recorder: ModuleType, tmp_path: Path, cells: Cells, parts: dict[str, np.ndarray], layout: str, rows: int
) -> None:
    state = recorder.drawn_state(layout, replace(recorder.SIZES[layout], rows=rows))
    torch.save(state, tmp_path / f"{layout}.pth")
    (tmp_path / f"{layout}.txt").write_text("".join(f"GENE{i}\n" for i in range(40)))
    call(tmp_path, layout)
    genes = vocabulary.read(tmp_path / "genes.tsv")
    options = {"epochs": 10, "fixed_epochs": 6, "batch": 8, "learning_rate": 3e-3}
    method = EncoderClassifier(options, seed=0, encoder=tmp_path / "encoder.safetensors", vocabulary=genes)
    method.fit(cells.hiding(parts["test"]), parts["train"], parts["validation"])
    found = method.classes_[method.predict(cells, parts["test"]).argmax(axis=1)]
    assert np.mean(found == cells.labels[parts["test"]]) > 0.7  # a guess finds a third


def test_a_table_of_genes_keeps_its_digest(checkpoints: Path) -> None:
    listed = vocabulary.read_list(checkpoints / "celllm.txt")
    listed.genes["hgnc_id"] = [f"HGNC:{i}" for i in range(24)]
    vocabulary.write(listed, checkpoints / "table.tsv")
    table = vocabulary.read(checkpoints / "table.tsv")
    loaded = call(checkpoints, "celllm", genes=checkpoints / "table.tsv")
    assert loaded.vocabulary == table.digest != vocabulary.read_list(checkpoints / "celllm.txt").digest


def test_hgncs_table_gives_a_list_its_ids(root: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = root / "config/demo/hgnc_demo.tsv"
    raw.write("hgnc", [raw.describe(table)], checkpoints / "manifest.json")
    (checkpoints / "celllm.txt").write_text("ABHD17A\nABI1\n" + "".join(f"none{i}\n" for i in range(22)))
    loaded = call(checkpoints, "celllm", hgnc=checkpoints / "manifest.json")
    genes = vocabulary.read(checkpoints / "genes.tsv")
    assert list(genes.genes["hgnc_id"][:3]) == ["HGNC:28756", "HGNC:11320", ""]
    assert loaded.vocabulary == genes.digest
    assert capsys.readouterr().out.endswith("embedding of 24 genes, 2 with an HGNC id\n")


def test_a_list_of_other_genes_is_refused(checkpoints: Path) -> None:
    with pytest.raises(InputError, match="--genes"):
        call(checkpoints, "celllm", genes=checkpoints / "scbert.txt")
    assert not (checkpoints / "encoder.safetensors").exists()


def test_the_command_is_called_import(checkpoints: Path) -> None:
    files = {"checkpoint": "celllm.pth", "genes": "celllm.txt", "out": "encoder.safetensors"}
    options = [f"--{name}={checkpoints / file}" for name, file in files.items()]
    run(commands.app, ["import", "--layout=celllm", *options])
    assert load_encoder(checkpoints / "encoder.safetensors").encoder.padded_length == 6000
    with pytest.raises(SystemExit, match="2"):
        run(commands.app, ["import", "--layout=celllm", *options, f"--genes={checkpoints / 'scbert.txt'}"])
