"""The response of a cell line to a drug, from an embedding of each.

Shapes: P pairs, C cell lines, M drugs, D width of the cell encoder, H width of the drug encoder.
"""

from __future__ import annotations

from torch import Tensor, nn


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
