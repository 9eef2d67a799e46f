"""Wildcards, and look-ups in what tables.smk has read; no rules."""


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
