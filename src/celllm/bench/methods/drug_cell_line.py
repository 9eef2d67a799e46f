"""A pretrained encoder taught the response of cell lines to drugs.

Shapes: P pairs of a batch of lines, C lines, D width of the cell encoder, M drugs, H width of a drug.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch

from celllm.base.errors import InputError
from celllm.bench.method import Regressor
from celllm.bench.methods.drugs import DrugEncoder, drug_graphs
from celllm.bench.methods.finetune import LEARNING_RATES, computing, n_frozen_layers, ready_encoder, schedule_of, thaw
from celllm.bench.methods.finetune import train as fit
from celllm.bench.methods.frozen import FrozenLayers, kept_of
from celllm.bench.metrics import rmse
from celllm.bench.tokens import TokenSource, token_source
from celllm.config.recipe_encoder import TokenSettings
from celllm.model.encoder import evaluating
from celllm.splits.units import Pairs

DRUG_WIDTH = 256


class EncoderResponse(Regressor):
    """Cell encoder and drug encoder, joined by a small network; least squares on standardised ln IC50.

    A batch is some cell lines with all their training pairs, so that each line and each drug is encoded once
    a batch. When to stop is chosen on the validation subset by RMSE.

    Parameters
    ----------
    options
        `mode`: `last_layer` (that and the final norm), `full` or `frozen` cell encoder. `pool`: a line is its
        `cls` token or the `mean` of its tokens. `scratch`: without the pretraining. `layer`: `last` or
        `second_last`. `epochs`, `patience`, `learning_rate`: as of EncoderClassifier.
        `lines`: cell lines a batch. `truncation`: which genes stay of a line with more than fit, `random_subset`,
        `head` or `top_expressed`; null: as in pretraining. `subsets`: so many random subsets of such a line are
        answered, and the answers averaged; a line that fits whole is answered once.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "mode": "last_layer",
        "pool": "mean",
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
        "mode": ("last_layer", "full", "frozen"),
        "pool": ("cls", "mean"),
        "layer": ("last", "second_last"),
        "truncation": (None, "random_subset", "head", "top_expressed"),
    }
    search: ClassVar[Mapping[str, Sequence[Any]]] = {"learning_rate": LEARNING_RATES}

    def __init__(self, options: Mapping[str, Any], **made_with: Any) -> None:  # noqa: ANN401 - as of BenchMethod
        super().__init__(options, **made_with)
        self._pretrained = ready_encoder(self, scratch=self.options["scratch"])
        self._check_subsets()
        self._read: tuple[list[str], Batch] | None = None
        self._embeds: tuple[sparse.csr_matrix, TokenSource, FrozenLayers] | None = None

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from `train`; choose when to stop on `validation`."""
        if len(train) == 0:
            raise InputError(
                file="split",
                field="part",
                expected="training pairs",
                found="none",
                remedy="raise the task's train fraction in config/tasks.tsv",
            )
        response = pairs.response[train]
        self._mean = float(response.mean())
        self._spread = float(response.std()) or 1.0  # one response alone has no spread
        with computing(self, self._pretrained.encoder) as device:
            self._fit(pairs, train, validation, device)

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        """Return the responses of the rows, ln IC50."""
        lines, line_of_row = np.unique(pairs.line[rows], return_inverse=True)
        predicted = np.empty(len(rows))
        modules = self._pretrained.encoder, self._drugs, self._head
        with computing(self, *modules) as device, evaluating(*modules):
            source, embedder = self._lines(pairs)
            drugs_MH = self._drugs(self._graphs(pairs).to(device))
            for at in source.in_order_of_length(lines, self.options["lines"]):
                place = np.full(len(lines), -1)
                place[at] = np.arange(len(at))
                here = np.flatnonzero(place[line_of_row] >= 0)
                n_draws = self.options["subsets"] if source.are_cut(lines[at]).any() else 1
                answers = [
                    self._head(
                        embedder.embedded(lines[at], draw=draw, pool=self.options["pool"]),
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
        rule = self._rule()
        asks = self.options["truncation"] is not None or self.options["subsets"] != 1
        if asks and rule.layout == "full":
            fault = ("truncation, subsets", "neither with the layout full, whose cells are never cut", "layout full")
        elif self.options["subsets"] < 1:
            fault = ("subsets", "at least 1", str(self.options["subsets"]))
        elif self.options["subsets"] > 1 and rule.truncation != "random_subset":
            fault = ("subsets", "1, since nothing is drawn at random", f"truncation {rule.truncation}")
        else:
            return
        raise InputError(
            file="config/methods.tsv",
            field=f"options.{fault[0]}",
            expected=fault[1],
            found=fault[2],
            remedy="correct the method's options",
        )

    def _rule(self) -> TokenSettings:
        """Return how lines become tokens: as in pretraining, and if frozen as in embedding; but for `truncation`."""
        recipe, truncation = self._pretrained.recipe, self.options["truncation"]
        rule = recipe.embedding_tokens if self.options["mode"] == "frozen" else recipe.tokens
        if truncation is None:
            return rule
        return rule.model_copy(update={"truncation": truncation})

    def _lines(self, pairs: Pairs) -> tuple[TokenSource, FrozenLayers]:
        """Return the lines as tokens and what embeds them, made once for a table of expression."""
        if self._embeds is None or self._embeds[0] is not pairs.expression:
            source = token_source(pairs.expression, pairs.values, rule=self._rule(), panel=self._pretrained.panel)
            encoder, mode, layer = self._pretrained.encoder, self.options["mode"], self.options["layer"]
            n_frozen = n_frozen_layers(encoder, mode=mode, layer=layer)
            kept = kept_of(self, pairs.expression, self.options["truncation"], n_frozen)
            embedder = FrozenLayers(source, encoder, n_frozen=n_frozen, kept=kept)
            self._embeds = pairs.expression, source, embedder
        return self._embeds[1:]

    def _graphs(self, pairs: Pairs) -> Batch:
        """Return the drugs' graphs, read once for a list of structures."""
        if self._read is None or self._read[0] != pairs.smiles:
            self._read = (list(pairs.smiles), drug_graphs(pairs.drugs, pairs.smiles))
        return self._read[1]

    def _fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray, device: torch.device) -> None:
        options, encoder = self.options, self._pretrained.encoder
        source, embedder = self._lines(pairs)
        # no structure of a drug that training does not meet, which batch norm would learn from
        drugs = np.unique(pairs.drug[train])
        graphs = drug_graphs([pairs.drugs[drug] for drug in drugs], [pairs.smiles[drug] for drug in drugs]).to(device)
        weights = thaw(encoder, mode=options["mode"], layer=options["layer"])
        self._drugs = DrugEncoder(width=DRUG_WIDTH).to(device)
        self._head = ResponseHead(encoder.width, DRUG_WIDTH).to(device)
        weights = [*weights, *self._drugs.parameters(), *self._head.parameters()]
        self.trained_parameters = sum(weight.numel() for weight in weights)
        generator = np.random.default_rng(self.seed)
        batches = _PairsByLine(pairs, train)

        def loss_of(at: np.ndarray) -> Tensor:
            rows, line_P = batches.of(at)
            target_P = torch.from_numpy((pairs.response[rows] - self._mean) / self._spread).float().to(device)
            answers_P = self._head(
                embedder.embedded(batches.lines[at], generator, pool=options["pool"]),
                self._drugs(graphs),
                torch.from_numpy(line_P).to(device),
                torch.from_numpy(np.searchsorted(drugs, pairs.drug[rows])).to(device),
            )
            return functional.mse_loss(answers_P.float(), target_P)

        per_epoch = -(-len(batches.lines) // options["lines"])
        n_batches = fit(
            weights,
            lambda: source.shuffled(batches.lines, options["lines"], generator),
            loss_of,
            modes=[self._drugs, self._head],
            kept=[encoder, self._drugs, self._head],
            score=(lambda: -rmse(pairs.response[validation], self.predict(pairs, validation)))
            if len(validation)
            else None,
            learning_rate=options["learning_rate"],
            schedule=schedule_of(self, "pairs", n_train=len(train), n_batches=per_epoch),
        )
        self.shown_units = round(n_batches / per_epoch * len(train))


class ResponseHead(nn.Module):
    """Both embeddings side by side, then 512, 512, 1 with ELU and dropout (the released head).

    The first layer is a sum of a line's and a drug's part, so each part is computed once a line and once a
    drug instead of once a pair: the same numbers for far less work.

    Parameters
    ----------
    cell_width, drug_width
        D and H; the cell's embedding is first brought to H.
    hidden
        Width of both hidden layers.
    dropout
        After each.
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


class _PairsByLine:
    """Training pairs, found by their line.

    Parameters
    ----------
    pairs, train
        All pairs, and the rows of those to train on.
    """

    def __init__(self, pairs: Pairs, train: np.ndarray) -> None:
        self._rows = train[np.argsort(pairs.line[train], kind="stable")]
        self.lines, first = np.unique(pairs.line[self._rows], return_index=True)
        self._bounds = np.append(first, len(self._rows))

    def of(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of the lines at these places, and for each the place of its line in `at`."""
        pieces = [self._rows[self._bounds[place] : self._bounds[place + 1]] for place in at]
        line_P = np.repeat(np.arange(len(at)), [len(piece) for piece in pieces])
        return np.concatenate(pieces), line_P
