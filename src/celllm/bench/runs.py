"""`results/bench/{task}/{method}/runs.json`: what became of each run of a method on a task, written last.

A run is one method on one task with one split and seed. The predictions of a finished one lie beside the file, in
`split{split}/seed{seed}/predictions.parquet`; a failed one stands in the file with its message and its log.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from celllm.base.atomic import writing
from celllm.config.explain import first_error

_STRICT: Final = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, config=_STRICT)
class Failure:
    """A run without predictions."""

    task: str
    method: str
    split: int
    """Seed of the split."""
    seed: int
    """Seed of the method's own random numbers."""
    status: int
    """Exit status the error stands for; 137 where the kernel killed the process, mostly for memory."""
    message: str
    """The error message, in one line."""
    log: str
    """The log of its job."""


@dataclass(frozen=True, config=_STRICT)
class Runs:
    """All runs of one method on one task."""

    task: str
    method: str
    finished: tuple[tuple[int, int], ...]
    """Split and seed of each run that has predictions."""
    failures: tuple[Failure, ...]
    """The other runs."""
    provenance: dict[str, Any]
    """What made the file."""


_RUNS = TypeAdapter(Runs)


def predictions_path(runs: Path | str, *, split: int, seed: int) -> Path:
    """Return where the predictions of a run lie, given the path of its `runs.json`."""
    return Path(runs).parent / f"split{split}" / f"seed{seed}" / "predictions.parquet"


def predictions_of(paths: Iterable[Path | str]) -> list[Path]:
    """Return the predictions of all finished runs of these `runs.json` files."""
    return [predictions_path(path, split=split, seed=seed) for path in paths for split, seed in read(path).finished]


def read(path: Path | str) -> Runs:
    """Read `runs.json`.

    InputError if it is no such file.
    """
    try:
        return _RUNS.validate_json(Path(path).read_bytes())
    except ValidationError as error:
        raise first_error(error, file=path, remedy=f"fit again: snakemake --forcerun {path}") from None


def write(runs: Runs, path: Path | str) -> None:
    """Write `runs.json`."""
    with writing(path) as part:
        part.write_bytes(_RUNS.dump_json(runs, indent=1))
