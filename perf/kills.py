"""A training process that is killed again and again, and must end with the weights of one that never was."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from line import say

EARLY = 0.2
"""Share of the kills that fall into starting up."""


def _train(arguments: Sequence[str], log: Path) -> None:
    with log.open("a") as file:
        os.dup2(file.fileno(), 2)
        from celllm.__main__ import main

        sys.argv[1:] = ["pretrain", *arguments]
        main()


def _last_step(checkpoints: Path) -> int:
    return max((int(path.stem.removeprefix("step")) for path in checkpoints.glob("step*.safetensors")), default=0)


def survive(
    arguments: Callable[[str], list[str]], folder: Path, *, n_kills: int, seed: int = 0
) -> tuple[int, float, bool]:
    """Train once straight, and once with SIGKILL at random moments, some of them of start-up.

    `arguments` makes the options of `celllm pretrain` for a run of that name: `FOLDER/NAME` holds its checkpoints, one
    a step, `FOLDER/NAME.safetensors` is its encoder. Returns the kills of a running process, the seconds of the
    straight run, and whether both encoders have the same bytes.
    """
    # processes are forked from one that has torch loaded, so that moments are those of training
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["celllm.pretrain.commands", "celllm.pretrain.run"])
    warm_up = context.Process(target=time.sleep, args=(0,))
    warm_up.start()
    warm_up.join()

    def start(name: str, until: int) -> tuple[BaseProcess, float]:
        """Start a process; return once it has left this checkpoint or ended, with its seconds so far."""
        process = context.Process(target=_train, args=(arguments(name), folder / f"{name}.log"))
        started = time.perf_counter()
        process.start()
        while process.is_alive() and _last_step(folder / name) < until:
            time.sleep(0.002)
        return process, time.perf_counter() - started

    def ended(process: BaseProcess, name: str) -> None:
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            raise RuntimeError((folder / f"{name}.log").read_text())

    started = time.perf_counter()
    straight, start_up_s = start("straight", 1)
    ended(straight, "straight")
    straight_s, n_steps = time.perf_counter() - started, _last_step(folder / "straight")
    random = np.random.default_rng(seed)
    n_killed = reached = 0
    for n_left in range(n_kills, -1, -1):
        further = int(random.integers(1, max(2, 2 * (n_steps - reached) // (n_left + 1))))
        is_early = n_left > 0 and random.random() < EARLY
        process, seconds = start("killed", 0 if is_early else reached + further)
        if n_left:  # a step, and writing its checkpoint, takes so long; or starting up
            time.sleep(random.uniform(0, start_up_s if is_early else (straight_s - start_up_s) / n_steps))
            process.kill()
        ended(process, "killed")
        n_killed += process.exitcode == -signal.SIGKILL
        reached = _last_step(folder / "killed")
        n_parts = len(list((folder / "killed").glob("*.part")))
        say(f"{process.exitcode} after {seconds:.2f} s, last checkpoint {reached}, {n_parts} half-written files")
        if process.exitcode == 0:
            break
    encoders = {(folder / f"{name}.safetensors").read_bytes() for name in ("straight", "killed")}
    return n_killed, straight_s, len(encoders) == 1
