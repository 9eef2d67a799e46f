"""`results/bench/catalogue.json`: what the benchmark runs, with the titles and rows behind every name.

The workflow writes it once; scores, tables and figures read it, so none of them opens a table of config/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from celllm.base.atomic import writing
from celllm.config.explain import first_error
from celllm.config.tables import Claim, Dataset, Method, Task


class Runs(BaseModel):
    """Splits and model seeds of one method on one task: a run is each of one with each of the other."""

    model_config = ConfigDict(frozen=True)

    splits: tuple[int, ...]
    """Split seeds."""
    seeds: tuple[int, ...]
    """Model seeds."""


class Catalogue(BaseModel):
    """Rows by name, in the order of the tables."""

    model_config = ConfigDict(frozen=True)

    tasks: dict[str, Task]
    """Tasks that are run, and those of `not_run` and of `claims`."""
    methods: dict[str, Method]
    """Methods that are run, and those of `claims`."""
    datasets: dict[str, Dataset]
    """Data sets of the corpus, the tasks and the embeddings."""
    runs: dict[str, dict[str, Runs]]
    """By task and method."""
    not_run: tuple[str, ...]
    """Optional tasks whose files are not at hand."""
    claims: tuple[Claim, ...]
    """Published numbers to be compared with ours."""
    config: dict[str, Any]
    """The configuration in force."""

    def is_simulated(self, task: str) -> bool:
        """Whether a task's cells or responses come from the simulator."""
        row = self.tasks[task]
        names = [name for name in (row.dataset, row.response) if name is not None]
        return any(self.datasets[name].simulated for name in names)


def read(path: Path | str) -> Catalogue:
    """Read the catalogue.

    InputError if the file is no catalogue of this version.
    """
    try:
        return Catalogue.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except ValidationError as error:
        raise first_error(error, file=path, remedy="write it again: snakemake --forcerun list_runs") from None


def write(catalogue: Catalogue, path: Path | str) -> None:
    """Write the catalogue."""
    with writing(path) as part:
        part.write_text(catalogue.model_dump_json(indent=1), encoding="utf-8")
