"""What jobs are given, as functions of their wildcards: input files, options of commands, resources; no rules.

Reads: what tables.smk has read
"""


def files_option(*roles):
    """A function of a job's inputs: `--role FILES` for those of these names that it has; without names, for all."""

    def options(_wildcards, input) -> str:
        named = {
            role: [files] if isinstance(files, str) else files
            for role, files in input.items()
            if role in roles or not roles
        }
        return " ".join(
            f"--{role.replace('_', '-')} {' '.join(quote(str(file)) for file in files)}"
            for role, files in named.items()
            if files
        )

    return options


def sample_list(wildcards) -> list[str]:
    """Manifest of the list of samples, where a data set's files are listed in one."""
    samples = DATASETS[wildcards.dataset].samples
    return [] if samples is None else [f"resources/raw/{samples}/manifest.json"]


def samples_option(wildcards, input) -> str:
    """The list of samples, its format and the studies to leave out, where there is such a list."""
    if not input.samples:
        return ""
    reader = DATASETS[DATASETS[wildcards.dataset].samples].reader
    excluded = f" --exclude-studies {EXCLUDED_STUDIES}" if EXCLUDED_STUDIES else ""
    return f"--samples {quote(str(input.samples))} --samples-reader {reader}{excluded}"


def mirrored_files(wildcards) -> list[str]:
    """A data set's files in the mirror: one that changes there is fetched again, and all that follows made anew."""
    rows = [row for row in files_of(wildcards.dataset) if "{" not in row.file]
    found = (mirror.find(MIRRORS, dataset=row.dataset, file=row.file) for row in rows)
    return [str(path) for path in found if path is not None]


def files_json(wildcards) -> str:
    """The data set's rows of files.tsv."""
    return as_json(list(FILES.of(wildcards.dataset)))


def row_of(rows: dict, name: str):
    """A function of a job's wildcards: its row as JSON, what it is told, and what it runs again for when it changes."""

    def row(wildcards) -> str:
        return as_json(rows[wildcards[name]])

    return row


def method_code(wildcards) -> str | None:
    """The digest of the file of the method's class: after a change of it, jobs run again."""
    return module_digest(METHODS[wildcards.method].module.partition(":")[0])


def recipe_json(wildcards) -> str:
    """The recipe of the job's encoder, whole."""
    return RECIPES[wildcards.recipe].model_dump_json()


def split_json(wildcards) -> str:
    """The job's row of tasks.tsv but for what its split does not depend on: a new title makes no split anew."""
    row = TASKS[wildcards.task]
    return as_json(
        dataclasses.replace(
            row,
            title=row.task,
            split_seeds=(0,),
            protocol="clean",
            headline=tables.METRICS[row.kind][0],
        )
    )


def ranks_options(_wildcards, resources) -> str:
    """How many processes pretrain: one a GPU of the job, or one a task where the profile has srun start them."""
    if "gpu" in str(resources.get("gres", "")) and int(resources.get("gpu", 0)):
        raise WorkflowError(
            "pretrain: gres and gpu both ask for GPUs\n"
            "  do this:  --set-resources pretrain:gpu=0 beside pretrain:gres=…"
        )
    if resources.get("mpi"):
        return f"--devices {resources.tasks_per_node} --nodes {resources.nodes}"
    gres = re.search(r"gpu(?::[^:,]+)?:(\d+)", str(resources.get("gres", "")))
    n_gpus = int(gres[1]) if gres else int(resources.get("gpu", 0))
    return f"--devices {max(1, n_gpus)}"


def ranks_launcher(_wildcards, resources, threads) -> str:
    """What starts the processes of several nodes: srun, where the profile gives mpi, nodes and tasks_per_node."""
    if not resources.get("mpi"):
        return ""
    tasks = f"--nodes={resources.nodes} --ntasks-per-node={resources.tasks_per_node}"
    return f"{resources.mpi} {tasks} --cpus-per-task={threads} "


def benchmark_cells() -> list[str]:
    """Aligned cells of all tasks to be run, and of the probe: cells with the same counts stay out of the corpus."""
    return [
        f"results/cells/{dataset}.h5ad"
        for dataset in sorted({*PROBED, *(TASKS[task].dataset for task in RUN_TASKS)})
    ]


def shared_option() -> str:
    """`--shared FILES` where the corpus has data sets of the benchmark: of these only test cells stay out."""
    corpus = {f"results/cells/{dataset}.h5ad" for dataset in config["corpus"]}
    files = [quote(file) for file in benchmark_cells() if file in corpus]
    return f"--shared {' '.join(files)}" if files else ""


def probe_inputs(wildcards) -> dict[str, str]:
    """Cells and components of the probe, where the recipe asks for one."""
    if RECIPES[wildcards.recipe].training.probe_every is None:
        return {}
    return {
        "probe_cells": f"results/cells/{config['probe']}.h5ad",
        "probe_components": "results/bench/pca.safetensors",
    }


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
    """What a job of the benchmark reads besides splits."""
    found = split_inputs(wildcards)
    encoder = encoder_of(wildcards.method)
    if METHODS[wildcards.method].encoder == tables.COMPONENTS:
        found["encoder"] = "results/bench/pca.safetensors"
    elif encoder is not None:
        found["encoder"] = (
            f"results/pretrain/{encoder}/seed{pretrain_seed_of(wildcards.method)}/encoder.safetensors"
        )
        if METHODS[wildcards.method].options.get("beside") == tables.COMPONENTS:
            found["components"] = "results/bench/pca.safetensors"
    return found


