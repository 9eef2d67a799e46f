"""One step's gradient is that of the total loss written out over the whole batch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from tiny import made_corpus, tiny_recipe

from celllm.corpus.tokens import PAD
from celllm.pretrain.batch import IGNORED, make_batch
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.losses import info_nce
from celllm.pretrain.step import Pretrained, StepLoss
from celllm.pretrain.synthetic import CPU, synthetic_module

WEIGHTS = {"masked": 1.0, "contrastive": 0.5, "malignancy": 2.0}
ALL = slice(0, 14)


class Step:
    """A step on 14 cells of the corpus, in double precision."""

    def __init__(self, *, dropout: float = 0.0, is_labelled: bool = True, **changes: Any) -> None:
        """`changes`: weights, other keys of the contrastive loss, `shared_masked_view` and keys of the encoder."""
        weights = {name: {"weight": changes.pop(name, weight)} for name, weight in WEIGHTS.items()}
        for key in ("views", "projection"):
            weights["contrastive"] |= {key: changes.pop(key)} if key in changes else {}
        shared = {"shared_masked_view": changes.pop("shared_masked_view", False)}
        self.recipe = tiny_recipe(objectives=weights | shared, encoder={"dropout": dropout, **changes})
        self.objectives = self.recipe.objectives
        corpus = made_corpus()
        if not is_labelled:
            corpus.is_malignant[:] = -1
        self.module: Pretrained = synthetic_module(self.recipe, corpus.n_genes).double()
        self.batch = make_batch(corpus, np.arange(14), self.recipe, panel=None, seed=0, step=1, device=CPU)

    def take(self, *, max_tokens: int = 70, keep_tokens: int = 0, **options: Any) -> tuple[torch.Tensor, dict]:
        self.module.zero_grad()
        sizes = {"max_tokens": max_tokens, "keep_tokens": keep_tokens}
        return StepLoss(self.module, **sizes, autocast=nullcontext).accumulate(self.batch, **options)

    def gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad.clone() for name, p in self.module.named_parameters() if p.grad is not None}

    def compared(self, cells: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the contrastive loss compares, made one cell at a time and without padding."""
        made = []
        encoder = self.module.encoder
        for genes_L, bins_L in zip(cells["genes"], cells["bins"], strict=True):
            is_token_L = bins_L != PAD
            hidden_LD = encoder(genes_L[is_token_L][None], bins_L[is_token_L][None])[0]
            parts = {"cls": hidden_LD[0], "mean": hidden_LD[1:].mean(0)}
            pooling = encoder.settings.pooling
            made.append(torch.cat(list(parts.values())) if pooling == "both" else parts[pooling])
        z_BD = torch.stack(made)
        return z_BD if self.module.projection is None else self.module.projection(z_BD)

    def written_out(self) -> torch.Tensor:
        batch, functional = self.batch, torch.nn.functional
        cells = batch.masked()[ALL]
        hidden = self.module.encoder(cells["genes"], cells["bins"])
        is_target = cells["targets"] != IGNORED
        logits = self.module.encoder.expression_logits(hidden)[is_target]
        labels = batch.labels(ALL)
        told = self.module.malignancy_head(hidden[:, 0])[labels >= 0]
        views = list(batch.views or (batch, batch))
        if is_shared := self.objectives.shared_masked_view:
            views[0] = batch
        hides = is_shared or batch.views is not None
        shown = [(one.masked(targets=False) if hides else one.plain())[ALL] for one in views]
        losses = {
            "masked": functional.cross_entropy(logits, cells["targets"][is_target]),
            "malignancy": functional.binary_cross_entropy_with_logits(told, labels[labels >= 0].double()),
            "contrastive": info_nce(*map(self.compared, shown), temperature=0.05),
        }
        weights = {name: getattr(self.objectives, name).weight for name in losses}
        # 0 times a mean over no token is not 0
        return torch.stack([weights[name] * loss for name, loss in losses.items() if weights[name]]).sum()


