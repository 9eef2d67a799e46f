"""A pretrained encoder taught to tell classes of cells apart: cell types, or sensitive from resistant.

Shapes: B cells, L tokens, D width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from celllm.bench.method import Classifier, labelled
from celllm.bench.methods.finetune import LEARNING_RATES, Lesson, computing, layers_of, ready_encoder, thaw
from celllm.bench.methods.finetune import train as learn
from celllm.bench.methods.frozen import FrozenLayers
from celllm.model.encoder import Encoder, evaluating
from celllm.model.heads import ClsHead, GeneScatterHead
from celllm.splits.units import Cells

AT_ONCE: Final = 64
"""Cells that are run at once where nothing is learned from them."""


class EncoderClassifier(Classifier):
    """An encoder with a head, trained on a task's labels.

    The encoder's dropout stays off, as in the released fine-tuning; a cell's prediction depends on nothing
    but the cell. A linear head starts as the logistic regression on what the encoder says before (Kumar et al. 2022,
    arXiv:2202.10054); without attention all genes are shown. When to stop, the start included, is chosen on the
    validation subset; without one (few-shot) the whole budget is used.

    Options: `mode`, `last_layer` (that, the final norm and the head), `full`, or `lora` (low-rank updates of all
    layers: of `rank`, scaled by `alpha` / `rank`; 8 and 8 are those of Hu et al. 2021 for RoBERTa base). `head`:
    `gene_scatter` or `cls`; null: `cls` where no token attends to another. `scratch`: without the pretraining.
    `layer`: the one that `last_layer` trains, `last` or `second_last` (scBERT). `epochs`: passes, a check after
    each, and `patience`: checks without a better score; null: the budget's. `batch`: cells; `learning_rate`:
    Adam's; `select`: the score of a check, `macro_f1` or `accuracy`; `relu`: on the numbers that the gene-scatter
    head lays out, as released.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "mode": "last_layer",
        "head": None,
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
        "head": (None, "gene_scatter", "cls"),
        "layer": ("last", "second_last"),
        "select": ("macro_f1", "accuracy"),
        "relu": (False, True),
    }
    search: ClassVar[Mapping[str, Sequence[Any]]] = {"learning_rate": LEARNING_RATES}

    def __init__(self, options: Mapping[str, Any], **made_with: Any) -> None:  # noqa: ANN401 - as of BenchMethod
        super().__init__(options, **made_with)
        self._pretrained = ready_encoder(self)
        is_bag = self._pretrained.recipe.encoder.attention == "none"
        self._has_cls_head = (self.options["head"] or ("cls" if is_bag else "gene_scatter")) == "cls"

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        encoder, options, layers = self._pretrained.encoder, self.options, self._layers(cells)
        self.classes_ = np.unique(labelled(cells, train))
        with computing(self, encoder) as device:
            thaw(encoder, options)
            self._head = self._new_head(encoder, cells, train).to(device)
            if self._has_cls_head:
                self._start_head(layers, cells, train)
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
        with computing(self, self._pretrained.encoder):
            return self._probabilities(self._layers(cells), rows)

    def _layers(self, cells: Cells) -> FrozenLayers:
        return layers_of(self, self._pretrained, cells.counts, cells.values)

    def _start_head(self, layers: FrozenLayers, cells: Cells, train: np.ndarray) -> None:
        """Make the linear head the logistic regression on the standardised hidden states of CLS."""
        hidden_ND = np.empty((len(train), self._pretrained.encoder.width))
        with evaluating(self._pretrained.encoder):
            for at in layers.source.in_order_of_length(train, AT_ONCE):
                hidden_ND[at] = layers.embedded(train[at]).float().cpu().numpy()
        scaler = StandardScaler().fit(hidden_ND)
        model = LogisticRegression(max_iter=2000).fit(scaler.transform(hidden_ND), cells.labels[train])
        weight_KD, bias_K = model.coef_ / scaler.scale_, model.intercept_
        bias_K = bias_K - weight_KD @ scaler.mean_
        if len(weight_KD) == 1:  # of two classes scikit-learn gives the second's alone
            weight_KD, bias_K = np.vstack([-weight_KD, weight_KD]) / 2, np.hstack([-bias_K, bias_K]) / 2
        with torch.no_grad():
            for parameter, value in zip(self._head.parameters(), (weight_KD, bias_K), strict=True):
                parameter.copy_(torch.from_numpy(value))

    def _new_head(self, encoder: Encoder, cells: Cells, train: np.ndarray) -> nn.Module:
        n_classes = len(self.classes_)
        if self._has_cls_head:
            return ClsHead(encoder.width, n_classes)
        # A slot that no training cell fills would keep its first, random weights.
        panel = self._pretrained.panel
        expressed = np.unique(cells.counts[train].indices) if panel is None else panel
        return GeneScatterHead(
            encoder.width, encoder.n_genes, n_classes, panel=torch.from_numpy(expressed), relu=self.options["relu"]
        )

    def _logits(self, layers: FrozenLayers, rows: np.ndarray, generator: np.random.Generator | None = None) -> Tensor:
        hidden_BLD, genes_BL, _ = layers.hidden(rows, generator, only_cls=self._has_cls_head)
        return self._head(hidden_BLD, genes_BL)  # type: ignore[no-any-return]

    def _probabilities(self, layers: FrozenLayers, rows: np.ndarray) -> np.ndarray:
        answers = np.empty((len(rows), len(self.classes_)))
        with evaluating(self._pretrained.encoder, self._head):
            for at in layers.source.in_order_of_length(rows, self.options["batch"]):
                # float64, so that probabilities sum to 1 well enough for any metric
                answers[at] = self._logits(layers, rows[at]).double().softmax(dim=1).cpu().numpy()
        return answers
