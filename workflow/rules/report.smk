"""Tables, figures and audits of the report: one rule for tables, one for figures, captions in one table.

Reads:   results/, workflow/report/captions.tsv
Writes:  results/report/
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
    "tables/comparisons": SCORED,
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
    "figures/harmonisation": NAMED,
}
REPORT_TABLES = [
    *("main", "comparisons", "claims", "costs", "failures", "controls"),
    *("corpus", "harmonisation"),
    *(f"per_drug/{task}" for task in REGRESSIONS),
]
REPORT_FIGURES = [
    *("scores", "fewshot", "curves", "harmonisation"),
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
AUDITS = [
    "audit_leakage",
    "audit_source",
    *(["audit_embeddings"] if config["embed"] else []),
]


wildcard_constraints:
    table="|".join(REPORT_TABLES),
    figure="|".join(REPORT_FIGURES),


def item_of(wildcards) -> tuple[str, str]:
    """Item of captions.tsv, such as figures/umap, and what it is about; the page of details and audits have no wildcard."""
    for folder, name in wildcards.items():
        item, _, subject = name.partition("/")
        return f"{folder}s/{item}", subject
    return "", ""


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


def item_options(_wildcards, input) -> str:
    """`--role FILES` for each named input."""
    files = {
        role: [paths] if isinstance(paths, str) else paths
        for role, paths in input.items()
    }
    return " ".join(
        f"--{role.replace('_', '-')} {' '.join(quote(path) for path in paths)}"
        for role, paths in files.items()
        if paths
    )


def caption_of(name: str):
    """A function of wildcards that fills an item's caption in: its subject, and keys of the configuration."""

    def caption(wildcards) -> str:
        item, subject = item_of(wildcards)
        values = config | {"subject": subject, "embed": ", ".join(config["embed"])}
        return CAPTIONS[item or name]["caption"].format(**values)

    return caption


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
    return title_in_captions(item_of(wildcards)[0])


def title_in_captions(item: str) -> str:
    """Title of an item's page."""
    return CAPTIONS[item]["label"].lstrip("0123456789 ")


def stage_of(wildcards) -> str:
    """Behaviour version of a table or figure, each its own."""
    folder, name = item_of(wildcards)[0].split("/")
    return STAGES[f"{folder[:-1]}_{name}"]


rule report_table:
    """A table of the report: a sortable page, and its rows tab separated."""
    input:
        unpack(item_inputs),
    output:
        html=report(
            "results/report/tables/{table}.html",
            caption="../report/caption.rst",
            category=category_of,
            labels=labels_of,
        ),
        tsv="results/report/tables/{table}.tsv",
    log:
        "logs/report_table/{table}.log",
    benchmark:
        "benchmarks/report_table/{table}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        stage=stage_of,
        title=title_of,
        caption=caption_of("table"),
        inputs=item_options,
    shell:
        "python -m celllm report_table"
        " --table {wildcards.table:q}"
        " {params.inputs}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tsv {output.tsv:q}"
        " &> {log:q}"


rule report_figure:
    """A figure of the report, for screens and for print."""
    input:
        unpack(item_inputs),
    output:
        png=report(
            "results/report/figures/{figure}.png",
            caption="../report/caption.rst",
            category=category_of,
            labels=labels_of,
        ),
        pdf="results/report/figures/{figure}.pdf",
    log:
        "logs/report_figure/{figure}.log",
    benchmark:
        "benchmarks/report_figure/{figure}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        stage=stage_of,
        caption=caption_of("figure"),
        inputs=item_options,
    shell:
        "python -m celllm report_figure"
        " --figure {wildcards.figure:q}"
        " {params.inputs}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule report_details:
    """One page of what the other tables rest on: spreads, classes, options, choices, configuration, cells, labels."""
    input:
        catalogue=SCORED["catalogue"],
        scores=SCORED["scores"],
        trials="results/bench/trials.tsv",
        harmonisation=NAMED["harmonisation"],
        cells=expand("results/cells/{dataset}.h5ad", dataset=CELL_DATASETS),
        vocabulary=rules.build_vocabulary.output.vocabulary,
        network=published_network(),
        exact_duplicates="results/report/details/exact_duplicates.tsv",
        label_rule="results/report/details/label_rule.tsv",
        labels="results/report/details/labels.tsv",
    output:
        html=report(
            "results/report/tables/details.html",
            caption="../report/caption.rst",
            category=CAPTIONS["tables/details"]["category"],
            labels={"item": CAPTIONS["tables/details"]["label"]},
        ),
        spread="results/report/details/spread.tsv",
        rows=expand(
            "results/report/details/{table}.tsv",
            table=["classes", "trials", "choices", "config", "samples", "vocabulary"],
        ),
    log:
        "logs/report_details/all.log",
    benchmark:
        "benchmarks/report_details/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        stage=STAGES["report_details"],
        title=title_in_captions("tables/details"),
        caption=caption_of("tables/details"),
        inputs=item_options,
        recipes=json.dumps(
            {name: RECIPES[name].model_dump(mode="json") for name in USED_ENCODERS}
        ),
        rows=subpath(output.spread, parent=True),
    shell:
        "python -m celllm report_details"
        " {params.inputs}"
        " --recipes {params.recipes:q}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tables {params.rows:q}"
        " &> {log:q}"


