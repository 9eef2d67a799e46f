"""A pretrained encoder taught to tell classes of cells apart: cell types, or sensitive from resistant.

Shapes: B cells, L tokens, D width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn import functional

from celllm.bench.method import Classifier, labelled
from celllm.bench.methods.finetune import LEARNING_RATES, Lesson, computing, layers_of, ready_encoder, thaw
from celllm.bench.methods.finetune import train as learn
from celllm.bench.methods.frozen import FrozenLayers
from celllm.model.encoder import Encoder, evaluating
from celllm.model.heads import ClsHead, GeneScatterHead
from celllm.splits.units import Cells


class EncoderClassifier(Classifier):
    """An encoder with a head, trained on a task's labels.

    The encoder's dropout stays off, as in the released fine-tuning; a cell's prediction depends on nothing
    but the cell. When to stop is chosen on the validation subset; without one (few-shot) the whole budget is used.

    Options: `mode`, `last_layer` (that, the final norm and the head), `full`, or `lora` (low-rank updates of all
    layers: of `rank`, scaled by `alpha` / `rank`; 8 and 8 are those of Hu et al. 2021 for RoBERTa base). `head`:
    `gene_scatter` or `cls`. `scratch`: without the pretraining. `layer`: the one that `last_layer` trains, `last` or
    `second_last` (scBERT). `epochs`: passes, a check after each, and `patience`: checks without a better score; null:
    the budget's. `batch`: cells; `learning_rate`: Adam's; `select`: the score of a check, `macro_f1` or `accuracy`;
    `relu`: on the numbers that the gene-scatter head lays out, as released.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "mode": "last_layer",
        "head": "gene_scatter",
        "scratch": False,
        "layer": "last",
        "rank": 8,
        "alpha": 8.0,
        "epochs": None,
        "patience": None,
        "batch": 16,
        "learning_rate": 1e-3,
        "select": "macro_f1",
        "relu": False,
    }
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {
        "mode": ("last_layer", "full", "lora"),
        "head": ("gene_scatter", "cls"),
        "layer": ("last", "second_last"),
        "select": ("macro_f1", "accuracy"),
        "relu": (False, True),
    }
    search: ClassVar[Mapping[str, Sequence[Any]]] = {"learning_rate": LEARNING_RATES}

    def __init__(self, options: Mapping[str, Any], **made_with: Any) -> None:  # noqa: ANN401 - as of BenchMethod
        super().__init__(options, **made_with)
        self._pretrained = ready_encoder(self)

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from `train`; choose when to stop on `validation`."""
        encoder, options, layers = self._pretrained.encoder, self.options, self._layers(cells)
        self.classes_ = np.unique(labelled(cells, train))
        with computing(self, encoder) as device:
            thaw(encoder, options)
            self._head = self._new_head(encoder, cells, train).to(device)
            target = torch.from_numpy(np.searchsorted(self.classes_, cells.labels[train])).to(device)
            generator = np.random.default_rng(self.seed)

            def loss_of(at: np.ndarray) -> Tensor:
                return functional.cross_entropy(self._logits(layers, train[at], generator), target[at])

            def score() -> float:
                truth, predicted = cells.labels[validation], self._probabilities(layers, validation).argmax(axis=1)
                if options["select"] == "accuracy":
                    return float(np.mean(truth == self.classes_[predicted]))
                return float(f1_score(truth, self.classes_[predicted], average="macro", zero_division=0))

            def batches() -> Iterator[np.ndarray]:
                return layers.source.shuffled(train, options["batch"], generator)

            lesson = Lesson("cells", len(train), -(-len(train) // options["batch"]), batches)
            judge = score if len(validation) else None
            learn(self, lesson, loss_of, encoders=[encoder], heads=[self._head], score=judge)

    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        """Return class probabilities, rows x `classes_`."""
        with computing(self, self._pretrained.encoder):
            return self._probabilities(self._layers(cells), rows)

    def _layers(self, cells: Cells) -> FrozenLayers:
        rule = self._pretrained.recipe.tokens
        return layers_of(self, self._pretrained, cells.counts, cells.values, rule=rule)

    def _new_head(self, encoder: Encoder, cells: Cells, train: np.ndarray) -> nn.Module:
        n_classes = len(self.classes_)
        if self.options["head"] == "cls":
            return ClsHead(encoder.width, n_classes)
        # A slot that no training cell fills would keep its first, random weights.
        panel = self._pretrained.panel
        expressed = np.unique(cells.counts[train].indices) if panel is None else panel
        return GeneScatterHead(
            encoder.width, encoder.n_genes, n_classes, panel=torch.from_numpy(expressed), relu=self.options["relu"]
        )

    def _logits(self, layers: FrozenLayers, rows: np.ndarray, generator: np.random.Generator | None = None) -> Tensor:
        hidden_BLD, genes_BL, _ = layers.hidden(rows, generator, only_cls=self.options["head"] == "cls")
        return self._head(hidden_BLD, genes_BL)  # type: ignore[no-any-return]

    def _probabilities(self, layers: FrozenLayers, rows: np.ndarray) -> np.ndarray:
        answers = np.empty((len(rows), len(self.classes_)))
        with evaluating(self._pretrained.encoder, self._head):
            for at in layers.source.in_order_of_length(rows, self.options["batch"]):
                # float64, so that probabilities sum to 1 well enough for any metric
                answers[at] = self._logits(layers, rows[at]).double().softmax(dim=1).cpu().numpy()
        return answers
