"""The tables and the configuration, read and checked before the first job, and what follows from them; no rules.

Reads: config.yaml (and what overlays it), config/*.tsv, config/recipes/, the table of runs, workflow/stages.yaml
"""

import dataclasses
import json
import re
import sys
from pathlib import Path
from shlex import quote

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

SOURCE = Path(workflow.basedir) / "src"
sys.path.insert(0, str(SOURCE))

from celllm.base.errors import InputError
from celllm.base.provenance import module_digest
from celllm.config import (
    catalogue,
    overlays,
    recipe,
    recipe_choices,
    settings,
    tables,
)
from celllm.config.references import CONTROLS, references_of
from celllm.config.rows import as_json
from celllm.config.runs import planned
from celllm.sources import mirror

# Snakemake clears PYTHONPATH for conda jobs, so the package is handed to each command here.
shell.prefix(
    f"set -euo pipefail; export PYTHONNOUSERSITE=1 PYTHONPATH={quote(str(SOURCE))}; "
)

CONFIG = Path(workflow.basedir) / "config"
OVERLAYS = list(workflow.overwrite_configfiles)  # they win over config.yaml
CONFIG_FILES = [
    *(str(path) for path in workflow.configfiles if path not in OVERLAYS),
    *map(str, OVERLAYS),
]


def runs_table() -> Path:
    """The table of runs: as seen from the working directory, or from the checkout."""
    here = Path(config["runs"])
    return here if here.is_file() else Path(workflow.basedir) / here


def source_of(field: str) -> str:
    """The configuration file, or the command line, that a key's value comes from."""
    return settings.holder(field, config, CONFIG_FILES)


def read_everything() -> tuple:
    """Read the tables and recipes, and check the configuration against its model and against them."""
    settings.check(config, files=CONFIG_FILES)
    datasets = tables.read_datasets(CONFIG / "datasets.tsv")
    tasks = tables.read_tasks(CONFIG / "tasks.tsv")
    methods = tables.read_methods(CONFIG / "methods.tsv")
    recipes = {
        name: recipe.read(*overlays.paths_of(layers, CONFIG / "recipes"))
        for name, layers in config["encoders"].items()
    }
    for field in ("gene_annotation", "network", "gene2vec", "corpus", "probe", "embed"):
        asked = config[field] if isinstance(config[field], list) else [config[field]]
        networks = ["coexpression"] if field == "network" else []
        settings.check_names(
            [name for name in asked if name is not None],
            [*datasets.names, *networks],
            field=field,
            table=datasets.file,
            file=source_of(field),
        )
    if config["step_cost"]:
        settings.check_names(
            [config["step_cost"]["encoder"]],
            recipes,
            field="step_cost.encoder",
            table="encoders",
            file=source_of("step_cost.encoder"),
        )
    for name, read in recipes.items():
        if read.genes.method == "gene2vec" and config["gene2vec"] is None:
            raise InputError(
                file=source_of("gene2vec"),
                field="gene2vec",
                expected=f"a data set of gene vectors, which encoder {name} asks for",
                found="null",
                remedy="set gene2vec: gene2vec_200, or choose another recipe",
            )
    runs = planned(
        tables.read_runs(runs_table()),
        tasks=tasks,
        methods=methods,
        encoders=list(recipes),
        corpus=config["corpus"],
    )
    probe = config["probe"]
    settings.check_probe(
        probe,
        labels=probe is not None and datasets.row(probe).label_column is not None,
        corpus=config["corpus"],
        tested=[tasks.row(task).dataset for task in runs.runs],
        recipes=recipes,
        file=source_of("probe"),
    )
    for task in tasks:
        for name in (task.dataset, task.response):
            if name is not None:
                datasets.row(name)
    role = datasets.row(config["gene_annotation"]).role
    if role != "genes":
        raise InputError(
            file=source_of("gene_annotation"),
            field="gene_annotation",
            expected=f"a data set of the role genes in {datasets.file}",
            found=f"{config['gene_annotation']}, of the role {role}",
            remedy="name HGNC's genes, such as hgnc_2024",
        )
    if config["mirror"] and not Path(config["mirror"]).expanduser().is_dir():
        raise InputError(
            file=source_of("mirror"),
            field="mirror",
            expected="a folder",
            found=f"no folder {Path(config['mirror']).expanduser().absolute()}",
            remedy="name the folder that holds the files, or null for none",
        )
    files = tables.read_files(CONFIG / "files.tsv")
    claims = tables.read_claims(CONFIG / "claims.tsv")
    return (
        {row.dataset: row for row in datasets},
        files,
        {row.task: row for row in tasks},
        runs.methods,
        recipes,
        runs,
        claims,
    )


try:
    DATASETS, FILES, TASKS, METHODS, RECIPES, PLANNED, CLAIMS = read_everything()
except InputError as error:
    raise WorkflowError(str(error)) from None
