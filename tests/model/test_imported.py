"""Published checkpoints become our encoder, or are refused by key; nothing that a file might hold is run."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable
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
from celllm.corpus.tokens import CLS, MASK, PAD
from celllm.harmonise import vocabulary
from celllm.model import commands
from celllm.model.imported import Sizes, import_encoder, shapes
from celllm.model.inference import embed_cells
from celllm.model.store import PretrainedEncoder, fresh, load_encoder
from celllm.sources import raw
from celllm.splits.units import Cells

State = dict[str, torch.Tensor]
N_GENES = {"celllm": 24, "scbert": 15}
QUERIES = "performer.net.layers.1.0.fn.to_q"


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recorder = script(Path(__file__).resolve().parents[1] / "golden/record_released_encoder.py")
drawn_state = recorder.drawn_state


def saved(folder: Path, content: object) -> Path:
    torch.save(content, folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


def refused(path: Path, layout: str = "celllm", n_genes: int | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        import_encoder(path, layout=layout, n_genes=n_genes or N_GENES[layout])
    assert caught.value.file == str(path)
    return caught.value


def test_the_full_sizes_are_those_of_the_papers(tmp_path: Path) -> None:
    sizes = Sizes(width=512, kinds=8, rows=19_381, depth=10, heads=16, head_width=64, n_features=266, feedforward=2048)
    # one number stands for a whole tensor, in memory and in the file
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes(sizes).items()}
    found = import_encoder(saved(tmp_path, state), layout="celllm", n_genes=19_379)
    assert sum(parameter.numel() for parameter in found.encoder.parameters()) == 51_926_536
    assert found.encoder.embedding.genes.weight.numel() == 9_923_072
    assert found.encoder.padded_length == found.recipe.tokens.max_length == 6000
    sizes = Sizes(width=200, kinds=7, rows=16_907, depth=6, heads=10, head_width=64, n_features=266, feedforward=800)
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes(sizes).items()}
    found = import_encoder(saved(tmp_path, state), layout="scbert", n_genes=16_906)
    settings = found.recipe.encoder
    assert (settings.heads, settings.head_width, settings.n_features, settings.depth) == (10, 64, 266, 6)
    assert found.recipe.tokens.layout == "full"
    assert found.recipe.tokens.max_length == 16_907
    assert found.panel == list(range(16_906))


@pytest.mark.parametrize("layout", ["celllm", "scbert"])
def test_a_bare_state_dict_and_a_training_checkpoint_are_the_same(tmp_path: Path, layout: str) -> None:
    state = drawn_state(layout)
    genes, bins = torch.tensor([[N_GENES[layout], 3, 8]]), torch.tensor([[CLS, 0, 4]])
    found = []
    for content in (state, {"epoch": 4, "model_state_dict": state, "losses": 0.25}):
        path = saved(tmp_path, content)
        found.append(import_encoder(path, layout=layout, n_genes=N_GENES[layout], max_length=16).encoder(genes, bins))
    assert torch.equal(found[0], found[1])
    assert found[0].dtype == torch.float32


def test_a_table_in_double_precision_is_rounded_and_stays_frozen(tmp_path: Path) -> None:
    state = drawn_state("celllm")
    state["pos_emb.emb.weight"] = state["pos_emb.emb.weight"].double() + 1e-12
    weight = import_encoder(saved(tmp_path, state), layout="celllm", n_genes=24).encoder.embedding.genes.weight
    assert weight.dtype == torch.float32
    assert not weight.requires_grad


def test_scberts_last_kind_is_both_pad_and_mask_and_kinds_it_has_not_are_never_predicted(tmp_path: Path) -> None:
    state = drawn_state("scbert")
    encoder = import_encoder(saved(tmp_path, state), layout="scbert", n_genes=15).encoder
    rows = encoder.embedding.expression.weight
    assert torch.equal(rows[MASK], state["token_emb.weight"][6])
    assert torch.equal(rows[PAD], rows[MASK])
    assert torch.equal(rows[CLS], state["token_emb.weight"][0])
    shares = encoder.expression_logits(torch.randn(4, 20)).softmax(-1)
    assert shares[:, [CLS, PAD]].max() == 0


def without(key: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if name != key}


def with_tensor(key: str, *shape: int) -> Callable[[State], State]:
    return lambda state: state | {key: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        pytest.param(without(f"{QUERIES}.weight"), f"{QUERIES}.weight", ["32 x 32", "nothing"], id="missing"),
        pytest.param(without("token_emb.weight"), "token_emb.weight", ["nothing"], id="missing, gives sizes"),
        pytest.param(without("to_out.bias"), "to_out.bias", ["nothing"], id="tied output"),
        pytest.param(with_tensor("norm.weight", 31), "norm.weight", ["expected: 32", "found:    31"], id="shape"),
        pytest.param(with_tensor("pos_emb.emb.weight", 26), "pos_emb.emb.weight", ["a matrix"], id="no matrix"),
        pytest.param(
            with_tensor("pos_emb.emb.weight", 30, 32), "pos_emb.emb.weight", ["26 rows", "--genes"], id="other genes"
        ),
        pytest.param(with_tensor("token_emb.weight", 7, 32), "token_emb.weight", ["--layout"], id="other layout"),
        pytest.param(with_tensor(f"{QUERIES}.bias", 32), f"{QUERIES}.bias", ["biases on queries"], id="biases"),
        pytest.param(with_tensor("head.weight", 3, 32), "head.weight", ["fine-tuned"], id="head"),
        pytest.param(
            with_tensor("performer.net.layers.0.1.fn.fn.w1.weight", 100, 32),
            "performer.net.layers.0.1.fn.fn.w1.weight",
            ["multiple of 32"],
            id="feed-forward",
        ),
    ],
)
def test_what_cannot_be_represented_is_refused_by_key(
    tmp_path: Path, change: Callable[[State], State], field: str, words: list[str]
) -> None:
    error = refused(saved(tmp_path, change(drawn_state("celllm"))))
    assert error.field == field
    for word in words:
        assert word in str(error)


class Harm:
    """Leaves a file behind when a pickle of it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)


