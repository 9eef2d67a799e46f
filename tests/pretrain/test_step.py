"""One step's gradient is that of the total loss written out over the whole batch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from celllm.config.recipe import Recipe
from celllm.corpus.tokens import PAD
from celllm.model.encoder import Encoder
from celllm.pretrain.batch import IGNORED, StepBatch, make_batch
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.losses import info_nce
from celllm.pretrain.step import Pretrained, StepLoss

CPU = torch.device("cpu")


def prepared(recipe: Recipe, corpus: Any, gene_embedding: np.ndarray) -> tuple[Pretrained, StepBatch]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        encoder = Encoder(recipe.encoder, n_genes=corpus.n_genes, gene_embedding=torch.from_numpy(gene_embedding))
        module = Pretrained(encoder, recipe.objectives).double().train()
    return module, make_batch(corpus, np.arange(14), recipe, panel=None, seed=0, step=1, device=CPU)


def compared(module: Pretrained, cells: dict[str, torch.Tensor], bins_BL: torch.Tensor) -> torch.Tensor:
    """What the contrastive loss compares, made one cell at a time and without padding."""
    made = []
    for genes_L, bins_L in zip(cells["genes"], bins_BL, strict=True):
        is_token_L = bins_L != PAD
        hidden_LD = module.encoder(genes_L[is_token_L][None], bins_L[is_token_L][None])[0]
        parts = {"cls": hidden_LD[0], "mean": hidden_LD[1:].mean(0)}
        pooling = module.encoder.settings.pooling
        made.append(torch.cat(list(parts.values())) if pooling == "both" else parts[pooling])
    z_BD = torch.stack(made)
    return z_BD if module.projection is None else module.projection(z_BD)


def written_out(module: Pretrained, batch: StepBatch, weights: dict[str, float], *, is_shared: bool) -> torch.Tensor:
    everything = slice(0, len(batch))
    cells = batch.masked()[everything]
    hidden = module.encoder(cells["genes"], cells["bins"])
    is_target = cells["targets"] != IGNORED
    logits = module.encoder.expression_logits(hidden)[is_target]
    masked_loss = torch.nn.functional.cross_entropy(logits, cells["targets"][is_target])
    is_known = batch.labels(everything) >= 0
    told = module.malignancy_head(hidden[:, 0])[is_known]
    truth = batch.labels(everything)[is_known].double()
    malignancy_loss = torch.nn.functional.binary_cross_entropy_with_logits(told, truth)
    views = [batch, batch] if batch.views is None else list(batch.views)
    if is_shared:
        views[0] = batch
    hides = is_shared or batch.views is not None
    shown = [(one.masked(targets=False) if hides else one.plain())[everything] for one in views]
    first, second = (compared(module, one, one["bins"]) for one in shown)
    contrastive_loss = info_nce(first, second, temperature=0.05)  # no dropout: plain views are equal
    losses = {"masked": masked_loss, "malignancy": malignancy_loss, "contrastive": contrastive_loss}
    # 0 times a mean over no token is not 0
    return torch.stack([weights[name] * loss for name, loss in losses.items() if weights[name]]).sum()


@pytest.mark.parametrize("is_shared", [False, True], ids=["plain views", "shared masked view"])
@pytest.mark.parametrize(
    "weights",
    [
        {"masked": 1.0, "contrastive": 0.5, "malignancy": 2.0},
        {"masked": 1.0, "contrastive": 0.0, "malignancy": 0.0},
        {"masked": 0.0, "contrastive": 1.0, "malignancy": 0.0},
        {"masked": 0.0, "contrastive": 0.0, "malignancy": 1.0},
    ],
    ids=["all", "masked", "contrastive", "malignancy"],
)
@pytest.mark.parametrize("max_tokens", [1, 70])
def test_the_gradient_is_that_of_the_weighted_sum_over_the_whole_batch(
    corpus: Any,
    gene_embedding: np.ndarray,
    tiny_recipe: Any,
    weights: dict[str, float],
    max_tokens: int,
    is_shared: bool,
) -> None:
    objectives = {name: {"weight": weight} for name, weight in weights.items()}
    recipe = tiny_recipe(objectives={**objectives, "shared_masked_view": is_shared}, encoder={"dropout": 0.0})
    module, batch = prepared(recipe, corpus, gene_embedding)
    assert_step_is(module, batch, recipe, written_out(module, batch, weights, is_shared=is_shared), max_tokens)


@pytest.mark.parametrize("is_shared", [False, True], ids=["plain views", "shared masked view"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "both"])
@pytest.mark.parametrize("projection", ["none", "mlp"])
@pytest.mark.parametrize("max_tokens", [1, 70])
def test_the_gradient_is_that_of_the_whole_batch_whatever_is_compared(
    corpus: Any,
    gene_embedding: np.ndarray,
    tiny_recipe: Any,
    pooling: str,
    projection: str,
    max_tokens: int,
    is_shared: bool,
) -> None:
    objectives = {
        "contrastive": {"projection": projection},
        "malignancy": {"weight": 2.0},
        "shared_masked_view": is_shared,
    }
    recipe = tiny_recipe(objectives=objectives, encoder={"dropout": 0.0, "pooling": pooling})
    module, batch = prepared(recipe, corpus, gene_embedding)
    weights = {"masked": 1.0, "contrastive": 1.0, "malignancy": 2.0}
    loss = written_out(module, batch, weights, is_shared=is_shared)
    assert_step_is(module, batch, recipe, loss, max_tokens)
    assert (module.projection is not None) == (projection == "mlp")
    for name, parameter in module.named_parameters():
        if "projection" in name:
            assert parameter.grad is not None
            assert parameter.grad.any(), name


@pytest.mark.parametrize("is_shared", [False, True], ids=["plain views", "shared masked view"])
@pytest.mark.parametrize("kind", ["mask", "subset", "thinning_subset"])
def test_the_gradient_is_that_of_the_whole_batch_for_each_kind_of_view(
    corpus: Any, gene_embedding: np.ndarray, tiny_recipe: Any, kind: str, is_shared: bool
) -> None:
    objectives = {"contrastive": {"views": kind}, "shared_masked_view": is_shared}
    recipe = tiny_recipe(objectives=objectives, encoder={"dropout": 0.0})
    module, batch = prepared(recipe, corpus, gene_embedding)
    weights = dict.fromkeys(("masked", "contrastive", "malignancy"), 1.0)
    assert_step_is(module, batch, recipe, written_out(module, batch, weights, is_shared=is_shared), 70)


@pytest.mark.parametrize("is_shared", [False, True], ids=["plain views", "shared masked view"])
@pytest.mark.parametrize("kind", ["dropout", "thinning_subset"])
def test_kept_graphs_save_passes_and_change_no_gradient(
    corpus: Any,
    gene_embedding: np.ndarray,
    tiny_recipe: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    is_shared: bool,
) -> None:
    objectives = {"contrastive": {"views": kind}, "shared_masked_view": is_shared, "malignancy": {"weight": 2.0}}
    recipe = tiny_recipe(objectives=objectives, encoder={"dropout": 0.0})
    module, batch = prepared(recipe, corpus, gene_embedding)
    n_forwards: list[int] = []
    real = module.encoder.at
    monkeypatch.setattr(module.encoder, "at", lambda *tokens: (n_forwards.append(1), real(*tokens))[1])
    found = []
    for keep_tokens in (0, 150, 100_000):
        n_forwards.clear()
        module.zero_grad()
        step = StepLoss(module, recipe.objectives, max_tokens=70, keep_tokens=keep_tokens, autocast=nullcontext)
        loss, figures = step.accumulate(batch, check=True)
        assert figures["check_difference"] is not None
        assert figures["check_difference"] < 1e-9
        found.append((len(n_forwards), loss, [p.grad for p in module.parameters() if p.grad is not None]))
    n_chunks = len(by_tokens(np.maximum(batch.lengths_B, batch.view_lengths_B), 70))
    assert found[0][0] > found[1][0] > found[2][0]
    assert found[0][0] - found[2][0] == 2 * n_chunks - 1  # all but one were passed twice
    for _, loss, gradients in found[1:]:
        torch.testing.assert_close(loss, found[0][1])
        torch.testing.assert_close(gradients, found[0][2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("is_shared", [False, True], ids=["plain views", "shared masked view"])
@pytest.mark.parametrize("kind", ["dropout", "thinning_subset"])
@pytest.mark.parametrize(
    "choices",
    [{"pooling": "mean"}, {"attention": "none", "expression": "value"}, {"cls": "mean_of_tokens", "pooling": "both"}],
    ids=str,
)
def test_with_dropout_the_chunked_step_of_projected_embeddings_is_that_of_the_full_batch(
    corpus: Any, gene_embedding: np.ndarray, tiny_recipe: Any, choices: dict[str, str], kind: str, is_shared: bool
) -> None:
    objectives = {"contrastive": {"projection": "mlp", "views": kind}, "shared_masked_view": is_shared}
    recipe = tiny_recipe(objectives=objectives, encoder=choices)
    assert recipe.encoder.dropout > 0
    module, batch = prepared(recipe, corpus, gene_embedding)
    step = StepLoss(module, recipe.objectives, max_tokens=70, keep_tokens=150, autocast=nullcontext)
    _, figures = step.accumulate(batch, check=True)
    assert figures["pass_difference"] == 0
    assert figures["check_difference"] is not None
    assert figures["check_difference"] < 1e-9
    assert figures["alignment"] is not None
    assert figures["alignment"] > 1e-3  # the views do differ


def test_a_projection_that_the_module_does_not_have_is_refused(
    corpus: Any, gene_embedding: np.ndarray, tiny_recipe: Any
) -> None:
    module, _ = prepared(tiny_recipe(), corpus, gene_embedding)
    objectives = tiny_recipe(objectives={"contrastive": {"projection": "mlp"}}).objectives
    with pytest.raises(ValueError, match="disagree about a projection"):
        StepLoss(module, objectives, max_tokens=70, autocast=nullcontext)


def test_a_projection_leaves_the_encoder_as_it_is_drawn_without_one(
    corpus: Any, gene_embedding: np.ndarray, tiny_recipe: Any
) -> None:
    without, _ = prepared(tiny_recipe(), corpus, gene_embedding)
    projected, _ = prepared(tiny_recipe(objectives={"contrastive": {"projection": "mlp"}}), corpus, gene_embedding)
    for name, tensor in without.state_dict().items():
        torch.testing.assert_close(projected.state_dict()[name], tensor, rtol=0, atol=0)
    assert not [name for name in projected.encoder.state_dict() if "projection" in name]


def assert_step_is(
    module: Pretrained, batch: StepBatch, recipe: Recipe, expected_loss: torch.Tensor, max_tokens: int
) -> None:
    """The chunked step has this loss, and its gradient."""
    expected_loss.backward()
    expected = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    step = StepLoss(module, recipe.objectives, max_tokens=max_tokens, autocast=nullcontext)
    loss, figures = step.accumulate(batch)
    torch.testing.assert_close(loss, expected_loss.detach())
    assert figures["loss"] == pytest.approx(expected_loss.item())
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-8, atol=1e-10)
        else:
            assert name not in expected or not expected[name].any(), name


def test_without_a_contrastive_weight_no_view_is_encoded(
    corpus: Any, gene_embedding: np.ndarray, tiny_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(objectives={"contrastive": {"weight": 0}, "malignancy": {"weight": 0}})
    module, batch = prepared(recipe, corpus, gene_embedding)
    monkeypatch.setattr(module.encoder, "embed", lambda *_: pytest.fail("a view was encoded"))
    step = StepLoss(module, recipe.objectives, max_tokens=100, autocast=nullcontext)
    _, figures = step.accumulate(batch, health=False)
    for name in ("contrastive", "alignment", "uniformity", "mean_cosine", "pass_difference", "malignancy"):
        assert figures[name] is None
    assert figures["masked"] == pytest.approx(figures["loss"])


@pytest.mark.parametrize(("is_shared", "n_forwards"), [(False, 4), (True, 3)])
def test_a_shared_masked_view_saves_one_forward_pass(
    corpus: Any,
    gene_embedding: np.ndarray,
    tiny_recipe: Any,
    monkeypatch: pytest.MonkeyPatch,
    is_shared: bool,
    n_forwards: int,
) -> None:
    recipe = tiny_recipe(objectives={"shared_masked_view": is_shared})
    module, batch = prepared(recipe, corpus, gene_embedding)
    seen = []
    real = module.encoder.at
    monkeypatch.setattr(module.encoder, "at", lambda *tokens: (seen.append(1), real(*tokens))[1])
    StepLoss(module, recipe.objectives, max_tokens=1000, autocast=nullcontext).accumulate(batch)
    assert len(seen) == n_forwards


def test_the_two_views_differ_by_dropout_and_both_passes_agree(
    corpus: Any, gene_embedding: np.ndarray, tiny_recipe: Any
) -> None:
    recipe = tiny_recipe()
    module, batch = prepared(recipe, corpus, gene_embedding)
    _, figures = StepLoss(module, recipe.objectives, max_tokens=100, autocast=nullcontext).accumulate(batch)
    assert figures["pass_difference"] == 0
    assert figures["alignment"] is not None
    assert figures["alignment"] > 1e-3


def test_a_batch_without_labels_has_no_malignancy_figures(
    corpus: Any, gene_embedding: np.ndarray, tiny_recipe: Any
) -> None:
    corpus.is_malignant[:] = -1
    recipe = tiny_recipe()
    module, batch = prepared(recipe, corpus, gene_embedding)
    loss, figures = StepLoss(module, recipe.objectives, max_tokens=100, autocast=nullcontext).accumulate(batch)
    assert torch.isfinite(loss)
    assert figures["malignancy"] is figures["malignancy_accuracy"] is figures["malignancy_majority"] is None
