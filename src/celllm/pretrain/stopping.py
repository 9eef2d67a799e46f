"""What ends a run before its last step: a signal, memory that ran out, numbers that are not finite."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch

from celllm.base.errors import CellLMError

STATUS = 75
"""Exit status of a stopped run: EX_TEMPFAIL of sysexits.h, "try again later"."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What schedulers send before they kill, and what Ctrl-C sends."""
# oneDNN, which runs layers on a CPU, names no reason when it gets no memory for one; torch passes these on as they are.
ONEDNN = ("could not create a primitive", "could not execute a primitive")


class Stopped(CellLMError):
    """The run was asked to stop and did; called again it goes on."""

    status = STATUS

    def __init__(self, step: int, signal_name: str, *, is_saved: bool) -> None:
        saved = f"the checkpoint of step {step} is written" if is_saved else "there are no checkpoints"
        super().__init__(
            f"stopped by {signal_name} after step {step}; {saved}\n  do this:  call the same command again to go on"
        )


class StopRequest:
    """Inside, signals that end a process are kept until they are asked for; a second Ctrl-C ends it at once.

    Schedulers may send theirs several times. Outside the main thread, where Python takes no signals, it never has one.
    """

    def __init__(self) -> None:
        self.signal_name = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])


class OutOfMemory(CellLMError, MemoryError):
    """A step does not fit into memory; nothing of it was kept. `cause` is what the allocator said."""

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


class DivergedError(CellLMError, FloatingPointError):
    """A loss or gradient is not finite; the parameters are those before the step named."""

    @classmethod
    def at(cls, step: int, what: str, *, chunk: int | None = None, cells: Sequence[str] = ()) -> DivergedError:
        """Return the error of a step, with the chunk and its cells where they are known."""
        where = "" if chunk is None else f" in chunk {chunk}, cells {', '.join(cells)}"
        return cls(
            f"step {step}: {what} is not finite{where}; the weights are those of step {step - 1}, the last checkpoint "
            "is kept\n  do this:  lower optimiser.learning_rate or raise optimiser.warmup_fraction in the recipe, or "
            "train in 32-true"
        )


def tolerances(precision: str, device: torch.device) -> dict[str, float]:
    """Return what rounding may make of `pass_difference` and `check_difference`, above which a gradient is wrong.

    The passes are the same computation: on a CPU to the last bit in float32. On a GPU kernels may add up in another
    order; hidden states are of size 1, of which 16 bits tell 0.8 % apart.
    """
    if precision == "bf16-mixed":
        return {"pass_difference": 5e-2, "check_difference": 5e-2}
    return {"pass_difference": 0.0 if device.type == "cpu" else 1e-3, "check_difference": 1e-3}


class WrongGradientError(CellLMError, ArithmeticError):
    """A chunked step does not compute the gradient of the full batch; the parameters are those before it.

    `found` is the figure on this rank, `tolerance` what rounding explains; below that another rank is meant.
    """

    def __init__(self, step: int, name: str, found: float, tolerance: float) -> None:
        where = f"{found:.3g}" if found > tolerance else "larger on another rank"
        super().__init__(
            f"step {step}: {name} may be {tolerance:g} and is {where}: the second pass over a chunk was another "
            f"computation than the first, so the gradient is wrong; the weights are those of step {step - 1}\n"
            "  do this:  set training.keep_tokens so high that there is no second pass; an encoder of your own must "
            "treat each cell alone, and the same way in both passes"
        )
