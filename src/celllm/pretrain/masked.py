"""Masked expression: hide the bins of some genes and predict them (paper section 7).

Shapes: B cells, L tokens a cell, N hidden tokens, T kinds of token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from celllm.corpus.tokens import CLS, MASK, PAD

IGNORED = -100
"""Target of a token that is not to be predicted."""


@dataclass(frozen=True)
class MaskedTokens:
    """What the encoder sees and what it has to say.

    Parameters
    ----------
    bins_BL
        Bins with some of them replaced by MASK.
    targets_BL
        The true bin where it is to be predicted, `IGNORED` elsewhere.
    """

    bins_BL: Tensor
    targets_BL: Tensor


def mask(
    bins_BL: Tensor,
    *,
    rate: float,
    replace_share: float,
    generator: torch.Generator,
    is_zero_silent: bool = False,
) -> MaskedTokens:
    """Choose tokens to predict, each with probability `rate`, and hide most of them; CLS and PAD never.

    Parameters
    ----------
    bins_BL
        Bins and special tokens, int64.
    rate
        Share of the candidate tokens to be predicted.
    replace_share
        Share of those that become MASK; the rest stay visible. None become another bin.
    generator
        On the device of `bins_BL`, or on the CPU.
    is_zero_silent
        Layout `full`: bin 0 is a gene that is silent, or nearly so, and is never chosen, as in scBERT. In layout
        `nonzero` every token is an expressed gene, bin 0 included.
    """
    chance_BL = torch.rand(bins_BL.shape, generator=generator, device=generator.device).to(bins_BL.device)
    is_candidate_BL = (bins_BL != CLS) & (bins_BL != PAD)
    if is_zero_silent:
        is_candidate_BL &= bins_BL != 0
    is_chosen_BL = is_candidate_BL & (chance_BL < rate)
    # below rate * replace_share: uniform again among the chosen, so one draw serves both
    is_hidden_BL = is_chosen_BL & (chance_BL < rate * replace_share)
    return MaskedTokens(
        bins_BL=bins_BL.masked_fill(is_hidden_BL, MASK),
        targets_BL=bins_BL.masked_fill(~is_chosen_BL, IGNORED),
    )


def places(targets_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Return where to look in each cell, and for what: CLS, then the tokens to be predicted.

    An encoder that is asked for these places only can save most of its last layer.

    Returns
    -------
    Places B x Q, where Q is 1 + the most targets of any cell and cells with fewer repeat place 0; and their
    targets B x Q, `IGNORED` at CLS and at the repeats.
    """
    is_chosen_BL = targets_BL != IGNORED
    n_most = int(is_chosen_BL.sum(dim=1).max())
    first_BL = is_chosen_BL.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :n_most]
    is_real_BL = is_chosen_BL.gather(1, first_BL)
    targets_BQ = targets_BL.gather(1, first_BL)  # IGNORED where not real
    cls_B1 = first_BL.new_zeros(len(first_BL), 1)
    return (
        torch.cat([cls_B1, first_BL * is_real_BL], dim=1),
        torch.cat([torch.full_like(cls_B1, IGNORED), targets_BQ], dim=1),
    )


@dataclass(frozen=True)
class MaskedLoss:
    """Sums over the hidden tokens of a chunk, so that chunks of any size add up to the batch.

    Parameters
    ----------
    loss_sum
        Cross-entropy in nats, summed, with its graph.
    n_tokens
        Tokens predicted.
    n_correct
        Of those, how many rightly.
    """

    loss_sum: Tensor
    n_tokens: int
    n_correct: int


def masked_loss(logits_NT: Tensor, targets_N: Tensor) -> MaskedLoss:
    """Score predictions of hidden bins; in float32 at least.

    Parameters
    ----------
    logits_NT
        Scores of the token kinds for hidden tokens only.
    targets_N
        Their true bins.
    """
    if logits_NT.dtype in (torch.float16, torch.bfloat16):
        logits_NT = logits_NT.float()
    return MaskedLoss(
        loss_sum=functional.cross_entropy(logits_NT, targets_N, reduction="sum"),
        n_tokens=len(targets_N),
        n_correct=int((logits_NT.detach().argmax(dim=-1) == targets_N).sum()),
    )


def majority_accuracy(targets_N: Tensor) -> float:
    """Return the accuracy of always saying the commonest bin: what a masked accuracy has to beat."""
    return float(torch.bincount(targets_N).max() / len(targets_N)) if len(targets_N) else float("nan")