def bare_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [torch.save, bare_pickle])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, write: Callable[[object, Path], None]) -> None:
    path, mark = tmp_path / "checkpoint.pth", tmp_path / "run"
    write({"model_state_dict": drawn_state("celllm"), "extra": Harm(mark)}, path)
    assert "state dict alone" in refused(path).remedy
    assert not mark.exists()


@pytest.mark.parametrize("content", [{"a": 1}, {"model_state_dict": {}}, [torch.zeros(2)]], ids=str)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    assert "model_state_dict" in refused(saved(tmp_path, content)).expected


@pytest.mark.parametrize("text", ["genes", ""])
def test_a_file_that_torch_did_not_write_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.pth").write_text(text)
    refused(tmp_path / "text.pth")


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """A folder with a checkpoint and a list of genes of each layout."""
    for layout, n_genes in N_GENES.items():
        torch.save({"model_state_dict": drawn_state(layout)}, tmp_path / f"{layout}.pth")
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
    straight = import_encoder(checkpoints / f"{layout}.pth", layout=layout, n_genes=n_genes, max_length=16)
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
    tmp_path: Path, cells: Cells, parts: dict[str, np.ndarray], layout: str, rows: int
) -> None:
    state = recorder.drawn_state(layout, replace(recorder.SIZES[layout], rows=rows))
    torch.save(state, tmp_path / f"{layout}.pth")
    (tmp_path / f"{layout}.txt").write_text("".join(f"GENE{i}\n" for i in range(40)))
    call(tmp_path, layout)
    genes = vocabulary.read(tmp_path / "genes.tsv")
    options = {"epochs": 10, "batch": 8, "learning_rate": 3e-3}
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


def test_the_command_is_called_import(checkpoints: Path) -> None:
    files = {"checkpoint": "celllm.pth", "genes": "celllm.txt", "out": "encoder.safetensors"}
    options = [f"--{name}={checkpoints / file}" for name, file in files.items()]
    run(commands.app, ["import", "--layout=celllm", *options])
    assert load_encoder(checkpoints / "encoder.safetensors").encoder.padded_length == 6000
    with pytest.raises(SystemExit, match="2"):
        run(commands.app, ["import", "--layout=celllm", *options, f"--genes={checkpoints / 'scbert.txt'}"])
