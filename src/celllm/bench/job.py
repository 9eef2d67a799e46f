"""One job of the benchmark: one method on one task, all its splits and seeds; the data are read once.

Each finished run leaves its predictions at once, so a job that was killed goes on with the runs that are missing.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from celllm.base.errors import CellLMError, InputError
from celllm.base.provenance import digest, digest_of, module_digest, stamp
from celllm.bench import predictions, runs
from celllm.bench.method import Classifier, Regressor, build, class_of
from celllm.bench.predictions import PredictionsMeta
from celllm.bench.process import counted, peak_mb, reset_peak
from celllm.bench.protocol import fitted, predicted, subsets_of
from celllm.bench.runs import Failure, Runs, predictions_path
from celllm.config.settings import FitBudget
from celllm.config.tables import Method, Task
from celllm.harmonise import vocabulary
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits.format import Split, request_of
from celllm.splits.units import Cells, Pairs, cells_from, check_responses, pairs_from


@dataclass(frozen=True)
class Job:
    """What a job reads and how its runs are made."""

    task: Task
    method: Method
    files: Mapping[str, Path]
    """By role: `cells`, `vocabulary`, and `responses`, `encoder` or `components` where there are such."""
    splits: Mapping[int, Path]
    """The task's splits by number."""
    seeds: Sequence[int]
    """Random seeds of the method; each runs on every split."""
    trials: int
    """Combinations of options that a run tries at most; with 2 or more, a method that fits in seconds tries all."""
    budget: FitBudget
    threads: int
    accelerator: Literal["auto", "cpu", "cuda"]
    is_mixed: bool
    """Whether methods with torch multiply in bfloat16."""
    stage: str

    @cached_property
    def digests(self) -> dict[str, str]:
        """The sha256 of each file, the same for all runs."""
        return {role: digest(path) for role, path in self.files.items()}

    @cached_property
    def shared(self) -> dict[Any, Any]:
        """What runs keep for one another."""
        return {}

    @cached_property
    def genes(self) -> Vocabulary:
        """The gene axis."""
        return vocabulary.read(self.files["vocabulary"])

    @cached_property
    def data(self) -> Cells | Pairs:
        """The cells of the task, or its pairs of line and drug."""
        from celllm.harmonise import cells as cell_files
        from celllm.sources import responses

        cells = cell_files.read(self.files["cells"], vocabulary=self.genes)
        if "responses" not in self.files:
            return cells_from(cells)
        table = responses.read(self.files["responses"])
        return pairs_from(cells, table, file=self.files["responses"])

    def check(self) -> None:
        """Refuse a method for tasks of another kind, and a regression without responses."""
        task, method = self.task, self.method
        if task.kind != method.kind:
            raise InputError(
                file="config/methods.tsv",
                field=f"kind of {method.method}",
                expected=f"{task.kind}, as the task {task.task}",
                found=method.kind,
                remedy=f"choose a method of kind {task.kind}",
            )
        check_responses(task, self.files.get("responses"))

    def split(self, number: int) -> Split:
        """Read a split; that of another task or number is refused."""
        from celllm.splits import format as split_files

        read = split_files.read(self.splits[number])
        if (read.task, read.seed) != (self.task.task, number):
            raise InputError(
                file=read.file,
                field="task and seed",
                expected=f"{self.task.task}, {number}",
                found=f"{read.task}, {read.seed}",
                remedy=f"give results/splits/{self.task.task}/split{number}.parquet",
            )
        return read

    def request(self, split: int, seed: int) -> str:
        """Return the digest of all that a run depends on: rows, files, split, seed, stage and its class's file."""
        task, method = self.task, self.method
        return digest_of(
            {
                "stage": self.stage,
                "files": self.digests | {"split": digest(self.splits[split])},
                "task": [task.protocol, task.headline],
                "method": [method.module, method.options, method.search],
                "code": module_digest(method.module.partition(":")[0]),
                "trials": self.trials,
                "budget": self.budget.model_dump(),
                "seed": seed,
                "precision": ["bf16-mixed"] if self.is_mixed else [],
            }
        )

    def run(self, number: int, seed: int, path: Path) -> None:
        """Fit and predict once; write the predictions and what they cost."""
        reset_peak()
        data, row, split = self.data, self.method, self.split(number)
        subsets = subsets_of(split, self.task, data.units)
        encoder = self.files.get("encoder")
        found = class_of(row)

        def make(options: Mapping[str, Any]) -> Classifier | Regressor:
            method = build(row, options, seed=seed, encoder=encoder, vocabulary=self.genes)
            method.budget, method.shared = self.budget, self.shared
            method.components_file = self.files.get("components")
            method.device, method.is_mixed = _device(self.accelerator, threads=self.threads), self.is_mixed
            return method

        start = time.perf_counter()
        search = row.search or getattr(found, "search", {})
        search = {name: values for name, values in search.items() if name not in row.options}
        is_cheap = getattr(getattr(found, "func", found), "is_cheap", False)
        choice, shown = fitted(
            row,
            self.task,
            data,
            subsets,
            make=make,
            search=search,
            trials=math.prod(map(len, search.values())) if is_cheap and self.trials > 1 else self.trials,
            seed=int(digest_of([self.task.task, number, seed])[:15], 16),
        )
        fitted_at = time.perf_counter()
        table = predicted(choice.method, shown, data, subsets["test"])
        meta = PredictionsMeta(
            task=self.task.task,
            method=row.method,
            split=number,
            seed=seed,
            kind=self.task.kind,
            simulated=data.simulated,
            n_train=len(subsets["train"]),
            n_validation=len(subsets["validation"]),
            n_test=len(subsets["test"]),
            options=choice.options,
            trials=choice.trials,
            fit_s=fitted_at - start,
            predict_s=time.perf_counter() - fitted_at,
            peak_mb=peak_mb(),
            trained_parameters=int(choice.method.trained_parameters),
            shown_units=choice.method.shown_units,
            vocabulary=self.genes.digest,
            encoder=self.digests.get("encoder"),
            provenance=self.stamp(number, seed=seed, options=choice.options, request=self.request(number, seed)),
        )
        predictions.write(table, meta, path)
        for trial in choice.trials:
            _say(f"trial {json.dumps(dict(trial.options))}: {self.task.headline} on validation {trial.value:.4f}")
        sizes = ", ".join(f"{subset} {len(rows)}" for subset, rows in subsets.items())
        if meta.shown_units:
            _say(f"training units shown: {meta.shown_units}; budget {self.budget!r}")
        _say(f"{sizes}; fitted in {meta.fit_s:.1f} s, predicted in {meta.predict_s:.1f} s")

    def stamp(self, *numbers: int, **extra: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON values
        """Describe what made a file; files that all runs read are hashed once."""
        read = self.digests | {f"split{number}": digest(self.splits[number]) for number in numbers}
        return stamp(self.stage, {}, **extra) | {"inputs": read}


def run_all(job: Job, path: Path, *, on_failure: Literal["show", "stop"], log: str) -> Runs:
    """Make every run that is not there yet, and write `runs.json` to `path`.

    Predictions of finished runs lie beside it; those made by the same rows, files and stage are kept. With `show` a
    failed run is recorded, with the name of the job's `log`, and the others go on; with `stop` its error is raised.
    """
    finished: list[tuple[int, int]] = []
    failures: list[Failure] = []
    for split, seed in itertools.product(job.splits, job.seeds):
        place = predictions_path(path, split=split, seed=seed)
        _say(f"{job.method.method} on {job.task.task}, split {split}, seed {seed}")
        if request_of(place) == job.request(split, seed):
            _say("kept: it is there already")
            finished.append((split, seed))
            continue
        place.unlink(missing_ok=True)
        try:
            with counted(place.with_name("attempts")):
                job.run(split, seed, place)
            finished.append((split, seed))
        except Exception as error:  # whatever it is, the other runs go on
            if on_failure == "stop":
                raise
            status, message = _told(error)
            failures.append(
                Failure(job.task.task, job.method.method, split, seed, status=status, message=message, log=log)
            )
    made = Runs(job.task.task, job.method.method, tuple(finished), tuple(failures), provenance=job.stamp(*job.splits))
    runs.write(made, path)
    return made


def numbered(splits: Sequence[Path]) -> dict[int, Path]:
    """Return split files by the number at the end of their names."""
    found = {}
    for path in splits:
        number = re.search(r"\d+$", path.stem)
        if number is None:
            raise InputError(
                file=path,
                field="--splits",
                expected="files that are named split{number}.parquet",
                found=path.name,
                remedy="give results/splits/{task}/split{number}.parquet",
            )
        found[int(number.group())] = path
    return found


def _told(error: Exception) -> tuple[int, str]:
    """Write an error to stderr, which is the log, and return the status it stands for and its message in one line."""
    notes = getattr(error, "__notes__", [])
    if isinstance(error, CellLMError):
        sys.stderr.write("\n".join([f"error: {error}", *notes, ""]))
        text = " ".join([str(error), *notes])
    else:
        traceback.print_exception(error)
        text = f"{type(error).__name__}: {error}"
    return getattr(error, "status", 1), " ".join(line.strip() for line in text.splitlines())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _device(accelerator: Literal["auto", "cpu", "cuda"], *, threads: int) -> str:
    """Return where to compute, and limit torch's threads, if the method has imported it: cheap ones do without."""
    if "torch" not in sys.modules:
        return "cpu"
    from celllm.model.device import device_of

    return device_of(accelerator, threads=threads)
