"""Items of the report: which tables and figures there are, what each is made from, and its caption; no rules.

Reads: workflow/report/captions.tsv
"""

import csv

with (Path(workflow.basedir) / "workflow/report/captions.tsv").open() as file:
    CAPTIONS = {row["item"]: row for row in csv.DictReader(file, delimiter="\t")}

SCORED = {
    "catalogue": "results/bench/catalogue.json",
    "scores": "results/bench/scores.tsv",
}
NAMED = {
    "catalogue": SCORED["catalogue"],
    "harmonisation": expand(
        "results/cells/{dataset}.harmonisation.json", dataset=CELL_DATASETS
    ),
}
REGRESSIONS = [task for task in RUN_TASKS if TASKS[task].kind == "regression"]
# Inputs by item; {subject} is what follows the first slash of a name such as umap/pbmc3k_10x.
ITEM_INPUTS = {
    "tables/main": SCORED | {"failures": "results/bench/failures.json"},
    "tables/comparisons": SCORED
    | {
        "runs": [
            runs_of(task, name)
            for task in RUN_TASKS
            for name in methods_of(task)
            if METHODS[name].role not in CONTROLS
        ]
    },
    "tables/claims": SCORED,
    "tables/costs": SCORED,
    "tables/per_drug": {"catalogue": SCORED["catalogue"]},
    "tables/failures": {
        "catalogue": SCORED["catalogue"],
        "failures": "results/bench/failures.json",
    },
    "tables/controls": SCORED,
    "tables/corpus": {
        "catalogue": SCORED["catalogue"],
        "shards": "results/shards/manifest.json",
    },
    "tables/harmonisation": NAMED,
    "tables/audit_leakage": {
        "catalogue": SCORED["catalogue"],
        "cells": [f"results/cells/{dataset}.h5ad" for dataset in config["corpus"]],
        "benchmark_cells": benchmark_cells(),
        "splits": expand("results/splits/{task}/manifest.json", task=RUN_TASKS),
        "shards": "results/shards/manifest.json",
    },
    "tables/audit_source": {
        "catalogue": SCORED["catalogue"],
        "shards": "results/shards/manifest.json",
        "encoder": audited_encoder("encoder.safetensors"),
        "history": audited_encoder("history.jsonl"),
    },
    "tables/audit_embeddings": {
        "catalogue": SCORED["catalogue"],
        "encoder": audited_encoder("encoder.safetensors"),
        "cells": expand("results/cells/{dataset}.h5ad", dataset=config["embed"]),
        "vocabulary": "results/vocabulary/genes.tsv",
    },
    "tables/details": SCORED,
    "figures/scores": SCORED,
    "figures/fewshot": SCORED,
    "figures/per_drug": {"catalogue": SCORED["catalogue"]},
    "figures/confusion": {"catalogue": SCORED["catalogue"]},
    "figures/umap": {
        "catalogue": SCORED["catalogue"],
        "embeddings": f"results/embeddings/{MAIN_ENCODER}/{{subject}}.parquet",
        "cells": "results/cells/{subject}.h5ad",
    },
    "figures/curves": {
        "history": expand(
            "results/pretrain/{encoder}/seed{seed}/history.jsonl",
            encoder=USED_ENCODERS,
            seed=config["pretrain_seed"],
        ),
        "shards": "results/shards/manifest.json",
    },
    "figures/step_cost": {
        "catalogue": SCORED["catalogue"],
        "cost": "results/step_cost/{subject}.tsv",
    },
}
REPORT_TABLES = [
    *("main", "comparisons", "claims", "costs", "failures", "controls"),
    *("corpus", "harmonisation", "audit_leakage", "details"),
    *(f"per_drug/{task}" for task in REGRESSIONS),
]
REPORT_FIGURES = [
    *("scores", "fewshot", "curves"),
    *(f"per_drug/{task}" for task in REGRESSIONS),
    *(
        f"confusion/{task}/{method}"
        for task in RUN_TASKS
        for method in methods_of(task)
        if TASKS[task].kind == "classification"
        and METHODS[method].role in ("ours", tables.LINEAR)
    ),
    *(f"umap/{dataset}" for dataset in config["embed"]),
    *([f"step_cost/{STEP_COST['encoder']}"] if STEP_COST["encoder"] else []),
]
AUDITS = ["audit_source", *(["audit_embeddings"] if config["embed"] else [])]


wildcard_constraints:
    table="|".join(REPORT_TABLES),
    figure="|".join(REPORT_FIGURES),
    audit="|".join(AUDITS),


def item_of(wildcards) -> tuple[str, str]:
    """Item of captions.tsv, such as figures/umap, and what it is about."""
    ((kind, name),) = wildcards.items()
    item, _, subject = name.partition("/")
    return f"{'figures' if kind == 'figure' else 'tables'}/{item}", subject


def item_inputs(wildcards) -> dict[str, str | list[str]]:
    """Files that a table or figure is made from, by role."""
    item, subject = item_of(wildcards)
    found = {
        role: files.format(subject=subject) if isinstance(files, str) else files
        for role, files in ITEM_INPUTS[item].items()
    }
    task, _, method = subject.partition("/")
    methods = {
        "per_drug": [
            name
            for name in (methods_of(task) if task in RUN_TASKS else [])
            if METHODS[name].role not in ("trivial", *CONTROLS)
        ],
        "confusion": [method],
    }.get(item.split("/")[1], [])
    if methods:
        found["runs"] = [runs_of(task, name) for name in methods]
    return found


def item_options(wildcards, input) -> str:
    """`--role FILES` for each named input; the page of details gets the recipes besides."""
    options = files_option()(wildcards, input)
    if item_of(wildcards)[0] == "tables/details":
        used = {name: RECIPES[name].model_dump(mode="json") for name in USED_ENCODERS}
        options += f" --recipes {quote(json.dumps(used))}"
    return options


def caption_of(wildcards) -> str:
    """An item's caption, in which its subject and keys of the configuration are filled in."""
    item, subject = item_of(wildcards)
    values = config | {"subject": subject, "embed": ", ".join(config["embed"])}
    return CAPTIONS[item]["caption"].format(**values)


def category_of(wildcards) -> str:
    """Category of the report that an item stands in."""
    return CAPTIONS[item_of(wildcards)[0]]["category"]


def labels_of(wildcards) -> dict[str, str]:
    """What the report calls an item, and the task, method, data set or encoder that it is about."""
    item, subject = item_of(wildcards)
    label = {"item": CAPTIONS[item]["label"]}
    return label | {"of": subject} if subject else label


def title_of(wildcards) -> str:
    """Title of a table's page: its label without the number that orders it."""
    return CAPTIONS[item_of(wildcards)[0]]["label"].lstrip("0123456789 ")


def stage_of(wildcards) -> str:
    """Behaviour version of a table or figure, each its own."""
    folder, name = item_of(wildcards)[0].split("/")
    return STAGES[f"{folder[:-1]}_{name}"]
