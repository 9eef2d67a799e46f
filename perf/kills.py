"""A training process that is killed again and again, and must end with the weights of one that never was."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


@dataclass(frozen=True)
class Life:
    """One process.

    Parameters
    ----------
    seconds
        How long it lived.
    last_step
        Latest checkpoint that it left; 0: none.
    n_parts
        Half-written files that it left.
    was_killed
        Or it ended by itself.
    """

    seconds: float
    last_step: int
    n_parts: int
    was_killed: bool


@dataclass(frozen=True)
class Survival:
    """How a run that was killed compares with one that was not."""

    lives: list[Life]
    straight_s: float
    same_encoder: bool
    """Whether both encoder files have the same bytes."""

    @property
    def n_kills(self) -> int:
        """Number of processes that were killed while they ran."""
        return sum(life.was_killed for life in self.lives)


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
    arguments: Callable[[str], list[str]],
    folder: Path,
    *,
    n_kills: int,
    seed: int = 0,
    report: Callable[[Life], None] = lambda life: None,
) -> Survival:
    """Train once straight, and once with SIGKILL at random moments, the first of them of start-up too.

    Parameters
    ----------
    arguments
        Makes the options of `celllm pretrain` for a run of that name: `FOLDER/NAME` holds its checkpoints,
        `FOLDER/NAME.safetensors` is its encoder.
    folder
        Where runs write.
    n_kills
        How many processes are killed; the one after them may end by itself.
    seed
        Of the moments.
    report
        Told of each process.
    """
    # processes are forked from one that has torch loaded, so that moments are those of training
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["celllm.pretrain.commands", "celllm.pretrain.run"])
    warm_up = context.Process(target=time.sleep, args=(0,))
    warm_up.start()
    warm_up.join()

    def start(name: str) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_train, args=(arguments(name), folder / f"{name}.log"))
        process.start()
        return process

    started = time.perf_counter()
    straight = start("straight")
    while straight.is_alive() and not _last_step(folder / "straight"):
        time.sleep(0.005)
    start_up_s = time.perf_counter() - started
    straight.join()
    straight_s = time.perf_counter() - started
    if straight.exitcode != 0:
        message = (folder / "straight.log").read_text()
        raise RuntimeError(message)
    random = np.random.default_rng(seed)
    lives: list[Life] = []
    n_steps = _last_step(folder / "straight")
    speed, reached = n_steps / (straight_s - start_up_s), 0
    while True:
        n_left = n_kills - sum(life.was_killed for life in lives)
        # by the best speed seen: the machine's load must not let it end before the last kill
        longest = 1.5 * (n_steps - reached) / speed / (n_left + 1)
        is_early = random.random() < EARLY
        moment = random.uniform(0, start_up_s) if is_early else start_up_s + random.uniform(0, longest)
        started = time.perf_counter()
        process = start("killed")
        process.join(moment if n_left else None)
        if process.is_alive():
            process.kill()
        process.join()
        checkpoints = folder / "killed"
        life = Life(
            seconds=time.perf_counter() - started,
            last_step=_last_step(checkpoints),
            n_parts=len(list(checkpoints.glob("*.part"))),
            was_killed=process.exitcode == -signal.SIGKILL,
        )
        if life.last_step > reached:
            speed = max(speed, (life.last_step - reached) / (max(0, life.seconds - start_up_s) + 0.1))
        elif not is_early:
            start_up_s *= 1.3  # the machine has become slower
        reached = life.last_step
        lives.append(life)
        report(life)
        if process.exitcode == 0:
            break
        if not life.was_killed:
            message = (folder / "killed.log").read_text()
            raise RuntimeError(message)
    digests = {
        hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest() for name in ("straight", "killed")
    }
    return Survival(lives, straight_s, same_encoder=len(digests) == 1)