STAGES = {
    stage: f"{stage}-{version}"
    for stage, version in yaml.safe_load(
        (Path(workflow.basedir) / "workflow/stages.yaml").read_text()
    ).items()
}
# Without the key nothing asks for the rules that read this.
STEP_COST = config["step_cost"] or {"encoder": None, "batches": [], "limit_gb": 0}
GPUS = 1 if config["accelerator"] == "gpu" else 0
ACCELERATOR = "auto" if GPUS else "cpu"  # of every job that could use a GPU
MIRRORS = [Path(config["mirror"]).expanduser()] if config["mirror"] else []
MIRROR = f"--mirror {quote(str(MIRRORS[0]))}" if MIRRORS else ""
MAIN_ENCODER = next(iter(config["encoders"]))  # whose embeddings are drawn and audited

CHECKSUMS_TABLE = str(CONFIG / "checksums.tsv")
EXCLUDED_STUDIES = " ".join(quote(study) for study in config.get("exclude_studies", []))


def files_of(dataset: str) -> list:
    """Rows of files.tsv of one data set."""
    return [row for row in FILES if row.dataset == dataset]


def is_present(dataset: str) -> bool:
    """Whether a data set needs no download: simulated, fetched already, or whole in the mirror."""
    if DATASETS[dataset].simulated:
        return True
    if Path(f"resources/raw/{dataset}/manifest.json").is_file():
        return True
    rows = files_of(dataset)
    local = [row.url is not None and not row.url.startswith("http") for row in rows]
    if mirror.has_built(MIRRORS, dataset=dataset, built=DATASETS[dataset].built):
        return True
    held = [
        "{" not in row.file
        and mirror.find(MIRRORS, dataset=dataset, file=row.file) is not None
        for row in rows
    ]
    return bool(rows) and all(a or b for a, b in zip(local, held))


def datasets_of(task: str) -> list[str]:
    """The data sets a task reads: its cells (or lines) and, for regression, its responses."""
    row = TASKS[task]
    return [name for name in (row.dataset, row.response) if name is not None]


NOT_RUN = [
    task
    for task in PLANNED.runs
    if task in PLANNED.optional
    and not all(is_present(dataset) for dataset in datasets_of(task))
]
RUNS = {task: methods for task, methods in PLANNED.runs.items() if task not in NOT_RUN}
RUN_TASKS = list(RUNS)


def methods_of(task: str) -> list[str]:
    """Methods that run on a task."""
    return list(RUNS[task])


def warn_of_missing_references() -> None:
    """Say before anything is computed which encoders' numbers will be withheld for want of a reference baseline."""
    for task in RUN_TASKS:
        for method in methods_of(task):
            needed = references_of(METHODS[method], TASKS[task], METHODS)
            missing = [name for name in needed if name not in methods_of(task)]
            if missing:
                logger.warning(
                    f"{method} on {task}: its number will not be shown, since {', '.join(missing)} is not run there; "
                    "add it to the table of runs"
                )


def warn_of_doubtful_recipes() -> None:
    """Say before anything is computed which recipes are allowed and yet known to go wrong."""
    for name, read in RECIPES.items():
        for doubt in recipe_choices.doubts(read):
            logger.warning(f"encoder {name}: {doubt}")


if workflow.is_main_process:
    warn_of_missing_references()
    warn_of_doubtful_recipes()


def refuse_to_replace(jobs) -> None:
    """Say before anything is computed that an encoder would be replaced, which Snakemake refuses after all else."""
    for kept in (Path(path) for job in jobs for path in job.protected_output):
        if kept.is_file():
            raise WorkflowError(
                f"{kept} is kept, and this run would make it anew, of another configuration or other data\n"
                f"  do this:  add --directory ../other, a folder for this run's results/ and resources/; or, if it is "
                f"not wanted any more, rm -rf {kept.parent.parent}"
            )


def pretrain_seed_of(method: str) -> int:
    """Pretraining seed of the encoder that a method starts from."""
    seed = METHODS[method].pretrain_seed
    return config["pretrain_seed"] if seed is None else seed


def encoder_of(method: str) -> str | None:
    """Pretrained encoder that a method starts from; None for a method without one."""
    name = METHODS[method].encoder
    return None if name in (None, tables.COMPONENTS) else name


USED_ENCODERS = [
    name
    for name in config["encoders"]
    if any(encoder_of(method) == name for task in RUN_TASKS for method in RUNS[task])
] or [MAIN_ENCODER]
PROBED = [config["probe"]] if config["probe"] else []
CELL_DATASETS = sorted(
    {
        *config["corpus"],
        *config["embed"],
        *PROBED,
        *(TASKS[task].dataset for task in RUN_TASKS),
    }
)


wildcard_constraints:
    dataset="|".join(DATASETS),
    task="|".join(TASKS),
    method="|".join(METHODS),
    recipe="|".join(config["encoders"]),
    seed=r"\d+",
