"""A run that is asked to stop ends after its step, with a checkpoint, instead of losing what it did."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from celllm.base.errors import CellLMError

STATUS = 75
"""Exit status of a stopped run: EX_TEMPFAIL of sysexits.h, "try again later"."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What schedulers send before they kill, and what Ctrl-C sends."""


class Stopped(CellLMError):
    """The run was asked to stop and did; called again it goes on.

    Parameters
    ----------
    step
        Optimiser steps done.
    signal_name
        What asked.
    is_saved
        Whether there is a checkpoint of this step.
    """

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

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])
