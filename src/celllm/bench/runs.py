"""`results/bench/{task}/{method}/runs.json`: what became of each run of a method on a task, written last.

A run is one method on one task with one split and seed. The predictions of a finished one lie beside the file, in
`split{split}/seed{seed}/predictions.parquet`; a failed one stands in the file with its message and its log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from celllm.base.atomic import writing
from celllm.base.errors import InputError


@dataclass(frozen=True)
class Failure:
    """A run without predictions.

    Parameters
    ----------
    split, seed
        Seed of the split, and of the method's own random numbers.
    status
        Exit status the error stands for; 137 where the kernel killed the process, mostly for memory.
    message
        The error message, in one line.
    log
        The log of its job.
    """

    task: str
    method: str
    split: int
    seed: int
    status: int
    message: str
    log: str


@dataclass(frozen=True)
class Runs:
    """All runs of one method on one task.

    Parameters
    ----------
    finished
        Split and seed of each run that has predictions.
    failures
        The other runs.
    provenance
        What made the file.
    """

    task: str
    method: str
    finished: tuple[tuple[int, int], ...]
    failures: tuple[Failure, ...]
    provenance: Mapping[str, Any]


def predictions_path(runs: Path | str, *, split: int, seed: int) -> Path:
    """Return where the predictions of a run lie, given the path of its `runs.json`."""
    return Path(runs).parent / f"split{split}" / f"seed{seed}" / "predictions.parquet"


def predictions_of(paths: Iterable[Path | str]) -> list[Path]:
    """Return the predictions of all finished runs of these `runs.json` files."""
    return [predictions_path(path, split=split, seed=seed) for path in paths for split, seed in read(path).finished]


def read(path: Path | str) -> Runs:
    """Read `runs.json`.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        stored = json.loads(Path(path).read_text())
        return Runs(
            task=stored["task"],
            method=stored["method"],
            finished=tuple((run["split"], run["seed"]) for run in stored["finished"]),
            failures=tuple(Failure(**failure) for failure in stored["failures"]),
            provenance=stored["provenance"],
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            file=path,
            field="(whole file)",
            expected="task, method, finished, failures and provenance, as JSON",
            found=f"{type(error).__name__}: {error}",
            remedy=f"fit again: snakemake --forcerun {path}",
        ) from None


def write(runs: Runs, path: Path | str) -> None:
    """Write `runs.json`."""
    stored = {
        "task": runs.task,
        "method": runs.method,
        "finished": [{"split": split, "seed": seed} for split, seed in runs.finished],
        "failures": [asdict(failure) for failure in runs.failures],
        "provenance": dict(runs.provenance),
    }
    with writing(path) as part:
        part.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
