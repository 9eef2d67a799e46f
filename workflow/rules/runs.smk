"""Which cells of the benchmark are run, and what the report draws and audits of them; no rules."""


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
