"""The tables and the configuration, read and checked before the first job, and what follows from them; no rules.

Reads: config.yaml (and what overlays it), config/*.tsv, workflow/stages.yaml
"""

import hashlib
import json
import sys
from pathlib import Path
from shlex import quote

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

SOURCE = Path(workflow.basedir) / "src"
sys.path.insert(0, str(SOURCE))

from celllm.contracts import configuration, recipe_files, tables
from celllm.contracts import recipe as recipe_file
from celllm.contracts.neighbours import neighbours_of
from celllm.errors import InputError
from celllm.transfer import mirror

# Snakemake clears PYTHONPATH for conda jobs, so the package is handed to each command here.
shell.prefix(
    f"set -euo pipefail; export PYTHONNOUSERSITE=1 PYTHONPATH={quote(str(SOURCE))}; "
)

CONFIG = Path(workflow.basedir) / "config"
DATASETS_TABLE = str(CONFIG / "datasets.tsv")
FILES_TABLE = str(CONFIG / "files.tsv")
TASKS_TABLE = str(CONFIG / "tasks.tsv")
METHODS_TABLE = str(CONFIG / "methods.tsv")
CLAIMS_TABLE = str(CONFIG / "claims.tsv")
RECIPES = sorted(path.stem for path in (CONFIG / "recipes").glob("*.yaml"))
CONFIG_FILES = [str(path) for path in workflow.configfiles]


def needs_gene2vec(name: str) -> bool:
    """Whether a recipe's gene embedding is gene2vec."""
    return (
        recipe_file.read(CONFIG / "recipes" / f"{name}.yaml").genes.method == "gene2vec"
    )


def checked_tables() -> tuple:
    """Read the tables and check the configuration against its schema and against them."""
    try:
        configuration.check(
            config,
            schema=Path(workflow.basedir) / "workflow/schemas/config.schema.json",
            files=CONFIG_FILES,
        )
        read = (
            {row.dataset: row for row in tables.read_datasets(DATASETS_TABLE)},
            tables.read_files(FILES_TABLE),
            {row.task: row for row in tables.read_tasks(TASKS_TABLE)},
            {row.method: row for row in tables.read_methods(METHODS_TABLE)},
        )
        datasets, _, tasks, methods = read
        for field, names, known, table in (
            ("gene_table", [config["gene_table"]], datasets, DATASETS_TABLE),
            (
                "network",
                [config["network"]],
                [*datasets, "coexpression"],
                DATASETS_TABLE,
            ),
            (
                "gene2vec",
                [config["gene2vec"]] if config["gene2vec"] else [],
                datasets,
                DATASETS_TABLE,
            ),
            ("corpus", config["corpus"], datasets, DATASETS_TABLE),
            ("embed", config["embed"], datasets, DATASETS_TABLE),
            ("tasks", config["tasks"], tasks, TASKS_TABLE),
            ("tasks_if_present", config["tasks_if_present"], tasks, TASKS_TABLE),
            ("methods", config["methods"], methods, METHODS_TABLE),
            ("methods_only_on", config["methods_only_on"], methods, METHODS_TABLE),
            (
                "methods_only_on",
                [task for row in config["methods_only_on"].values() for task in row],
                tasks,
                TASKS_TABLE,
            ),
            (
                "one_model_seed_on",
                config["one_model_seed_on"],
                [*config["tasks"], *config["tasks_if_present"]],
                "tasks and tasks_if_present",
            ),
            ("recipes", config["recipes"].values(), RECIPES, "config/recipes/"),
            (
                "step_cost",
                [config["step_cost"]["recipe"]] if config["step_cost"] else [],
                RECIPES,
                "config/recipes/",
            ),
        ):
            configuration.check_names(
                names, known, field=field, table=table, files=CONFIG_FILES
            )
        for name in [*config["tasks"], *config["tasks_if_present"]]:
            row = tasks[name]
            if row.kind == "regression" and row.dataset in config["corpus"]:
                raise InputError(
                    file=", ".join(CONFIG_FILES),
                    field="corpus",
                    expected=f"no data set whose lines are tested by a task, as those of {name} are",
                    found=row.dataset,
                    remedy=f"take {row.dataset} out of corpus, or {name} out of the tasks",
                )
        for name in config["recipes"].values():
            if needs_gene2vec(name) and config["gene2vec"] is None:
                raise InputError(
                    file=", ".join(CONFIG_FILES),
                    field="gene2vec",
                    expected=f"a data set of gene vectors, which recipe {name} asks for",
                    found="null",
                    remedy="set gene2vec: gene2vec_200, or choose another recipe",
                )
        for method in config["methods"]:
            part = methods[method].recipe
            if part not in (None, tables.COMPONENTS):
                configuration.check_names(
                    [part],
                    config["recipes"],
                    field="recipes",
                    table=f"recipes (method {method})",
                    files=CONFIG_FILES,
                )
    except InputError as error:
        raise WorkflowError(str(error)) from None
    return read


DATASETS, FILES, TASKS, METHODS = checked_tables()
STAGES = {
    stage: f"{stage}-{version}"
    for stage, version in yaml.safe_load(
        (Path(workflow.basedir) / "workflow/stages.yaml").read_text()
    ).items()
}
# Without the key nothing asks for the rules that read this.
STEP_COST = config["step_cost"] or {"recipe": None, "batches": [], "limit_gb": 0}
GPUS = 1 if config["accelerator"] == "gpu" else 0
TABLE_OPTIONS = " ".join(
    f"--{name} {quote(path)}"
    for name, path in (
        ("tasks", TASKS_TABLE),
        ("methods", METHODS_TABLE),
        ("datasets", DATASETS_TABLE),
    )
)
# As a parameter: what reads the tables as a whole runs again when any row changes.
ROWS = hashlib.sha256(
    b"".join(
        Path(path).read_bytes()
        for path in (TASKS_TABLE, METHODS_TABLE, DATASETS_TABLE, CLAIMS_TABLE)
    )
).hexdigest()
CONFIG_IN_FORCE = json.dumps(config, sort_keys=True)
MIRROR = f"--mirror {quote(str(config['mirror']))}" if config["mirror"] else ""
