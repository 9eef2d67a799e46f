"""Attention `released` gives the numbers of the authors' encoder: recorded ones, and their code's where it is at hand.

CELLLM_RELEASED names a copy of PharMolix/OpenBioMed; its code needs einops and local-attention.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from celllm.corpus.tokens import MASK, N_BINS, tokenise
from celllm.model.encoder import Encoder
from celllm.model.imported import Sizes, import_encoder
from celllm.model.released import released_features

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
CASES = [("celllm", "padded"), ("celllm", "without_padding"), ("celllm", "truncated"), ("scbert", "whole")]
FULL = Sizes(
    width=512, kinds=8, rows=19_381, depth=10, heads=16, head_width=64, n_features=266, feedforward=2048
)  # configs/ctc/cellLM.json


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests/golden" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recorder = script("record_released_encoder")


@pytest.fixture(scope="module")
def released() -> Path:
    if "CELLLM_RELEASED" not in os.environ:
        pytest.skip("no copy of PharMolix/OpenBioMed; set CELLLM_RELEASED to compare with the code itself")
    for package in ("einops", "local_attention"):
        pytest.importorskip(package)
    return Path(os.environ["CELLLM_RELEASED"])


def imported(folder: Path, layout: str, state: dict[str, torch.Tensor], max_length: int) -> Encoder:
    torch.save({"model_state_dict": state}, folder / "checkpoint.pth")
    n_genes = len(state["pos_emb.emb.weight"]) - (2 if layout == "celllm" else 1)
    return import_encoder(folder / "checkpoint.pth", layout=layout, n_genes=n_genes, max_length=max_length).encoder


def tokens(layout: str, levels: np.ndarray, max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Our tokens from log expression, which `zscore` takes as it is."""
    from celllm.config.recipe_encoder import TokenSettings

    shape = {"layout": "full", "max_length": levels.shape[1] + 1} if layout == "scbert" else {"max_length": max_length}
    made = tokenise(csr_matrix(levels), TokenSettings(truncation="head", **shape), units="zscore")
    genes_BL, bins_BL, _ = made.padded()
    return torch.from_numpy(genes_BL), torch.from_numpy(bins_BL)


def agrees(ours: torch.Tensor, theirs: torch.Tensor, layout: str, tolerance: float = TOLERANCE) -> None:
    """Compare hidden states or logits; scBERT's token without a gene stands last, ours first."""
    if layout == "scbert":
        theirs = theirs.roll(1, dims=1)
    n_tokens = ours.shape[1]
    torch.testing.assert_close(ours, theirs[:, :n_tokens].to(ours.dtype), atol=tolerance, rtol=0)


@pytest.mark.parametrize(("layout", "batch"), CASES)
def test_hidden_states_and_logits_are_those_recorded_from_the_authors_encoder(
    tmp_path: Path, layout: str, batch: str
) -> None:
    recorded = json.loads(recorder.RECORDED.read_text())[layout][batch]
    encoder = imported(tmp_path, layout, recorder.drawn_state(layout), recorder.MAX_LENGTH)
    genes, bins = tokens(layout, recorder.batches(layout)[batch], recorder.MAX_LENGTH)
    with torch.no_grad():
        hidden = encoder(genes, bins)
        logits = encoder.expression_logits(hidden)
        cls = encoder.embed(genes, bins)
    kinds = [*range(N_BINS), MASK] if layout == "scbert" else slice(None)
    agrees(hidden, torch.tensor(recorded["hidden"]), layout)
    agrees(logits[:, :, kinds], torch.tensor(recorded["logits"]), layout)
    torch.testing.assert_close(cls, hidden[:, 0], atol=1e-6, rtol=0)
    assert hidden[:, 0].std() > 0.5


def test_the_records_cover_padding_truncation_and_their_absence() -> None:
    lengths = {}
    for layout, batch in CASES:
        _, bins = tokens(layout, recorder.batches(layout)[batch], recorder.MAX_LENGTH)
        lengths[batch] = sorted((bins != 7).sum(1).tolist())
    assert lengths == {
        "padded": [2, 4, 10, 15],
        "without_padding": [16] * 3,
        "truncated": [16] * 2,
        "whole": [16] * 3,
    }


@pytest.mark.parametrize("layout", ["celllm", "scbert"])
def test_the_records_are_what_the_authors_code_answers(released: Path, layout: str) -> None:
    recorded = json.loads(recorder.RECORDED.read_text())[layout]
    for batch, found in recorder.answers(released, layout).items():
        for name, values in found.items():
            np.testing.assert_allclose(values, recorded[batch][name], atol=2e-6, rtol=0)


@pytest.mark.parametrize("batch", ["padded", "truncated"])
def test_in_double_precision_nothing_but_rounding_differs_in_values_and_gradients(
    released: Path, tmp_path: Path, batch: str
) -> None:
    theirs = recorder.authors_encoder(released, "celllm")
    theirs.load_state_dict(recorder.drawn_state("celllm"))
    theirs = theirs.double()
    theirs.requires_grad_(True)
    ours = imported(tmp_path, "celllm", recorder.drawn_state("celllm"), recorder.MAX_LENGTH).double()
    levels = recorder.batches("celllm")[batch]
    genes, bins = tokens("celllm", levels, recorder.MAX_LENGTH)
    hidden, expected = ours(genes, bins), recorder.authors_hidden(theirs, "celllm", levels)
    agrees(hidden, expected, "celllm", 1e-11)

    hidden.square().sum(2).sin().sum().backward()
    expected.square().sum(2).sin().sum().backward()
    pairs = {
        "token_emb.weight": ours.embedding.expression.weight,
        "performer.net.layers.0.0.fn.to_out.weight": ours.layers[0].attention.to_out.weight,
        "performer.net.layers.1.1.fn.fn.w1.weight": ours.layers[1].feedforward[0].weight,
    }
    for name, parameter in pairs.items():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad, atol=1e-9, rtol=1e-9)
    qkv = torch.cat([theirs.get_parameter(f"performer.net.layers.0.0.fn.to_{x}.weight").grad for x in "qkv"])
    torch.testing.assert_close(ours.layers[0].attention.to_qkv.weight.grad, qkv, atol=1e-9, rtol=1e-9)


def test_random_features_are_theirs_to_the_bit(released: Path) -> None:
    draw = recorder.authors_module(released, "celllm").gaussian_orthogonal_random_matrix
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        expected = draw(266, 64)
    assert torch.equal(released_features(266, 64, torch.Generator().manual_seed(3)), expected)


@pytest.mark.slow
def test_at_full_size_their_class_has_the_papers_parameters_and_gives_our_numbers(
    released: Path, tmp_path: Path
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        theirs = recorder.authors_encoder(released, "celllm", FULL, max_length=300)
        theirs.pos_emb.emb.weight[:19_379] = torch.randn(19_379, 512)
    assert sum(parameter.numel() for parameter in theirs.parameters()) == 51_926_536
    ours = imported(tmp_path, "celllm", theirs.state_dict(), 300)
    assert sum(parameter.numel() for parameter in ours.parameters()) == 51_926_536
    assert ours.embedding.genes.weight.numel() == 9_923_072
    levels = recorder.drawn_levels((150, 299, 40), 19_379)
    genes, bins = tokens("celllm", levels, 300)
    with torch.no_grad():
        agrees(ours(genes, bins), recorder.authors_hidden(theirs, "celllm", levels), "celllm")