def card_cells() -> list[str]:
    """Aligned cells that an encoder's card tells of: of tasks with classes, none in the corpus, none z-scores."""
    rows = {TASKS[task].dataset: TASKS[task].kind for task in RUN_TASKS}
    return [
        f"results/cells/{dataset}.h5ad"
        for dataset, kind in sorted(rows.items())
        if kind == "classification"
        and DATASETS[dataset].units != "zscore"
        and dataset not in config["corpus"]
    ]


def split_seeds(wildcards) -> str:
    """Seeds of the splits of a task: those that its methods run on, or its own where none runs."""
    found = splits_of(wildcards.task) if wildcards.task in RUNS else ()
    return " ".join(map(str, found or TASKS[wildcards.task].split_seeds))


def fit_splits(wildcards) -> str:
    """The splits that a job runs on."""
    return " ".join(
        f"results/splits/{wildcards.task}/split{split}.parquet"
        for split in RUNS[wildcards.task][wildcards.method].splits
    )


def fit_seeds(wildcards) -> str:
    """The model seeds that a job runs with."""
    return " ".join(map(str, RUNS[wildcards.task][wildcards.method].seeds))


def fit_gpus(wildcards) -> int:
    """GPUs of a job: those of pretraining for a method that starts from a pretrained encoder, none for others."""
    return GPUS if encoder_of(wildcards.method) else 0


def fit_accelerator(wildcards) -> str:
    """A card only for jobs that asked the scheduler for one."""
    return ACCELERATOR if fit_gpus(wildcards) else "cpu"


def fit_minutes(wildcards) -> int:
    """Wall clock of a job: eight hours a run, a day at most; one that is cut short goes on where it was."""
    runs = RUNS[wildcards.task][wildcards.method]
    return min(1440, 480 * len(runs.splits) * len(runs.seeds))


def network_option(_wildcards, input) -> str:
    """Where the gene network comes from: the corpus itself, or a published edge list."""
    kind = "--coexpression" if config["network"] == "coexpression" else "--edges"
    return f"{kind} {quote(str(input.source))}"


def gene_sources(wildcards) -> dict[str, str]:
    """What a gene embedding is made from besides the network: published vectors with their gene table, or cells."""
    method = RECIPES[wildcards.recipe].genes.method
    if method in ("corpus", "corpus_network"):
        return {"shards": "results/shards/manifest.json"}
    if method != "gene2vec":
        return {}
    return {
        "gene2vec": f"resources/raw/{config['gene2vec']}/manifest.json",
        "hgnc": f"resources/raw/{config['gene_annotation']}/manifest.json",
    }


def splits_of(task: str) -> list[int]:
    """Split seeds of a task that any method runs on."""
    return sorted({split for runs in RUNS[task].values() for split in runs.splits})


def splits_with_corpus_cells(_wildcards) -> list[str]:
    """All splits of tasks on cells that are in the corpus too: their test cells stay out of it."""
    return [
        f"results/splits/{task}/manifest.json"
        for task in RUN_TASKS
        if TASKS[task].dataset in config["corpus"]
    ]


def runs_of(task: str, method: str) -> str:
    """What became of the runs of a method on a task; their predictions lie beside it."""
    return f"results/bench/{task}/{method}/runs.json"


def all_runs(_wildcards) -> list[str]:
    """Every job of the benchmark."""
    return [runs_of(task, method) for task in RUN_TASKS for method in methods_of(task)]


def audited_encoder(file: str) -> str:
    """A file of the pretraining whose encoder is the paper's."""
    return f"results/pretrain/{MAIN_ENCODER}/seed{config['pretrain_seed']}/{file}"


def catalogue_json() -> str:
    """What the benchmark runs, with the rows behind every name: `celllm.config.catalogue`."""
    named = [task for claim in CLAIMS for task in claim.tasks if task in TASKS]
    task_names = dict.fromkeys([*RUN_TASKS, *NOT_RUN, *named])
    method_names = dict.fromkeys(
        [
            *[method for task in RUN_TASKS for method in RUNS[task]],
            *[claim.method for claim in CLAIMS],
        ]
    )
    dataset_names = dict.fromkeys(
        [
            *config["corpus"],
            *config["embed"],
            *[dataset for task in task_names for dataset in datasets_of(task)],
        ]
    )
    return catalogue.Catalogue(
        tasks={name: TASKS[name] for name in TASKS if name in task_names},
        methods={name: METHODS[name] for name in METHODS if name in method_names},
        datasets={name: DATASETS[name] for name in DATASETS if name in dataset_names},
        runs=RUNS,
        not_run=NOT_RUN,
        claims=list(CLAIMS),
        config=config,
    ).model_dump_json()
