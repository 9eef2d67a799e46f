"""One optimiser step's gradient: which input goes through the encoder, and how the three losses are joined.

Shapes: B cells, C of a chunk, L tokens of its longest cell, Q of them looked at, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from celllm.base.errors import InputError
from celllm.config.recipe import ObjectiveSettings, Recipe
from celllm.model.encoder import Encoder, evaluating
from celllm.model.heads import MalignancyHead
from celllm.model.randomness import Purpose, seeded, stream_seed
from celllm.pretrain import losses
from celllm.pretrain.batch import IGNORED, StepBatch, positions
from celllm.pretrain.chunks import Batch, Rows, by_tokens, full_batch, n_kept_graphs, pair, sum_over_chunks
from celllm.pretrain.divide import Record, divide_and_conquer
from celllm.pretrain.figures import Figures
from celllm.pretrain.losses import LossSum
from celllm.pretrain.ranks import ALONE, Alone


class Pretrained(nn.Module):
    """What pretraining trains: the encoder, the head that tells tumour from normal, and perhaps a projection."""

    def __init__(self, encoder: Encoder, objectives: ObjectiveSettings) -> None:
        super().__init__()
        self.encoder, self.objectives = encoder, objectives
        self.malignancy_head = MalignancyHead(encoder.width)
        width = encoder.embedding_width
        self.projection: nn.Module | None = None
        if objectives.contrastive.projection == "mlp":  # SimCLR's: Chen et al. 2020, arXiv:2002.05709
            self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def check_trainable(recipe: Recipe) -> None:
    """Refuse attention `released`, with which a cell's embedding depends on the batch's other cells; InputError."""
    if recipe.encoder.attention == "released":
        raise InputError(
            file="recipe",
            field="encoder.attention",
            expected="favor, softmax or none",
            found="released",
            remedy="train with favor; released is for checkpoints of the authors' code",
        )


def check_ranks(recipe: Recipe, n_ranks: int) -> None:
    """Raise InputError if a rank would get no cell of a batch, or none of the validation cells."""
    for field in ("batch_cells", "validation_cells"):
        n_cells = getattr(recipe.training, field)
        if 0 < n_cells < n_ranks:
            raise InputError(
                file="recipe",
                field=f"training.{field}",
                expected=f"at least {n_ranks}, one for each rank",
                found=str(n_cells),
                remedy="give it more cells, or train on fewer devices",
            )


def initial_module(
    recipe: Recipe,
    n_genes: int,
    gene_embedding: NDArray[np.float32] | None,
    *,
    seed: int,
    device: torch.device,
    initial: Encoder | None = None,
) -> Pretrained:
    """Draw what is trained from the seed, in training mode; `initial` is the encoder to go on with."""
    with seeded(stream_seed(seed, 0, Purpose.INITIAL_WEIGHTS), torch.device("cpu")):
        table = None if gene_embedding is None else torch.from_numpy(np.array(gene_embedding, dtype=np.float32))
        length = recipe.padded_length
        encoder = Encoder(recipe.encoder, n_genes=n_genes, gene_embedding=table, padded_length=length)
        if initial is not None:
            encoder.load_state_dict(initial.state_dict())
        encoder.embedding.genes.weight.requires_grad_(table is None or recipe.genes.is_trained)
        module = Pretrained(encoder, recipe.objectives)
    return module.to(device).train()


class StepLoss:
    """Accumulates the gradient of one step's total loss, and keeps its figures.

    Total = w_masked * masked + w_contrastive * InfoNCE + w_malignancy * malignancy. The masked loss is a mean over all
    masked tokens of the batch, the malignancy loss over all its labelled cells, whatever the chunks. Both come from the
    masked input: malignancy is told from its CLS. The two contrastive views are those of the batch, where it has any,
    else the plain input twice; with `shared_masked_view` the first is the masked input, which saves a forward pass. A
    weight of 0 skips the work of its loss. What is compared of a view, and what the figures of spread are about, is the
    encoder's embedding of it (`encoder.pooling`) behind the recipe's `projection`.

    `max_tokens` are encoded at once, padding included; graphs of `keep_tokens`, at least those of one chunk, are kept
    from the first pass. `autocast` returns the context in which the encoder runs, in both passes.
    """

    def __init__(
        self,
        module: Pretrained,
        *,
        max_tokens: int,
        keep_tokens: int = 0,
        autocast: Callable[[], AbstractContextManager[Any]],
        ranks: Alone = ALONE,
    ) -> None:
        self.module, self.settings, self.max_tokens, self.autocast = module, module.objectives, max_tokens, autocast
        self.keep_tokens, self.ranks = keep_tokens, ranks

    def accumulate(
        self, batch: StepBatch, *, check: bool = False, health: bool = True
    ) -> tuple[Tensor, dict[str, float | None]]:
        """Add the step's gradient to the parameters; return the loss, detached, and the step's figures.

        With `check`, the figure `check_difference` tells how far the gradient is from that of the full-batch step; with
        `health`, four figures tell how spread out the embeddings are, and one how many random features say nothing.
        Losses and accuracies are those of all ranks, and so is the spread; the rest are this rank's.
        """
        chunks = self._begin(batch)
        weight = self.settings.contrastive.weight
        needs_chunks = self.settings.masked.weight > 0 or self.settings.malignancy.weight > 0
        record = Record()
        parameters = list(self.module.parameters())
        if weight > 0:
            loss = divide_and_conquer(
                self._encode,
                self._views(batch),
                self._coupled,
                chunks=chunks,
                n_kept=n_kept_graphs(batch.view_lengths_B, chunks, n_views=2, keep_tokens=self.keep_tokens),
                per_chunk_loss=self._chunk_loss if needs_chunks else None,
                parameters=parameters,
                ranks=self.ranks,
                check=check,
                record=record,
            )
        else:
            loss = sum_over_chunks(self._chunk_loss, chunks)
            self.ranks.sum_gradients(parameters)
            loss = loss.new_tensor(self._total(float(loss)))
            if health:
                record.embeddings = self._embedded(chunks)
        contrasted = record.coupled_loss / weight if weight > 0 else None
        return loss, self._figures(float(loss), record, contrasted, health=health)

    def evaluate(self, batch: StepBatch) -> dict[str, float | None]:
        """Return a step's figures without its gradient: the same losses, with dropout on as in training."""
        chunks = self._begin(batch)
        settings = self.settings
        record = Record(embeddings=self._embedded(chunks))
        with torch.no_grad():
            contrasted = float(self._info_nce(*map(self.ranks.gather, record.embeddings)))
            needs_chunks = settings.masked.weight > 0 or settings.malignancy.weight > 0
            own = [self._chunk_loss(rows, None) for rows in chunks] if needs_chunks else []
        loss = self._total(sum(float(one) for one in own if one is not None))
        loss += settings.contrastive.weight * contrasted
        return self._figures(loss, record, contrasted, health=True)

    def _embedded(self, chunks: list[NDArray[np.int64]]) -> tuple[Tensor, ...]:
        """Embed both views without a graph."""
        with torch.no_grad():
            whole, _ = full_batch(
                lambda cells: pair(self._encode(cells))[0], self._views(self._batch), chunks
            )  # what comes with an embedding is let go at once
        return tuple(z_BD.float() for z_BD in whole)

    def _begin(self, batch: StepBatch) -> list[NDArray[np.int64]]:
        """Count what the losses are means over, and cut the batch."""
        self._batch = batch
        self._n_masked = max(1, int(self._total(len(batch.targets()))))
        self._n_labelled = max(1, int(self._total((batch.is_malignant_B != losses.UNKNOWN).sum())))
        self._told: dict[int, tuple[LossSum | None, ...]] = {}
        self._masked = batch.masked()
        return by_tokens(np.maximum(batch.lengths_B, batch.view_lengths_B), self.max_tokens)

    def _total(self, number: float) -> float:
        return self.ranks.total(number, self._batch.device)

    def _views(self, batch: StepBatch) -> list[Batch]:
        _, second = batch.views or (batch, batch)
        if self.settings.shared_masked_view:
            return [self._masked, second.masked(targets=False)]
        if batch.views is None:
            return [batch.plain()] * 2
        return [view.masked(targets=False) for view in batch.views]  # they hide no targets, and bins with views: mask

    def _coupled(self, first_BD: Tensor, second_BD: Tensor) -> Tensor:
        return self.settings.contrastive.weight * self._info_nce(first_BD, second_BD)

    def _info_nce(self, first_BD: Tensor, second_BD: Tensor) -> Tensor:
        settings = self.settings.contrastive
        return losses.info_nce(first_BD, second_BD, temperature=settings.temperature, symmetric=settings.symmetric)

    def _encode(self, view: Mapping[str, Tensor]) -> Tensor | tuple[Tensor, Any]:
        encoder, values = self.module.encoder, view.get("values")
        with self.autocast():
            if "targets" not in view:
                return self._projected(encoder.embed(view["genes"], view["bins"], values))
            positions_BQ, targets_BQ = positions(view["targets"])
            if self.settings.shared_masked_view and encoder.settings.pooling != "cls":
                hidden_BLD = encoder(view["genes"], view["bins"], values)
                hidden_BQD = hidden_BLD.gather(1, positions_BQ[:, :, None].expand(-1, -1, encoder.width))
                z_BD = self._projected(encoder.pooled(hidden_BLD, view["bins"]))
                return z_BD, (hidden_BQD, targets_BQ)
            hidden_BQD = encoder.at(view["genes"], view["bins"], positions_BQ, values)
            # of the masked input's own pass nothing is compared
            z_BD = self._projected(hidden_BQD[:, 0]) if self.settings.shared_masked_view else hidden_BQD[:, 0]
            return z_BD, (hidden_BQD, targets_BQ)

    def _projected(self, z_BD: Tensor) -> Tensor:
        return z_BD if self.module.projection is None else self.module.projection(z_BD)  # type: ignore[no-any-return]

    def _chunk_loss(self, rows: Rows, encoded: tuple[Tensor, Tensor] | None) -> Tensor | None:
        settings = self.settings
        if encoded is None:
            _, encoded = self._encode(self._masked[rows])
        hidden_CQD, targets_CQ = encoded
        terms: list[Tensor] = []
        told = judged = None
        with self.autocast():
            if settings.masked.weight > 0:
                is_target_CQ = targets_CQ != IGNORED
                logits_NT = self.module.encoder.expression_logits(hidden_CQD[is_target_CQ])
                told = losses.masked_loss(logits_NT, targets_CQ[is_target_CQ])
                terms.append(settings.masked.weight / self._n_masked * told.loss_sum)
            if settings.malignancy.weight > 0:
                logits_C = self.module.malignancy_head(hidden_CQD[:, 0])
                judged = losses.malignancy_loss(logits_C, self._batch.labels(rows))
                terms.append(settings.malignancy.weight / self._n_labelled * judged.loss_sum)
        # by chunk and not summed up here: a check goes through the chunks a second time
        first = int(rows.start if isinstance(rows, slice) else rows[0])
        self._told[first] = tuple(one and replace(one, loss_sum=one.loss_sum.detach()) for one in (told, judged))
        return torch.stack(terms).sum() if terms else None

    def _features_below_epsilon(self) -> float | None:
        """Ask FAVOR+ about the longest cell of this rank; None for another attention."""
        longest = np.array([self._batch.lengths_B.argmax()])
        cells = self._batch.plain()[longest]
        with evaluating(self.module.encoder):
            return self.module.encoder.share_below_epsilon(cells["genes"], cells["bins"], cells.get("values"))

    def _figures(
        self, loss: float, record: Record, contrasted: float | None, *, health: bool
    ) -> dict[str, float | None]:
        told = [one for one, _ in self._told.values() if one is not None]
        judged = [one for _, one in self._told.values() if one is not None]
        made = Figures(self._batch, self.settings, self.ranks)
        figures = {"loss": loss, **made.masked(told), **made.malignancy(judged)}
        figures |= {"contrastive": contrasted, **made.differences(record)}
        figures |= made.diagnostics(record.embeddings if health else ())
        figures["features_below_epsilon"] = self._features_below_epsilon() if health else None
        return figures | {"tokens": self._total(int(self._batch.lengths_B.sum()))}
