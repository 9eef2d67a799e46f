"""Low-rank updates of an encoder's linear layers: what it learned stays, and few weights are trained.

Shapes: O outputs and I inputs of a linear layer, R rank of its update.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils import parametrize

from celllm.model.encoder import Encoder


class LowRank(nn.Module):
    """Adds (alpha / R) x up x down to a weight; `up` starts at zero, so that nothing changes at first.

    Divided by the rank, so that another rank asks for no other learning rate. Hu et al. 2021, arXiv:2106.09685, section
    4.1; `down` is drawn as in their code.
    """

    def __init__(self, weight: Tensor, *, rank: int, alpha: float) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        self.down_RI = nn.Parameter(weight.new_empty(rank, n_in))
        self.up_OR = nn.Parameter(weight.new_zeros(n_out, rank))
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.down_RI, a=math.sqrt(5))

    def forward(self, weight_OI: Tensor) -> Tensor:
        """Return the changed weight, O x I."""
        return weight_OI + self.scale * (self.up_OR @ self.down_RI)


def add_low_rank(encoder: Encoder, *, rank: int, alpha: float) -> list[nn.Parameter]:
    """Freeze an encoder, give its layers low-rank updates, and return the updates' weights.

    Every attention projection (queries, keys and values share one update) and both feed-forward weights of all
    layers get one. Biases, norms and embeddings stay as they are.
    """
    encoder.requires_grad_(False)  # noqa: FBT003 - torch's own signature
    added: list[nn.Parameter] = []
    for linear in (module for module in encoder.layers.modules() if isinstance(module, nn.Linear)):
        update = LowRank(linear.weight.detach(), rank=rank, alpha=alpha)
        parametrize.register_parametrization(linear, "weight", update)
        added += update.parameters()
    return added
