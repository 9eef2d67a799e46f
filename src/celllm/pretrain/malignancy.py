"""Tumour or normal, from a cell's embedding (paper section 7: cell type discrimination).

Shapes: B cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

UNKNOWN = -1
"""Label of a cell of which nobody says whether it is malignant."""


@dataclass(frozen=True)
class MalignancyLoss:
    """Sums over the labelled cells of a chunk, so that chunks of any size add up to the batch.

    Parameters
    ----------
    loss_sum
        Binary cross-entropy in nats, summed, with its graph; 0 without labelled cells.
    n_cells
        Labelled cells.
    n_correct
        Of those, how many rightly told.
    """

    loss_sum: Tensor
    n_cells: int
    n_correct: int


def malignancy_loss(logits_B: Tensor, is_malignant_B: Tensor) -> MalignancyLoss:
    """Score the logits of "tumour"; in float32 at least.

    Parameters
    ----------
    logits_B
        Above 0 means tumour.
    is_malignant_B
        1 tumour, 0 normal, -1 unknown and ignored.
    """
    if logits_B.dtype in (torch.float16, torch.bfloat16):
        logits_B = logits_B.float()
    is_known_B = is_malignant_B != UNKNOWN
    logits, truth = logits_B[is_known_B], is_malignant_B[is_known_B]
    return MalignancyLoss(
        loss_sum=functional.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="sum"),
        n_cells=len(truth),
        n_correct=int(((logits.detach() > 0) == (truth == 1)).sum()),
    )


def majority_accuracy(is_malignant_B: Tensor) -> float:
    """Return the accuracy of always saying the commoner label: what a discrimination accuracy has to beat."""
    known = is_malignant_B[is_malignant_B != UNKNOWN]
    if not len(known):
        return float("nan")
    share = float((known == 1).float().mean())
    return max(share, 1 - share)
