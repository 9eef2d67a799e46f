"""Dropout with few random numbers: on a CPU, drawing them costs more than all the rest of dropout."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 1 << 16
"""Probabilities are rounded to one part in this, the values of the 16 bits that decide over one number."""


class Dropout(nn.Module):
    """Zero each number with a probability, and scale the others so that the mean stays.

    torch's own dropout draws a number from the Mersenne Twister for each element, one at a time. Here 64 bits of a fast
    generator decide over four elements. That generator is seeded from torch's own at each call,
    so saving and replaying torch's state works as ever. On a GPU torch's own kernel is used.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return x, with some of it zeroed in training mode."""
        if not self.training or self.rate == 0:
            return x
        return functional.dropout(x, self.rate) if x.device.type != "cpu" else self._on_cpu(x)

    def _on_cpu(self, x: Tensor) -> Tensor:
        seed = int(torch.randint(torch.iinfo(torch.int64).max, ()))
        words = np.random.Generator(np.random.SFC64(seed)).integers(
            np.iinfo(np.uint64).max,
            size=(x.numel() + 3) // 4,
            dtype=np.uint64,
            endpoint=True,
        )
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()]
        is_kept = (bits >= round(self.rate * LEVELS) - LEVELS // 2).view(x.shape)
        return x * is_kept.to(x.dtype).mul_(1 / (1 - self.rate))
