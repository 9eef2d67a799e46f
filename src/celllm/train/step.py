"""One optimiser step's gradient: which input goes through the encoder, and how the three losses are joined.

Shapes: B cells, L tokens a cell, Q of them looked at, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from celllm.cells.tokens import PAD
from celllm.contracts.recipe import ObjectiveSettings
from celllm.model.encoder import Encoder
from celllm.model.heads import MalignancyHead
from celllm.objectives import contrastive, malignancy, masked
from celllm.train.divide import Record, divide_and_conquer, sum_over_chunks


class Pretrained(nn.Module):
    """What pretraining trains: the encoder, and the head that tells tumour from normal."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.malignancy_head = MalignancyHead(encoder.width)


@dataclass(frozen=True)
class StepBatch:
    """The cells of one step, on the device, ordered by length so that chunks hold little padding.

    Parameters
    ----------
    genes_BL, bins_BL
        Tokens.
    masked_BL
        Bins with some hidden.
    targets_BL
        Bins to be predicted, `masked.IGNORED` elsewhere.
    is_malignant_B
        1 tumour, 0 normal, -1 unknown.
    """

    genes_BL: Tensor
    bins_BL: Tensor
    masked_BL: Tensor
    targets_BL: Tensor
    is_malignant_B: Tensor


class StepLoss:
    """Accumulates the gradient of one step's total loss, and keeps its figures.

    Total = w_masked * masked + w_contrastive * InfoNCE + w_malignancy * malignancy. The masked loss is a mean over all
    masked tokens of the batch, the malignancy loss over all its labelled cells, whatever the chunks. Both come from the
    masked input: malignancy is told from its CLS. The two contrastive views are the plain input, or with
    `shared_masked_view` the masked one, which saves a forward pass. A weight of 0 skips the work of its loss.

    Parameters
    ----------
    module
        In training mode.
    settings
        The recipe's objectives.
    chunk_size
        Cells encoded at once.
    autocast
        Returns the context in which the encoder runs; the same in both passes.
    """

    def __init__(
        self,
        module: Pretrained,
        settings: ObjectiveSettings,
        *,
        chunk_size: int,
        autocast: type[AbstractContextManager[Any]] | Any,  # noqa: ANN401 - any callable that gives a context
    ) -> None:
        self.module, self.settings, self.chunk_size, self.autocast = module, settings, chunk_size, autocast

    def accumulate(self, batch: StepBatch) -> tuple[Tensor, dict[str, float | None]]:
        """Add the step's gradient to the parameters; return the loss, detached, and the step's figures."""
        self._batch = batch
        self._n_masked = max(1, int((batch.targets_BL != masked.IGNORED).sum()))
        self._n_labelled = max(1, int((batch.is_malignant_B != malignancy.UNKNOWN).sum()))
        self._sums = dict.fromkeys(("masked", "masked_right", "malignancy", "malignancy_right"), 0.0)
        weight = self.settings.contrastive.weight
        needs_chunks = self.settings.masked.weight > 0 or self.settings.malignancy.weight > 0
        record = Record()
        if weight > 0:
            loss = divide_and_conquer(
                self._encode,
                self._views(batch),
                self._coupled,
                chunk_size=self.chunk_size,
                per_chunk_loss=self._chunk_loss if needs_chunks else None,
                record=record,
            )
        else:
            loss = sum_over_chunks(self._chunk_loss, n_cells=len(batch.genes_BL), chunk_size=self.chunk_size)
        return loss, self._figures(loss, record)

    def _views(self, batch: StepBatch) -> list[Mapping[str, Tensor]]:
        if not self.settings.shared_masked_view:
            return [{"genes": batch.genes_BL, "bins": batch.bins_BL}] * 2
        view = {"genes": batch.genes_BL, "bins": batch.masked_BL}
        return [{**view, "targets": batch.targets_BL}, view]

    def _coupled(self, first_BD: Tensor, second_BD: Tensor) -> Tensor:
        settings = self.settings.contrastive
        loss = contrastive.info_nce(
            first_BD,
            second_BD,
            temperature=settings.temperature,
            symmetric=settings.symmetric,
        )
        return settings.weight * loss

    def _encode(self, view: Mapping[str, Tensor]) -> Tensor | tuple[Tensor, Any]:
        view = _trimmed(view)
        with self.autocast():
            if "targets" not in view:
                return self.module.encoder.embed(view["genes"], view["bins"])
            places_BQ, targets_BQ = masked.places(view["targets"])
            hidden_BQD = self.module.encoder.at(view["genes"], view["bins"], places_BQ)
            return hidden_BQD[:, 0], (hidden_BQD, targets_BQ)

    def _chunk_loss(self, rows: slice, encoded: tuple[Tensor, Tensor] | None) -> Tensor | None:
        batch, settings = self._batch, self.settings
        if encoded is None:
            cells = {"genes": batch.genes_BL[rows], "bins": batch.masked_BL[rows], "targets": batch.targets_BL[rows]}
            _, encoded = self._encode(cells)
        hidden_BQD, targets_BQ = encoded
        terms = []
        with self.autocast():
            if settings.masked.weight > 0:
                is_target_BQ = targets_BQ != masked.IGNORED
                logits_NT = self.module.encoder.expression_logits(hidden_BQD[is_target_BQ])
                told = masked.masked_loss(logits_NT, targets_BQ[is_target_BQ])
                self._sums["masked"] += float(told.loss_sum.detach())
                self._sums["masked_right"] += told.n_correct
                terms.append(settings.masked.weight / self._n_masked * told.loss_sum)
            if settings.malignancy.weight > 0:
                logits_B = self.module.malignancy_head(hidden_BQD[:, 0])
                judged = malignancy.malignancy_loss(logits_B, batch.is_malignant_B[rows])
                self._sums["malignancy"] += float(judged.loss_sum.detach())
                self._sums["malignancy_right"] += judged.n_correct
                terms.append(settings.malignancy.weight / self._n_labelled * judged.loss_sum)
        return torch.stack(terms).sum() if terms else None

    def _figures(self, loss: Tensor, record: Record) -> dict[str, float | None]:
        batch, settings = self._batch, self.settings
        targets_N = batch.targets_BL[batch.targets_BL != masked.IGNORED]
        figures: dict[str, float | None] = {"loss": float(loss)}
        is_masked, is_judged = settings.masked.weight > 0, settings.malignancy.weight > 0
        is_judged &= bool((batch.is_malignant_B != malignancy.UNKNOWN).any())
        figures["masked"] = self._sums["masked"] / self._n_masked if is_masked else None
        figures["masked_accuracy"] = self._sums["masked_right"] / self._n_masked if is_masked else None
        figures["masked_majority"] = masked.majority_accuracy(targets_N) if is_masked and len(targets_N) else None
        figures["malignancy"] = self._sums["malignancy"] / self._n_labelled if is_judged else None
        figures["malignancy_accuracy"] = self._sums["malignancy_right"] / self._n_labelled if is_judged else None
        figures["malignancy_majority"] = malignancy.majority_accuracy(batch.is_malignant_B) if is_judged else None
        is_contrasted = bool(record.embeddings)
        figures["contrastive"] = record.coupled_loss / settings.contrastive.weight if is_contrasted else None
        figures["pass_difference"] = record.pass_difference if is_contrasted else None
        figures["alignment"] = contrastive.alignment(*record.embeddings) if is_contrasted else None
        figures["uniformity"] = contrastive.uniformity(record.embeddings[0]) if is_contrasted else None
        figures["mean_cosine"] = contrastive.mean_cosine(record.embeddings[0]) if is_contrasted else None
        return figures


def _trimmed(view: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Cut the columns in which every cell of a chunk is padding; no number changes by it."""
    longest = int((view["bins"] != PAD).sum(dim=1).max())
    return {name: tensor[:, :longest] for name, tensor in view.items()}
