"""Masking hides what it should, and its loss adds up over chunks."""

from __future__ import annotations

import pytest
import torch

from celllm.corpus.tokens import CLS, MASK, PAD
from celllm.pretrain import masked


def bins(n_cells: int = 200, length: int = 101) -> torch.Tensor:
    made = torch.randint(6, (n_cells, length), generator=torch.Generator().manual_seed(0))
    made[:, 0] = CLS
    made[:, -20:] = PAD
    return made


def hidden(is_zero_silent: bool = False, seed: int = 1) -> masked.MaskedTokens:
    return masked.mask(
        bins(),
        rate=0.15,
        replace_share=0.9,
        generator=torch.Generator().manual_seed(seed),
        is_zero_silent=is_zero_silent,
    )


def test_cls_and_pad_are_never_chosen() -> None:
    chosen = hidden().targets_BL != masked.IGNORED
    assert not chosen[:, 0].any()
    assert not chosen[:, -20:].any()


def test_fifteen_percent_are_chosen_and_nine_tenths_of_them_hidden() -> None:
    made = hidden()
    chosen = made.targets_BL != masked.IGNORED
    assert chosen[:, 1:-20].float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert (made.bins_BL[chosen] == MASK).float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert not (made.bins_BL[~chosen] == MASK).any()


def test_what_is_not_hidden_stays_and_targets_are_the_truth() -> None:
    made, truth = hidden(), bins()
    is_hidden = made.bins_BL == MASK
    assert torch.equal(made.bins_BL[~is_hidden], truth[~is_hidden])
    chosen = made.targets_BL != masked.IGNORED
    assert torch.equal(made.targets_BL[chosen], truth[chosen])


def test_bin_zero_is_chosen_only_where_it_is_an_expressed_gene() -> None:
    assert (hidden().targets_BL == 0).any()
    assert not (hidden(is_zero_silent=True).targets_BL == 0).any()


def test_masks_follow_the_generator() -> None:
    assert torch.equal(hidden().bins_BL, hidden().bins_BL)
    assert not torch.equal(hidden().bins_BL, hidden(seed=2).bins_BL)


def test_places_are_cls_and_every_target() -> None:
    ignored = masked.IGNORED
    targets = torch.tensor([[ignored, 3, ignored, 5, 0], [ignored, ignored, 2, ignored, ignored]])
    places, found = masked.places(targets)
    assert places.tolist() == [[0, 1, 3, 4], [0, 2, 0, 0]]
    assert found.tolist() == [[ignored, 3, 5, 0], [ignored, 2, ignored, ignored]]


def test_losses_of_chunks_add_up_to_that_of_all() -> None:
    logits = torch.randn(11, 9, dtype=torch.float64)
    targets = torch.randint(6, (11,))
    whole = masked.masked_loss(logits, targets)
    parts = [masked.masked_loss(logits[rows], targets[rows]) for rows in (slice(0, 4), slice(4, 4), slice(4, 11))]
    expected = -logits.log_softmax(-1)[torch.arange(11), targets].sum()
    torch.testing.assert_close(whole.loss_sum, expected)
    torch.testing.assert_close(torch.stack([part.loss_sum for part in parts]).sum(), expected)
    assert sum(part.n_tokens for part in parts) == 11
    assert sum(part.n_correct for part in parts) == whole.n_correct == int((logits.argmax(-1) == targets).sum())


def test_the_majority_is_the_share_of_the_commonest_bin() -> None:
    assert masked.majority_accuracy(torch.tensor([0, 0, 3, 0, 5])) == pytest.approx(0.6)
