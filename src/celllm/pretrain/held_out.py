"""What a run is judged by while it goes on: cells of the corpus that are never trained on, and the probe."""

from __future__ import annotations

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from celllm.model.randomness import Purpose, seeded, stream_seed
from celllm.model.store import PretrainedEncoder
from celllm.pretrain.batch import Corpus, StepBatch, make_batch
from celllm.pretrain.probe import Probe, ProbeCells, score_of
from celllm.pretrain.step import StepLoss

NOT_VALIDATED = ("pass_difference", "check_difference", "tokens")
"""Figures of a step that say nothing of the validation cells."""


class HeldOut:
    """Validation cells, shared among ranks, and the probe, which the first rank looks at while the others wait.

    `pretrained` is the encoder before its first step, `validation` the numbers of cells of the corpus.
    """

    def __init__(
        self,
        pretrained: PretrainedEncoder,
        step_loss: StepLoss,
        corpus: Corpus,
        validation: NDArray[np.int64],
        *,
        probe: ProbeCells | None,
        fabric: Fabric,
    ) -> None:
        self._pretrained, self._step_loss, self._fabric = pretrained, step_loss, fabric
        self._settings, self._rank = pretrained.recipe.training, fabric.global_rank
        self._validation: StepBatch | None = None
        self._probe: Probe | None = None
        if len(validation):
            own = np.array_split(validation, fabric.world_size)[self._rank]
            self._validation = make_batch(
                corpus, own, pretrained.recipe, panel=pretrained.panel, seed=0, step=0, device=fabric.device
            )
        if self._settings.probe_every is not None and probe is not None and fabric.is_global_zero:
            self._probe = Probe(probe, pretrained, device=fabric.device)

    def figures(self, step: int) -> tuple[dict[str, float | None], float | None]:
        """Return what is due after a step, and the loss by which checkpoints are compared, where it is among that."""
        settings, is_last = self._settings, step == self._settings.steps
        figures: dict[str, float | None] = {}
        loss = None
        if self._validation is not None and (step % settings.validate_every == 0 or is_last):
            with seeded(stream_seed(0, 0, Purpose.DROPOUT, rank=self._rank), self._fabric.device):
                found = self._step_loss.evaluate(self._validation)
            figures |= {f"validation_{name}": value for name, value in found.items() if name not in NOT_VALIDATED}
            loss = float(found["loss"] or 0.0)
        if settings.probe_every is not None and (step % settings.probe_every == 0 or is_last):
            probed: dict[str, float | None] = {} if self._probe is None else self._probe.figures(self._pretrained)
            own = score_of(probed) if probed else 0.0
            score = self._step_loss.ranks.total(own, self._fabric.device)  # the others wait here
            figures |= probed
            return figures, 1 - score if settings.select == "probe" else loss
        return figures, None if settings.select == "probe" else loss