rule audit_leakage:
    """Benchmark cells among the cells of the corpus, before and after exclusion, and exact duplicates within a task."""
    input:
        cells=rules.write_shards.input.cells,
        benchmark_cells=benchmark_cells(),
        splits=all_splits(),
        shards=rules.write_shards.output.manifest,
        catalogue=SCORED["catalogue"],
    output:
        html=report(
            "results/report/tables/audit_leakage.html",
            caption="../report/caption.rst",
            category=CAPTIONS["tables/audit_leakage"]["category"],
            labels={"item": CAPTIONS["tables/audit_leakage"]["label"]},
        ),
        tsv="results/report/tables/audit_leakage.tsv",
        exact_duplicates="results/report/details/exact_duplicates.tsv",
    log:
        "logs/audit_leakage/all.log",
    benchmark:
        "benchmarks/audit_leakage/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        stage=STAGES["audit_leakage"],
        inputs=item_options,
        title=title_in_captions("tables/audit_leakage"),
        caption=caption_of("tables/audit_leakage"),
    shell:
        "python -m celllm audit_leakage"
        " {params.inputs}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tsv {output.tsv:q}"
        " --exact-duplicates {output.exact_duplicates:q}"
        " &> {log:q}"


rule audit_source:
    """Batch-confounding probe: whether frozen cells know their data set or the tumour, and what a wrong label rule teaches."""
    input:
        shards=rules.write_shards.output.manifest,
        encoder=audited_encoder("encoder.safetensors"),
        history=audited_encoder("history.jsonl"),
        catalogue=SCORED["catalogue"],
    output:
        html=report(
            "results/report/tables/audit_source.html",
            caption="../report/caption.rst",
            category=CAPTIONS["tables/audit_source"]["category"],
            labels={"item": CAPTIONS["tables/audit_source"]["label"]},
        ),
        tsv="results/report/tables/audit_source.tsv",
        label_rule="results/report/details/label_rule.tsv",
        labels="results/report/details/labels.tsv",
    log:
        "logs/audit_source/all.log",
    benchmark:
        "benchmarks/audit_source/all.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["fit"]
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["audit_source"],
        inputs=item_options,
        title=title_in_captions("tables/audit_source"),
        caption=caption_of("tables/audit_source"),
    shell:
        "python -m celllm audit_source"
        " {params.inputs}"
        " --threads {threads}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tsv {output.tsv:q}"
        " --label-rule {output.label_rule:q}"
        " --labels {output.labels:q}"
        " &> {log:q}"


rule audit_embeddings:
    """Embedding diagnostics: how frozen embeddings keep labels together, mix samples and spread out, beside principal components."""
    input:
        encoder=audited_encoder("encoder.safetensors"),
        cells=expand("results/cells/{dataset}.h5ad", dataset=config["embed"]),
        vocabulary=rules.build_vocabulary.output.vocabulary,
        catalogue=SCORED["catalogue"],
    output:
        html=report(
            "results/report/tables/audit_embeddings.html",
            caption="../report/caption.rst",
            category=CAPTIONS["tables/audit_embeddings"]["category"],
            labels={"item": CAPTIONS["tables/audit_embeddings"]["label"]},
        ),
        tsv="results/report/tables/audit_embeddings.tsv",
    log:
        "logs/audit_embeddings/all.log",
    benchmark:
        "benchmarks/audit_embeddings/all.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["fit"]
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["audit_embeddings"],
        inputs=item_options,
        title=title_in_captions("tables/audit_embeddings"),
        caption=caption_of("tables/audit_embeddings"),
    shell:
        "python -m celllm audit_embeddings"
        " {params.inputs}"
        " --threads {threads}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tsv {output.tsv:q}"
        " &> {log:q}"
