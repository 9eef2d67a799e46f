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

from celllm.config import configuration, recipe_files, tables
from celllm.config import recipe as recipe_file
from celllm.config.neighbours import neighbours_of
from celllm.base.errors import InputError
from celllm.sources import mirror

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
HOSTS_TABLE = str(CONFIG / "hosts.tsv")
CHECKSUMS_TABLE = str(CONFIG / "checksums.tsv")
EXCLUDED_STUDIES = " ".join(quote(study) for study in config.get("exclude_studies", []))


def sample_list(wildcards) -> list[str]:
    """Manifest of the list of samples, where a data set's files are listed in one."""
    samples = DATASETS[wildcards.dataset].samples
    return [] if samples is None else [f"resources/raw/{samples}/manifest.json"]


def samples_option(_wildcards, input) -> str:
    """`--samples FILE`, and the studies to leave out, where there is such a list."""
    if not input.samples:
        return ""
    excluded = f" --exclude-studies {EXCLUDED_STUDIES}" if EXCLUDED_STUDIES else ""
    return f"--samples {quote(str(input.samples))}{excluded}"


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
    folders = [Path(config["mirror"])] if config["mirror"] else []
    held = [
        "{" not in row.file
        and mirror.find(folders, dataset=dataset, file=row.file) is not None
        for row in rows
    ]
    return bool(rows) and all(a or b for a, b in zip(local, held))


def dataset_row(wildcards) -> str:
    """What a data set's row says, as a parameter: a job runs again when it changes."""
    return repr(DATASETS[wildcards.dataset])


def split_row(wildcards) -> str:
    """What of a task's row its splits depend on, as a parameter."""
    row = TASKS[wildcards.task]
    shares = (row.train, row.validation, row.test)
    return repr((row.dataset, row.response, row.split, shares, row.min_class_size))


def fit_row(wildcards) -> str:
    """What of a task's and a method's row a cell of the benchmark depends on besides its split, as a parameter."""
    task, method = TASKS[wildcards.task], METHODS[wildcards.method]
    options = (method.module, method.recipe, method.options, method.search)
    return repr((task.protocol, task.headline, *options))


def datasets_of(task: str) -> list[str]:
    """The data sets a task reads: its cells (or lines) and, for regression, its responses."""
    row = TASKS[task]
    return [name for name in (row.dataset, row.response) if name is not None]


RUN_TASKS = [
    *config["tasks"],
    *[
        task
        for task in config["tasks_if_present"]
        if all(is_present(dataset) for dataset in datasets_of(task))
    ],
]
NOT_RUN = [task for task in config["tasks_if_present"] if task not in RUN_TASKS]


def methods_of(task: str) -> list[str]:
    """Methods of the configuration that fit the task's kind and are to run on it."""
    return [
        method
        for method in config["methods"]
        if METHODS[method].kind == TASKS[task].kind
        and task in config["methods_only_on"].get(method, [task])
    ]


def warn_of_missing_neighbours() -> None:
    """Say before anything is computed which encoders' numbers will be withheld for want of a neighbour."""
    for task in RUN_TASKS:
        for method in methods_of(task):
            needed = neighbours_of(METHODS[method], TASKS[task])
            missing = [name for name in needed if name not in methods_of(task)]
            if missing:
                logger.warning(
                    f"{method} on {task}: its number will not be shown, since {', '.join(missing)} is not run there; "
                    "add it to methods or methods_only_on"
                )


if workflow.is_main_process:
    warn_of_missing_neighbours()


def recipe_of(method: str) -> str | None:
    """Recipe of the encoder a method starts from; None for a method without one."""
    part = METHODS[method].recipe
    return None if part in (None, tables.COMPONENTS) else config["recipes"][part]


USED_RECIPES = sorted(
    {
        recipe
        for task in RUN_TASKS
        for method in methods_of(task)
        if (recipe := recipe_of(method))
    }
    or set(config["recipes"].values())
)
CELL_DATASETS = sorted(
    {*config["corpus"], *config["embed"], *(TASKS[task].dataset for task in RUN_TASKS)}
)


wildcard_constraints:
    dataset="|".join(DATASETS),
    task="|".join(TASKS),
    method="|".join(METHODS),
    recipe="|".join(RECIPES),
    split=r"\d+",
    seed=r"\d+",


