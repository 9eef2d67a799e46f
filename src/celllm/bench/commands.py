"""Commands of the benchmark: `list_runs`, `fit_pca`, `fit` and `score`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from celllm.base.app import Stage, Threads, VocabularyFile, commands
from celllm.base.errors import InputError
from celllm.config.rows import FitBudgetJson, MethodRow, TaskRow, TaskRows
from celllm.config.settings import FitBudget

if TYPE_CHECKING:
    from celllm.corpus.reader import ShardReader

app = commands()


@app.command
def list_runs(*, catalogue: str, out: Path) -> None:
    """Write down what the benchmark runs, with the titles and rows behind every name.

    Parameters
    ----------
    catalogue
        Tasks, methods, data sets, runs and configuration, as JSON.
    out
        Where to write it.

    Example::

        snakemake --cores 1 results/bench/catalogue.json
    """
    from celllm.config import catalogue as catalogue_file

    catalogue_file.write(catalogue_file.Catalogue.model_validate_json(catalogue), out)


@app.command
def fit_pca(*, shards: Path, pca: Path, components: int = 50, stage: Stage = "fit_pca") -> None:
    """Fit principal components to the pretraining corpus, log-normalised, batch by batch; no labels.

    Parameters
    ----------
    shards
        manifest.json of the corpus.
    pca
        Where to write the components.
    components
        Number of components.

    Example::

        python -m celllm fit_pca --shards results/shards/manifest.json --pca results/bench/pca.safetensors
    """
    from dataclasses import replace

    from celllm.base.provenance import stamp
    from celllm.corpus import components as components_of
    from celllm.corpus.reader import ShardReader

    reader = ShardReader(shards)
    _check_size(reader, components)
    found = components_of.fit_pca(
        reader.rows, n_cells=reader.n_cells, vocabulary=reader.vocabulary, n_components=components
    )
    components_of.write(replace(found, provenance=stamp(stage, {}, shards=reader.digest)), pca)
    print(f"{components} components of {found.n_cells} cells hold {found.explained_K.sum():.1%} of the variance")


@app.command
def fit(
    *,
    task: TaskRow,
    method: MethodRow,
    cells: Path,
    splits: list[Path],
    vocabulary: VocabularyFile,
    runs: Path,
    responses: Path | None = None,
    encoder: Path | None = None,
    components: Path | None = None,
    seeds: list[int] | None = None,
    trials: int = 1,
    budget: FitBudgetJson | None = None,
    threads: Threads = 1,
    accelerator: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    on_failure: Literal["show", "stop"] = "show",
    log: str = "",
    stage: Stage = "fit",
) -> None:
    """Train a method on a task and predict the test subset of each split, whose labels it is not given.

    Each split and seed is a run. Finished runs made by the same rows, files and stage are kept, so that a job that was
    interrupted, or some of whose runs failed, makes the missing ones only.

    Parameters
    ----------
    task
        Row of config/tasks.tsv as JSON.
    method
        Row of config/methods.tsv as JSON.
    cells
        Aligned cells of the task.
    splits
        Splits of the task, each a file `split{number}.parquet`.
    runs
        Where to write what became of each run; predictions go beside it.
    responses
        Drug responses, for a regression task.
    encoder
        Pretrained encoder, or principal components of the corpus, for a method that starts from one.
    components
        Principal components of the corpus, for a method that sets them beside an encoder's embedding.
    seeds
        Random seeds of the method; each runs on every split [0].
    trials
        Combinations of options to try on the validation subset, at most; with 2 or more, methods that fit in seconds
        try all of theirs.
    budget
        How long a method that learns batch by batch may learn, as JSON; keys of fit_budget in config.yaml.
    accelerator
        Where methods with torch compute, by default on a GPU if there is one; others need the CPU alone.
    precision
        Of their products; bf16-mixed keeps weights and sums in 32 bits.
    on_failure
        Record a failed run and go on, or stop there.
    log
        Log of the job, named in the record of a failed run.

    Example::

        python -m celllm fit --task '{"task": "annotation_pbmc68k", ...}' --method '{"method": "logistic", ...}' \
            --cells results/cells/pbmc68k_reduced.h5ad --splits results/splits/annotation_pbmc68k/split0.parquet \
            --vocabulary results/vocabulary/genes.tsv --runs results/bench/annotation_pbmc68k/logistic/runs.json
    """
    # the job by hand: paste this line
    print("python -m celllm", shlex.join(sys.argv[1:]), flush=True)
    from celllm.bench.job import Job, numbered, run_all
    from celllm.bench.process import end_on_sigterm

    optional = {"responses": responses, "encoder": encoder, "components": components}
    job = Job(
        task=task,
        method=method.under(task.protocol),
        files={"cells": cells, "vocabulary": vocabulary}
        | {role: path for role, path in optional.items() if path is not None},
        splits=numbered(splits),
        seeds=seeds or [0],
        trials=trials,
        budget=budget or FitBudget(),
        threads=threads,
        accelerator=accelerator,
        is_mixed=precision == "bf16-mixed",
        stage=stage,
    )
    job.check()
    end_on_sigterm()
    made = run_all(job, runs, on_failure=on_failure, log=log)
    print(f"{len(made.finished)} runs finished, {len(made.failures)} failed")


@app.command
def score(*, runs: list[Path], tasks: TaskRows, scores: Path, trials: Path, failures: Path) -> None:
    """Compute every metric of every run, as one long table; list trials and failed runs.

    Parameters
    ----------
    runs
        runs.json files, one for each method on each task.
    tasks
        Rows of config/tasks.tsv, a JSON list.
    scores
        Where to write the scores.
    trials
        Where to write what was tried on validation subsets.
    failures
        Where to write the failed runs.

    Example::

        python -m celllm score --runs results/bench/*/*/runs.json --tasks '[{"task": "annotation_pbmc68k", ...}]' \
            --scores scores.tsv --trials trials.tsv --failures failures.json
    """
    from celllm.bench import predictions
    from celllm.bench import runs as run_files
    from celllm.bench import scores as tables

    rows = {row.task: row for row in tasks}
    failed = [failure for path in runs for failure in run_files.read(path).failures]
    read = [predictions.read(path) for path in run_files.predictions_of(runs)]
    made = [tables.scored(table, meta, task=rows[meta.task]) for table, meta in read]
    tables.write(tables.together([found for found, _ in made], tables.COLUMNS), scores)
    tables.write_trials(tables.together([found for _, found in made], tables.TRIAL_COLUMNS), trials)
    tables.write_failures(failed, failures)
    print(f"{len(made)} runs scored, {len(failed)} failed")
    for failure in failed:
        print(f"failed: {failure.method} on {failure.task}, split {failure.split}, seed {failure.seed}: {failure.log}")


@app.command
def plan_bench(
    *,
    config: list[Path],
    size: list[str] | None = None,
    gpu: str = "h100",
    gpus: list[int] | None = None,
    efficiency: float = 0.5,
    checkout: Path = Path(),
    json: bool = False,
) -> None:
    """Estimate the benchmark of a configuration before it runs: hours of every job that starts from an encoder.

    Computed from recipes, tables and budget, for fits on GPUs; methods without an encoder are not counted.

    Parameters
    ----------
    config
        Configuration files to lay over config.yaml.
    size
        DATASET=CELLSxTOKENS, such as zheng68k=68450x526: cells (or lines) and tokens a cell; else 10,000 of 1,618.
    gpu
        One of h100, h200, a100, a100-40, l40s, rtx4090.
    gpus
        Numbers of GPUs, each with a job at a time [1 8].
    efficiency
        Share of a GPU's peaks that is reached; an assumption.
    checkout
        Folder that holds config.yaml and config/.
    json
        Print JSON in place of tables.

    Example::

        celllm plan_bench --config config/paper.yaml --size zheng68k=68450x526 --gpu h100
    """
    from json import dumps

    from celllm.base.report_table import as_markdown
    from celllm.bench.plan import plan, size_of, wall_hours
    from celllm.config import merged, overlays, recipe, tables
    from celllm.config.runs import planned
    from celllm.pretrain.gpus import gpu_of

    folder = checkout / "config"
    _, in_force = merged.read([checkout / "config.yaml", *config])
    tasks, methods = tables.read_tasks(folder / "tasks.tsv"), tables.read_methods(folder / "methods.tsv")
    table = tables.read_runs(checkout / in_force.runs)
    encoders = {name: overlays.paths_of(layers, folder / "recipes") for name, layers in in_force.encoders.items()}
    plans = planned(table, tasks=tasks, methods=methods, encoders=list(encoders), corpus=in_force.corpus)
    found = plan(
        plans.runs,
        tasks={row.task: row for row in tasks},
        methods=plans.methods,
        recipes={name: recipe.read(*layers) for name, layers in encoders.items()},
        budget=in_force.fit_budget,
        trials=in_force.trials,
        sizes=dict(map(size_of, size or [])),
        gpu=gpu_of(gpu),
        efficiency=efficiency,
    )
    hours = {n: wall_hours(found["hours"].tolist(), n) for n in gpus or [1, 8]}
    if json:
        print(dumps({"jobs": found.to_dict("records"), "hours": hours}, indent=2))
        return
    found["hours"] = found["hours"].map("{:.2f}".format)
    note = "Computed; a fit that stops early takes less. " + ", ".join(f"{n} GPUs: {h:.1f} h" for n, h in hours.items())
    print(as_markdown(found, title=f"Fits on {gpu_of(gpu).title}", note=f"{note}."))


def _check_size(reader: ShardReader, n_components: int) -> None:
    """Refuse more components than the corpus has cells or genes."""
    largest = min(reader.n_cells, reader.n_genes)
    if not 1 <= n_components <= largest:
        raise InputError(
            file=reader.path,
            field="--components",
            expected=f"1 to {largest}, since the corpus has {reader.n_cells} cells and {reader.n_genes} genes",
            found=str(n_components),
            remedy=f"give --components {min(largest, 50)}, or a larger corpus",
        )
