"""Random numbers that can be told again: states saved and replayed, streams derived from seed and step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """State of torch's own generators, from which dropout draws: the CPU's, and a GPU's where one computes."""

    cpu: Tensor
    gpu: Tensor | None
    device: torch.device


def random_state(device: torch.device) -> RandomState:
    """Return the present state of the generators that a module on `device` may draw from."""
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return RandomState(torch.get_rng_state(), gpu, device)


@contextmanager
def replay(state: RandomState) -> Iterator[None]:
    """Draw the same numbers as after `state` was taken; afterwards go on as if nothing had been drawn."""
    with _restoring(state.device):
        torch.set_rng_state(state.cpu)
        if state.gpu is not None:
            torch.cuda.set_rng_state(state.gpu, state.device)
        yield


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch's own generators start from `seed` inside, and leave them untouched outside."""
    with _restoring(device):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _restoring(device: torch.device) -> AbstractContextManager[None]:
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])  # type: ignore[no-any-return]


class Purpose(IntEnum):
    """What a stream of random numbers is for; streams of different purposes are independent."""

    INITIAL_WEIGHTS = 0
    TRUNCATION = 1
    MASK = 2
    DROPOUT = 3
    FEATURES = 4
    GENE_EMBEDDING = 5
    VALIDATION = 6
    VIEW = 7
    THINNING = 8
    DEPTH = 9


def stream_seed(seed: int, step: int, purpose: Purpose, *, rank: int = 0) -> int:
    """Return the seed of one step's stream, of a rank where ranks must not draw the same numbers.

    All randomness of a step comes from (seed, step, rank), so the step's number is the whole random state of a run:
    one that was stopped goes on exactly as if it had not been.
    """
    entropy = [seed, step, int(purpose), *([rank] if rank else [])]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def torch_generator(seed: int, step: int, purpose: Purpose) -> torch.Generator:
    """Return a CPU generator for one step's stream."""
    return torch.Generator().manual_seed(stream_seed(seed, step, purpose))
