"""Processes that share a batch: each encodes some of its cells, and only embeddings and gradients travel.

Shapes: B cells of this rank, A cells of all ranks, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist


class Alone:
    """One process that shares its batch with nobody."""

    n_ranks = 1

    def gather(self, z_BD: Tensor) -> Tensor:
        """Return the embeddings of all ranks, A x D."""
        return z_BD

    def total(self, number: float, device: torch.device) -> float:
        """Return the sum of one number of each rank."""
        del device
        return number

    def any(self, is_so: bool, device: torch.device) -> bool:  # noqa: FBT001 - a question with one answer
        """Return whether it is so on any rank."""
        return self.total(float(is_so), device) > 0

    def agree(self, number: int, device: torch.device) -> bool:
        """Return whether all ranks have the same number."""
        return not self.any(self.total(number, device) != self.n_ranks * number, device)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each gradient by its sum over ranks; a rank without one adds zero, one that nobody has stays None."""


ALONE = Alone()


class Ranks(Alone):
    """The processes of torch.distributed, each with some cells of one batch.

    The loss over all embeddings is computed by every rank for itself: A^2 D operations are nothing beside encoding
    A / n cells, and no gradient of an embedding has to travel.
    """

    def __init__(self) -> None:
        self.rank, self.n_ranks = dist.get_rank(), dist.get_world_size()

    def gather(self, z_BD: Tensor) -> Tensor:
        """Return the embeddings of all ranks, A x D; B may differ by rank.

        The rows of this rank are `z_BD` itself, with its graph; those of others have none.
        """
        n_cells = torch.zeros(self.n_ranks, dtype=torch.int64, device=z_BD.device)
        n_cells[self.rank] = len(z_BD)
        dist.all_reduce(n_cells)
        sizes = [int(n) for n in n_cells.tolist()]
        padded = z_BD.new_zeros(max(sizes), *z_BD.shape[1:])
        padded[: len(z_BD)] = z_BD.detach()
        received = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(received, padded)
        parts = [part[:n] for part, n in zip(received, sizes, strict=True)]
        parts[self.rank] = z_BD
        return torch.cat(parts)

    def total(self, number: float, device: torch.device) -> float:
        """Add up in float64."""
        summed = torch.tensor([number], dtype=torch.float64, device=device)
        dist.all_reduce(summed)
        return float(summed)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up whatever a rank has."""
        if not parameters:
            return
        is_there = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device).to(torch.int32)
        dist.all_reduce(is_there, op=dist.ReduceOp.MAX)
        for parameter, there in zip(parameters, is_there.tolist(), strict=True):
            if there:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                dist.all_reduce(parameter.grad)
