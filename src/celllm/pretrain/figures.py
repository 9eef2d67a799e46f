"""Figures of a step: losses and accuracies, each beside its trivial rival, and how spread out the embeddings are.

Those of a loss are of all ranks, and so is the spread; majorities are this rank's.

Shapes: B cells, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from celllm.config.recipe import ObjectiveSettings
from celllm.pretrain import diagnostics, losses, rivals
from celllm.pretrain.batch import StepBatch
from celllm.pretrain.divide import Record
from celllm.pretrain.losses import LossSum
from celllm.pretrain.ranks import Alone

Values = dict[str, float | None]


@dataclass(frozen=True)
class Figures:
    """Makes the figures of a step on this batch; None is one that does not apply."""

    batch: StepBatch
    settings: ObjectiveSettings
    ranks: Alone

    def _total(self, number: float) -> float:
        return self.ranks.total(number, self.batch.device)

    def masked(self, told: Sequence[LossSum]) -> Values:
        """Return loss and accuracy of masked bins, and two rivals.

        `masked_majority` says the commonest bin of the batch. `masked_cell_mode` says of a hidden bin the commonest
        that its cell shows, which is nearly its depth alone, and reads the visible ones off.
        """
        names = ("masked", "masked_accuracy", "masked_majority", "masked_cell_mode")
        if self.settings.masked.weight == 0:
            return dict.fromkeys(names)
        targets_N = torch.from_numpy(self.batch.targets()).long()
        n, n_hidden, n_mode = (self._total(number) for number in (len(targets_N), *rivals.cell_mode(self.batch)))
        values = (
            self._total(sum(float(one.loss_sum) for one in told)) / max(1, n),
            self._total(sum(one.n_correct for one in told)) / max(1, n),
            losses.majority_accuracy(targets_N) if len(targets_N) else None,
            (n_mode + n - n_hidden) / n if n else None,
        )
        return dict(zip(names, values, strict=True))

    def malignancy(self, judged: Sequence[LossSum]) -> Values:
        """Return loss and accuracy of tumour or normal; `malignancy_majority` always says the larger class."""
        names = ("malignancy", "malignancy_accuracy", "malignancy_majority")
        n = self._total(sum(one.n for one in judged))
        if self.settings.malignancy.weight == 0 or not n:
            return dict.fromkeys(names)
        loss_sum = self._total(sum(float(one.loss_sum) for one in judged))
        n_right = self._total(sum(one.n_correct for one in judged))
        majority = losses.majority_accuracy(torch.from_numpy(self.batch.is_malignant_B))
        return dict(zip(names, (loss_sum / n, n_right / n, majority), strict=True))

    def differences(self, record: Record) -> Values:
        """Return how far the passes, and with a check the gradients, are apart."""
        values = {"pass_difference": record.pass_difference, "check_difference": record.check_difference}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def diagnostics(self, embeddings: Sequence[Tensor]) -> Values:
        """Return how spread out embeddings are, and the contrastive loss of depth alone; None of no embeddings."""
        names = ("alignment", "uniformity", "mean_cosine", "effective_rank", "contrastive_depth")
        if not embeddings:
            return dict.fromkeys(names)
        first_BD, second_BD = map(self.ranks.gather, embeddings)
        has_pairs = len(first_BD) > 1
        values = (
            diagnostics.alignment(first_BD, second_BD),
            diagnostics.uniformity(first_BD) if has_pairs else None,
            diagnostics.mean_cosine(first_BD) if has_pairs else None,
            diagnostics.effective_rank(first_BD),
            self._depth() if self.settings.contrastive.weight > 0 else None,
        )
        return dict(zip(names, values, strict=True))

    def _depth(self) -> float:
        views = self.batch.views or (self.batch, self.batch)
        numbers = [rivals.depth_numbers(view).to(self.batch.device) for view in views]
        first_BF, second_BF = map(self.ranks.gather, numbers)
        settings = self.settings.contrastive
        return rivals.depth_loss(first_BF, second_BF, temperature=settings.temperature, symmetric=settings.symmetric)