def bases_of(recipes: list[str]) -> list[str]:
    """Files that recipes are made of besides their own: a change of one is a change of the recipe."""
    try:
        chains = [
            recipe_files.sources(CONFIG / "recipes" / f"{name}.yaml")
            for name in recipes
        ]
    except InputError as error:
        raise WorkflowError(str(error)) from None
    return sorted({str(path) for chain in chains for path in chain[1:]})


def recipe_bases(wildcards) -> list[str]:
    """What the recipe of a job is based on."""
    return bases_of([wildcards.recipe])


def ranks_options(_wildcards, resources) -> str:
    """How many processes pretrain: one a GPU of the job, or one a task where the profile has srun start them."""
    if resources.get("mpi"):
        return f"--devices {resources.tasks_per_node} --nodes {resources.nodes}"
    return f"--devices {max(1, int(resources.get('gpu', 0)))}"


def ranks_launcher(_wildcards, resources, threads) -> str:
    """What starts the processes of several nodes: srun, where the profile gives mpi, nodes and tasks_per_node."""
    if not resources.get("mpi"):
        return ""
    tasks = f"--nodes={resources.nodes} --ntasks-per-node={resources.tasks_per_node}"
    return f"{resources.mpi} {tasks} --cpus-per-task={threads} "


def benchmark_cells() -> list[str]:
    """Aligned cells of all tasks to be run: cells with the same counts stay out of the corpus."""
    return [
        f"results/cells/{dataset}.h5ad"
        for dataset in sorted({TASKS[task].dataset for task in RUN_TASKS})
    ]


def network_source(_wildcards) -> str:
    """What the gene network is made from."""
    if config["network"] == "coexpression":
        return "results/shards/manifest.json"
    return f"resources/raw/{config['network']}/manifest.json"


def split_inputs(wildcards) -> dict[str, str]:
    """The aligned cells of a task and, for regression, its responses."""
    row = TASKS[wildcards.task]
    found = {"cells": f"results/cells/{row.dataset}.h5ad"}
    if row.response is not None:
        found["responses"] = f"results/responses/{row.response}.parquet"
    return found


def fit_inputs(wildcards) -> dict[str, str]:
    """What one cell of the benchmark reads."""
    found = split_inputs(wildcards)
    recipe = recipe_of(wildcards.method)
    if METHODS[wildcards.method].recipe == tables.COMPONENTS:
        found["encoder"] = "results/components/pca.safetensors"
    elif recipe is not None:
        found["encoder"] = (
            f"results/pretrain/{recipe}/seed{config['pretrain_seed']}/encoder.safetensors"
        )
    return found


def responses_option(_wildcards, input) -> str:
    """`--responses FILE` where the task has responses."""
    return (
        f"--responses {quote(str(input.responses))}"
        if "responses" in input.keys()
        else ""
    )


def exclude_option(_wildcards, input) -> str:
    """`--exclude FILES` where splits keep cells out of the corpus."""
    splits = " ".join(quote(str(path)) for path in input.exclude)
    return f"--exclude {splits}" if splits else ""


def published_network() -> list[str]:
    """The gene network's file, unless the network is made from the corpus."""
    return (
        [] if config["network"] == "coexpression" else ["results/network/edges.parquet"]
    )


def network_of_report(_wildcards, input) -> str:
    """`--network FILE` where a published network stands beside the vocabulary."""
    return f"--network {quote(str(input.network))}" if input.network else ""


def network_option(_wildcards, input) -> str:
    """Where the gene network comes from: the corpus itself, or a published edge list."""
    kind = "--coexpression" if config["network"] == "coexpression" else "--edges"
    return f"{kind} {quote(str(input.source))}"


def gene2vec_inputs(wildcards) -> dict[str, str]:
    """The published gene vectors, and the gene table that maps their names, where the recipe asks for them."""
    if not needs_gene2vec(wildcards.recipe):
        return {}
    return {
        "gene2vec": f"resources/raw/{config['gene2vec']}/manifest.json",
        "hgnc": f"resources/raw/{config['gene_table']}/manifest.json",
    }


def gene2vec_options(_wildcards, input) -> str:
    """`--gene2vec FILE --hgnc FILE` where the recipe asks for them."""
    return " ".join(
        f"--{name} {quote(str(input[name]))}"
        for name in ("gene2vec", "hgnc")
        if name in input.keys()
    )


