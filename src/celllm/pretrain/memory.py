"""What a step does that needs more memory than there is."""

from __future__ import annotations

import torch

from celllm.base.errors import CellLMError

# oneDNN, which runs layers on a CPU, names no reason when it gets no memory for one; torch passes these on as they are.
ONEDNN = ("could not create a primitive", "could not execute a primitive")


class OutOfMemory(CellLMError, MemoryError):
    """A step does not fit into memory; nothing of it was kept.

    Parameters
    ----------
    step
        Its number.
    chunk_tokens
        Tokens that were encoded at once.
    cause
        What the allocator said.
    """

    def __init__(self, step: int, chunk_tokens: int, cause: str) -> None:
        super().__init__(
            f"step {step} does not fit into memory with chunk_tokens {chunk_tokens}: {cause}\n"
            f"  do this:  set training.chunk_tokens to {max(1, chunk_tokens // 2)} or less in the recipe; it changes "
            "memory and, dropout aside, no result. `celllm plan` says what a budget needs"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or a CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # torch's allocator on a CPU has no error of its own, only this text
    text = str(error)
    return "can't allocate memory" in text or text.strip() in ONEDNN
