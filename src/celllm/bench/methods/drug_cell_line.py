"""A pretrained encoder taught the response of cell lines to drugs.

Shapes: P pairs of a batch of lines, C lines, D width of the cell encoder, M drugs, H width of a drug.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from celllm.base.errors import InputError
from celllm.bench.method import METHODS
from celllm.bench.methods.drugs import DrugEncoder, GraphRegressor, drug_graphs, graphs_of
from celllm.bench.methods.finetune import LEARNING_RATES, computing, layers_of, ready_encoder, rule_of, thaw
from celllm.model.encoder import evaluating
from celllm.splits.units import Pairs

DRUG_WIDTH = 256


class EncoderResponse(GraphRegressor):
    """Cell encoder and drug encoder, joined by a small network; least squares on standardised ln IC50.

    A batch is some cell lines with all their training pairs, so that each line and each drug is encoded once
    a batch. When to stop is chosen on the validation subset by RMSE.

    Trained are one layer of the cell encoder, `last` or `second_last` by the option `layer`, and the final norm. A line
    is the mean of its tokens; without attention it is CLS.

    Options: `layer`; `scratch`: without the pretraining; `epochs`, `patience`, `learning_rate`: as of
    EncoderClassifier; `lines`: cell lines a batch; `truncation`: which genes stay of a line with more than fit,
    `random_subset`, `head` or `top_expressed`; null: as in pretraining; `subsets`: so many random subsets of such a
    line are answered, and the answers averaged; a line that fits whole is answered once.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "scratch": False,
        "layer": "last",
        "epochs": None,
        "patience": None,
        "lines": 16,
        "learning_rate": 1e-3,
        "truncation": None,
        "subsets": 1,
    }
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {
        "layer": ("last", "second_last"),
        "truncation": (None, "random_subset", "head", "top_expressed"),
    }
    search: ClassVar[Mapping[str, Sequence[Any]]] = {"learning_rate": LEARNING_RATES}

    def __init__(self, options: Mapping[str, Any], **made_with: Any) -> None:  # noqa: ANN401 - as of BenchMethod
        super().__init__(options, **made_with)
        self._pretrained = ready_encoder(self)
        self._pool = "cls" if self._pretrained.recipe.encoder.attention == "none" else "mean"
        self._check_subsets()

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        lines, line_of_row = np.unique(pairs.line[rows], return_inverse=True)
        predicted = np.empty(len(rows))
        modules = self._pretrained.encoder, self._drugs, self._head
        with computing(self, *modules) as device, evaluating(*modules):
            layers = layers_of(self, self._pretrained, pairs.expression, pairs.values)
            drugs_MH = self._drugs(drug_graphs(pairs.drugs, pairs.smiles).to(device))
            for at in layers.source.in_order_of_length(lines, self.options["lines"]):
                place = np.full(len(lines), -1)
                place[at] = np.arange(len(at))
                here = np.flatnonzero(place[line_of_row] >= 0)
                n_draws = self.options["subsets"] if layers.source.are_cut(lines[at]).any() else 1
                answers = [
                    self._head(
                        layers.embedded(lines[at], draw=draw, pool=self._pool),
                        drugs_MH,
                        torch.from_numpy(place[line_of_row[here]]).to(device),
                        torch.from_numpy(pairs.drug[rows[here]]).to(device),
                    )
                    for draw in range(n_draws)
                ]
                predicted[here] = torch.stack(answers).float().mean(dim=0).cpu().numpy()
        return predicted * self._spread + self._mean

    def _check_subsets(self) -> None:
        """Refuse options on truncation that would change nothing."""
        rule, n_subsets = rule_of(self._pretrained, self.options), self.options["subsets"]
        asks = self.options["truncation"] is not None or n_subsets != 1
        if asks and rule.layout == "full":
            fault = ("truncation, subsets", "neither with the layout full, whose cells are never cut", "layout full")
        elif n_subsets < 1:
            fault = ("subsets", "at least 1", str(n_subsets))
        elif n_subsets > 1 and rule.truncation != "random_subset":
            fault = ("subsets", "1, since nothing is drawn at random", f"truncation {rule.truncation}")
        else:
            return
        remedy = "correct the method's options"
        raise InputError(file=METHODS, field=f"options.{fault[0]}", expected=fault[1], found=fault[2], remedy=remedy)

    def _fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray, device: torch.device) -> None:
        encoder, n_at_once = self._pretrained.encoder.to(device), self.options["lines"]
        layers = layers_of(self, self._pretrained, pairs.expression, pairs.values)
        # no structure of a drug that training does not meet, which batch norm would learn from
        drugs = np.unique(pairs.drug[train])
        graphs = graphs_of(pairs, drugs).to(device)
        thaw(encoder, self.options)
        self._drugs = DrugEncoder(width=DRUG_WIDTH).to(device)
        self._head = ResponseHead(encoder.width, DRUG_WIDTH).to(device)
        generator = np.random.default_rng(self.seed)
        by_line = train[np.argsort(pairs.line[train], kind="stable")]
        lines, first = np.unique(pairs.line[by_line], return_index=True)
        of_line = np.split(by_line, first[1:])

        def answers_of(at: np.ndarray) -> tuple[np.ndarray, Tensor]:
            rows = np.concatenate([of_line[place] for place in at])
            answers_P = self._head(
                layers.embedded(lines[at], generator, pool=self._pool),
                self._drugs(graphs),
                torch.from_numpy(np.repeat(np.arange(len(at)), [len(of_line[place]) for place in at])).to(device),
                torch.from_numpy(np.searchsorted(drugs, pairs.drug[rows])).to(device),
            )
            return rows, answers_P

        self._learn(
            pairs,
            train,
            validation,
            n_batches=-(-len(lines) // n_at_once),
            batches=lambda: layers.source.shuffled(lines, n_at_once, generator),
            answers_of=answers_of,
            encoders=[encoder],
            heads=[self._drugs, self._head],
        )


class ResponseHead(nn.Module):
    """Both embeddings side by side, then 512, 512, 1 with ELU and dropout (the released head).

    The first layer is a sum of a line's and a drug's part, so each part is computed once a line and once a
    drug instead of once a pair: the same numbers for far less work.

    The cell's embedding is first brought to H, the drug's width.
    """

    def __init__(self, cell_width: int, drug_width: int, *, hidden: int = 512, dropout: float = 0.2) -> None:
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(cell_width, drug_width), nn.ELU())
        self.from_cell = nn.Linear(drug_width, hidden)
        self.from_drug = nn.Linear(drug_width, hidden, bias=False)
        self.rest = nn.Sequential(
            nn.ELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def forward(self, cells_CD: Tensor, drugs_MH: Tensor, line_P: Tensor, drug_P: Tensor) -> Tensor:
        """Return a number for each pair of a row of `cells_CD` and a row of `drugs_MH`."""
        first_CX, first_MX = self.from_cell(self.cell(cells_CD)), self.from_drug(drugs_MH)
        return self.rest(first_CX[line_P] + first_MX[drug_P]).squeeze(-1)  # type: ignore[no-any-return]