def encoder_option(_wildcards, input) -> str:
    """`--encoder FILE` where the method starts from one."""
    return f"--encoder {quote(str(input.encoder))}" if "encoder" in input.keys() else ""


def splits_of(task: str) -> list[int]:
    """Split seeds of a task, no more than the configuration allows."""
    return list(TASKS[task].split_seeds[: config["splits_at_most"]])


def seeds_of(task: str, method: str) -> list[int]:
    """Model seeds of a method on a task; one where its outcome does not depend on it, or where one is to do."""
    is_one = not METHODS[method].seeded or task in config["one_model_seed_on"]
    return config["model_seeds"][:1] if is_one else config["model_seeds"]


def trials_of(wildcards) -> int:
    """Combinations of options that a cell tries: one where there are none, or no validation part to choose on."""
    task, method = TASKS[wildcards.task], METHODS[wildcards.method]
    return config["trials"] if method.search and task.validation else 1


def splits_with_corpus_cells(_wildcards) -> list[str]:
    """All splits of tasks on cells that are in the corpus too: their test cells stay out of it."""
    return [
        f"results/splits/{task}/split{split}.parquet"
        for task in RUN_TASKS
        if TASKS[task].dataset in config["corpus"]
        for split in splits_of(task)
    ]


def predictions_of(task: str, method: str) -> list[str]:
    """Predictions of one task and method, all splits and model seeds."""
    return [
        f"results/bench/{task}/{method}/split{split}/seed{seed}/predictions.parquet"
        for split in splits_of(task)
        for seed in seeds_of(task, method)
    ]


def all_predictions(_wildcards) -> list[str]:
    """Predictions of every cell of the benchmark."""
    return [
        path
        for task in RUN_TASKS
        for method in methods_of(task)
        for path in predictions_of(task, method)
    ]


def cells_of_the_benchmark(_wildcards) -> str:
    """Splits and seeds of every task and method, as JSON: thousands of paths would be too long for a command."""
    cells = {
        task: {
            method: {"splits": splits_of(task), "seeds": seeds_of(task, method)}
            for method in methods_of(task)
        }
        for task in RUN_TASKS
    }
    return json.dumps(cells)


def confusion_predictions(wildcards) -> list[str]:
    """Predictions of one task and method, all splits and model seeds."""
    return predictions_of(wildcards.task, wildcards.method)


def confusion_figures() -> list[str]:
    """A confusion matrix for each annotation task, of the encoder and of logistic regression."""
    return [
        f"results/report/figures/confusion/{task}/{method}.png"
        for task in RUN_TASKS
        for method in methods_of(task)
        if TASKS[task].kind == "classification"
        and METHODS[method].role in ("ours", "neighbour")
    ]


def per_drug_predictions(wildcards) -> list[str]:
    """Predictions of one task by every method that tells lines apart, all splits and model seeds."""
    return [
        path
        for method in methods_of(wildcards.task)
        if METHODS[method].role not in ("trivial", "control")
        for path in predictions_of(wildcards.task, method)
    ]


def per_drug_figures() -> list[str]:
    """Every drug of each drug-response task over cell lines."""
    return [
        f"results/report/figures/per_drug/{task}.png"
        for task in RUN_TASKS
        if TASKS[task].kind == "regression"
    ]


def step_cost_figures() -> list[str]:
    """The cost of a step, if it is to be measured."""
    recipe = STEP_COST["recipe"]
    return [] if recipe is None else [f"results/report/figures/step_cost/{recipe}.png"]


def umap_figures() -> list[str]:
    """A UMAP for each data set to be drawn."""
    return [f"results/report/figures/umap/{dataset}.png" for dataset in config["embed"]]


def all_splits() -> list[str]:
    """Split files of every task that is run."""
    return [
        f"results/splits/{task}/split{split}.parquet"
        for task in RUN_TASKS
        for split in splits_of(task)
    ]


def audited_encoder(file: str) -> str:
    """A file of the pretraining whose encoder is the paper's."""
    recipe = config["recipes"]["celllm"]
    return f"results/pretrain/{recipe}/seed{config['pretrain_seed']}/{file}"


def embedding_audit() -> list[str]:
    """The table of embedding metrics, if there are data sets to measure them on."""
    return ["results/report/tables/audit_embeddings.md"] if config["embed"] else []