@pytest.mark.parametrize("is_shared", [False, True], ids=["plain views", "shared masked view"])
@pytest.mark.parametrize(
    ("changes", "max_tokens"),
    [
        ({}, 1),
        ({}, 70),
        ({"contrastive": 0.0, "malignancy": 0.0}, 70),
        ({"masked": 0.0, "malignancy": 0.0}, 70),
        ({"masked": 0.0, "contrastive": 0.0}, 70),
        ({"pooling": "mean"}, 70),
        ({"pooling": "both", "projection": "mlp"}, 70),
        ({"projection": "mlp"}, 1),
        ({"views": "mask"}, 70),
        ({"views": "subset"}, 70),
        ({"views": "thinning_subset", "pooling": "mean"}, 70),
    ],
    ids=str,
)
def test_the_gradient_is_that_of_the_weighted_sum_over_the_whole_batch(
    changes: dict[str, Any], max_tokens: int, is_shared: bool
) -> None:
    step = Step(**changes, shared_masked_view=is_shared)
    expected_loss = step.written_out()
    expected_loss.backward()
    expected = step.gradients()
    loss, figures = step.take(max_tokens=max_tokens)
    torch.testing.assert_close(loss, expected_loss.detach())
    assert figures["loss"] == pytest.approx(expected_loss.item())
    found = step.gradients()
    for name, gradient in expected.items():
        if name in found:
            torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10)
        else:
            assert not gradient.any(), name
    assert ("projection" in changes) == any("projection" in name and found[name].any() for name in found)


@pytest.mark.parametrize("is_shared", [False, True], ids=["plain views", "shared masked view"])
@pytest.mark.parametrize("views", ["dropout", "thinning_subset"])
def test_kept_graphs_save_passes_and_change_no_gradient(
    monkeypatch: pytest.MonkeyPatch, views: str, is_shared: bool
) -> None:
    step = Step(views=views, shared_masked_view=is_shared)
    n_forwards: list[int] = []
    real = step.module.encoder.at
    monkeypatch.setattr(step.module.encoder, "at", lambda *tokens: (n_forwards.append(1), real(*tokens))[1])
    found = []
    for keep_tokens in (0, 150, 100_000):
        n_forwards.clear()
        loss, _ = step.take(keep_tokens=keep_tokens, health=False)
        found.append((len(n_forwards), loss, list(step.gradients().values())))
    n_chunks = len(by_tokens(np.maximum(step.batch.lengths_B, step.batch.view_lengths_B), 70))
    assert found[0][0] > found[1][0] > found[2][0]
    assert found[0][0] - found[2][0] == 2 * n_chunks - 1  # all but one were passed twice
    for _, loss, gradients in found[1:]:
        torch.testing.assert_close(loss, found[0][1])
        torch.testing.assert_close(gradients, found[0][2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "mean"},
        {"pooling": "mean", "views": "thinning_subset", "shared_masked_view": True},
        {"attention": "none", "expression": "value", "shared_masked_view": True},
        {"attention": "none", "expression": "value", "views": "thinning_subset"},
        {"cls": "mean_of_tokens", "pooling": "both", "projection": "mlp"},
        {"cls": "mean_of_tokens", "pooling": "both", "views": "mask", "shared_masked_view": True},
    ],
    ids=str,
)
def test_with_dropout_the_chunked_step_is_that_of_the_full_batch_and_its_views_differ(changes: dict[str, Any]) -> None:
    _, figures = Step(dropout=0.1, **changes).take(keep_tokens=150, check=True)
    assert figures["pass_difference"] == 0
    assert figures["check_difference"] < 1e-9
    assert figures["alignment"] > 1e-3


def test_a_projection_is_the_recipes_and_leaves_the_encoder_as_it_is_drawn_without_one() -> None:
    without, projected = Step(), Step(projection="mlp")
    for name, tensor in without.module.state_dict().items():
        assert torch.equal(projected.module.state_dict()[name], tensor), name
    assert not [name for name in projected.module.encoder.state_dict() if "projection" in name]


def test_without_a_contrastive_weight_no_view_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(contrastive=0.0, malignancy=0.0)
    monkeypatch.setattr(step.module.encoder, "embed", lambda *_: pytest.fail("a view was encoded"))
    _, figures = step.take(health=False)
    for name in ("contrastive", "alignment", "uniformity", "mean_cosine", "pass_difference", "malignancy"):
        assert figures[name] is None
    assert figures["masked"] == pytest.approx(figures["loss"])


def test_a_batch_without_labels_has_no_malignancy_figures() -> None:
    loss, figures = Step(is_labelled=False).take()
    assert torch.isfinite(loss)
    assert figures["malignancy"] is figures["malignancy_accuracy"] is figures["malignancy_majority"] is None
