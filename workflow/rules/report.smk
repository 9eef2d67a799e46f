"""Tables, figures and audits of the report.

Reads:   results/, config/claims.tsv
Writes:  results/report/
"""

TABLES = [
    "main",
    "comparisons",
    "spread",
    "classes",
    "trials",
    "failed",
    "controls",
    "verdicts",
    "costs",
    "choices",
    "config",
    "corpus",
]


rule audit_leakage:
    """Benchmark cells among the cells of the corpus, before and after exclusion, and equal cells within a task."""
    input:
        cells=rules.write_shards.input.cells,
        benchmark=benchmark_cells(),
        splits=all_splits(),
        shards=rules.write_shards.output.manifest,
    output:
        leakage=report(
            "results/report/tables/audit_leakage.md",
            caption="../report/audit_leakage.rst",
            category="Audits",
            labels={"table": "leakage"},
        ),
        twins=report(
            "results/report/tables/audit_twins.md",
            caption="../report/audit_twins.rst",
            category="Audits",
            labels={"table": "equal cells within a task"},
        ),
        tsv=expand(
            "results/report/tables/{table}.tsv",
            table=["audit_leakage", "audit_twins"],
        ),
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
        tasks=TASKS_TABLE,
        datasets=DATASETS_TABLE,
        folder=subpath(output.leakage, parent=True),
    shell:
        "python -m celllm audit_leakage"
        " --cells {input.cells:q}"
        " --benchmark-cells {input.benchmark:q}"
        " --splits {input.splits:q}"
        " --shards {input.shards:q}"
        " --tasks {params.tasks:q}"
        " --datasets {params.datasets:q}"
        " --stage {params.stage}"
        " --tables {params.folder:q}"
        " &> {log:q}"


rule audit_source:
    """Whether frozen cells know their data set or the tumour, and what a wrong label rule teaches."""
    input:
        shards=rules.write_shards.output.manifest,
        encoder=audited_encoder("encoder.safetensors"),
        history=audited_encoder("history.jsonl"),
    output:
        source=report(
            "results/report/tables/audit_source.md",
            caption="../report/audit_source.rst",
            category="Audits",
            labels={"table": "tumour or source"},
        ),
        label_rule=report(
            "results/report/tables/audit_label_rule.md",
            caption="../report/audit_label_rule.rst",
            category="Audits",
            labels={"table": "what a label rule teaches"},
        ),
        labels=report(
            "results/report/tables/audit_labels.md",
            caption="../report/audit_labels.rst",
            category="Audits",
            labels={"table": "labels of the corpus"},
        ),
        tsv=expand(
            "results/report/tables/{table}.tsv",
            table=["audit_source", "audit_label_rule", "audit_labels"],
        ),
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
        datasets=DATASETS_TABLE,
        malignancy_rule=config["malignancy_rule"],
        folder=subpath(output.source, parent=True),
    shell:
        "python -m celllm audit_source"
        " --shards {input.shards:q}"
        " --encoder {input.encoder:q}"
        " --history {input.history:q}"
        " --datasets {params.datasets:q}"
        " --malignancy-rule {params.malignancy_rule}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --tables {params.folder:q}"
        " &> {log:q}"


rule audit_embeddings:
    """How frozen embeddings keep labels together, mix samples and spread out, beside principal components."""
    input:
        encoder=audited_encoder("encoder.safetensors"),
        cells=expand("results/cells/{dataset}.h5ad", dataset=config["embed"]),
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        embeddings=report(
            "results/report/tables/audit_embeddings.md",
            caption="../report/audit_embeddings.rst",
            category="Audits",
            labels={"table": "embedding metrics"},
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
        datasets=DATASETS_TABLE,
        folder=subpath(output.embeddings, parent=True),
    shell:
        "python -m celllm audit_embeddings"
        " --encoder {input.encoder:q}"
        " --cells {input.cells:q}"
        " --vocabulary {input.vocabulary:q}"
        " --datasets {params.datasets:q}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --tables {params.folder:q}"
        " &> {log:q}"


rule compare_claims:
    """Each number of the paper beside ours: reproduced, not reproduced or not run."""
    input:
        scores=rules.score.output.scores,
    output:
        claims=report(
            "results/report/claims.tsv",
            caption="../report/claims.rst",
            category="Tables",
            labels={"table": "claims"},
        ),
    log:
        "logs/compare_claims/all.log",
    benchmark:
        "benchmarks/compare_claims/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGES["compare_claims"],
        claims=CLAIMS_TABLE,
        tables=TABLE_OPTIONS,
        rows=ROWS,
        not_run=NOT_RUN,
    shell:
        "python -m celllm compare_claims"
        " --scores {input.scores:q}"
        " --claims {params.claims:q}"
        " {params.tables}"
        " --not-run {params.not_run:q}"
        " --stage {params.stage}"
        " --out {output.claims:q}"
        " &> {log:q}"


rule tabulate:
    """All tables of the report but those about data, as TSV and Markdown."""
    input:
        scores=rules.score.output.scores,
        failed=rules.score.output.failures,
        trials=rules.score.output.trials,
        claims=rules.compare_claims.output.claims,
        shards=rules.write_shards.output.manifest,
    output:
        main=report(
            "results/report/tables/main.md",
            caption="../report/main.rst",
            category="Tables",
            labels={"table": "main"},
        ),
        comparisons=report(
            "results/report/tables/comparisons.md",
            caption="../report/comparisons.rst",
            category="Tables",
            labels={"table": "paired tests"},
        ),
        spread=report(
            "results/report/tables/spread.md",
            caption="../report/spread.rst",
            category="Tables",
            labels={"table": "split and model seed"},
        ),
        classes=report(
            "results/report/tables/classes.md",
            caption="../report/classes.rst",
            category="Tables",
            labels={"table": "F1 of every class"},
        ),
        trials=report(
            "results/report/tables/trials.md",
            caption="../report/trials.rst",
            category="Tables",
            labels={"table": "options tried"},
        ),
        failed=report(
            "results/report/tables/failed.md",
            caption="../report/failed.rst",
            category="Tables",
            labels={"table": "failed cells"},
        ),
        controls=report(
            "results/report/tables/controls.md",
            caption="../report/controls.rst",
            category="Tables",
            labels={"table": "controls"},
        ),
        verdicts=report(
            "results/report/tables/verdicts.md",
            caption="../report/verdicts.rst",
            category="Tables",
            labels={"table": "verdicts"},
        ),
        costs=report(
            "results/report/tables/costs.md",
            caption="../report/costs.rst",
            category="Tables",
            labels={"table": "costs"},
        ),
        choices=report(
            "results/report/tables/choices.md",
            caption="../report/choices.rst",
            category="Tables",
            labels={"table": "choices"},
        ),
        config=report(
            "results/report/tables/config.md",
            caption="../report/config.rst",
            category="Tables",
            labels={"table": "config"},
        ),
        corpus=report(
            "results/report/tables/corpus.md",
            caption="../report/corpus.rst",
            category="Tables",
            labels={"table": "corpus"},
        ),
        tsv=expand("results/report/tables/{table}.tsv", table=TABLES),
    log:
        "logs/tabulate/all.log",
    benchmark:
        "benchmarks/tabulate/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
        not_run=NOT_RUN,
        config=CONFIG_IN_FORCE,
        recipes=json.dumps({name: RECIPES[name].model_dump(mode="json") for name in USED_ENCODERS}),
        folder=subpath(output.main, parent=True),
    shell:
        "python -m celllm tabulate"
        " --scores {input.scores:q}"
        " --failed {input.failed:q}"
        " --trials {input.trials:q}"
        " --claims {input.claims:q}"
        " {params.tables}"
        " --recipes {params.recipes:q}"
        " --shards {input.shards:q}"
        " --config {params.config:q}"
        " --not-run {params.not_run:q}"
        " --stage {params.stage}"
        " --tables {params.folder:q}"
        " &> {log:q}"


rule tabulate_data:
    """What became of gene names and cells on their way to the vocabulary, and the size of that vocabulary."""
    input:
        harmonisation=expand(
            "results/cells/{dataset}.harmonisation.json", dataset=CELL_DATASETS
        ),
        cells=expand("results/cells/{dataset}.h5ad", dataset=CELL_DATASETS),
        vocabulary=rules.build_vocabulary.output.vocabulary,
        network=published_network(),
    output:
        harmonisation=report(
            "results/report/tables/harmonisation.md",
            caption="../report/harmonisation.rst",
            category="Data",
            labels={"table": "gene names"},
        ),
        samples=report(
            "results/report/tables/samples.md",
            caption="../report/samples.rst",
            category="Data",
            labels={"table": "cells by sample"},
        ),
        vocabulary=report(
            "results/report/tables/vocabulary.md",
            caption="../report/vocabulary.rst",
            category="Data",
            labels={"table": "vocabulary"},
        ),
        tsv=expand(
            "results/report/tables/{table}.tsv",
            table=["harmonisation", "samples", "vocabulary"],
        ),
    log:
        "logs/tabulate_data/all.log",
    benchmark:
        "benchmarks/tabulate_data/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGES["report"],
        datasets=DATASETS_TABLE,
        gene_table=config["gene_annotation"],
        locus_group=config["locus_group"],
        network=network_of_report,
        folder=subpath(output.harmonisation, parent=True),
    shell:
        "python -m celllm tabulate_data"
        " --harmonisation {input.harmonisation:q}"
        " --cells {input.cells:q}"
        " --vocabulary {input.vocabulary:q}"
        " --gene-table {params.gene_table}"
        " --locus-group {params.locus_group:q}"
        " {params.network}"
        " --datasets {params.datasets:q}"
        " --stage {params.stage}"
        " --tables {params.folder:q}"
        " &> {log:q}"


rule plot_scores:
    """Headline metric of every task and method, with its interval."""
    input:
        scores=rules.score.output.scores,
    output:
        png=report(
            "results/report/figures/scores.png",
            caption="../report/plot_scores.rst",
            category="Benchmark",
            labels={"figure": "all tasks"},
        ),
        pdf="results/report/figures/scores.pdf",
    log:
        "logs/plot_scores/all.log",
    benchmark:
        "benchmarks/plot_scores/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
    shell:
        "python -m celllm plot_scores"
        " --scores {input.scores:q}"
        " {params.tables}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_fewshot:
    """Score against number of training cells, every method beside the linear model."""
    input:
        scores=rules.score.output.scores,
    output:
        png=report(
            "results/report/figures/fewshot.png",
            caption="../report/plot_fewshot.rst",
            category="Benchmark",
            labels={"figure": "few-shot"},
        ),
        pdf="results/report/figures/fewshot.pdf",
    log:
        "logs/plot_fewshot/all.log",
    benchmark:
        "benchmarks/plot_fewshot/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
    shell:
        "python -m celllm plot_fewshot"
        " --scores {input.scores:q}"
        " {params.tables}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_harmonisation:
    """What became of each data set's counts on the way to the vocabulary."""
    input:
        harmonisation=rules.tabulate_data.input.harmonisation,
    output:
        png=report(
            "results/report/figures/harmonisation.png",
            caption="../report/plot_harmonisation.rst",
            category="Data",
            labels={"figure": "gene names"},
        ),
        pdf="results/report/figures/harmonisation.pdf",
    log:
        "logs/plot_harmonisation/all.log",
    benchmark:
        "benchmarks/plot_harmonisation/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        datasets=DATASETS_TABLE,
    shell:
        "python -m celllm plot_harmonisation"
        " --harmonisation {input.harmonisation:q}"
        " --datasets {params.datasets:q}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_curves:
    """Each loss beside its trivial baseline, and the health of the embedding, over pretraining."""
    input:
        shards=rules.write_shards.output.manifest,
        history=expand(
            "results/pretrain/{recipe}/seed{seed}/history.jsonl",
            recipe=USED_ENCODERS,
            seed=config["pretrain_seed"],
        ),
    output:
        png=report(
            "results/report/figures/curves.png",
            caption="../report/plot_curves.rst",
            category="Pretraining",
            labels={"figure": "loss and health"},
        ),
        pdf="results/report/figures/curves.pdf",
    log:
        "logs/plot_curves/all.log",
    benchmark:
        "benchmarks/plot_curves/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
    shell:
        "python -m celllm plot_curves"
        " --history {input.history:q}"
        " --shards {input.shards:q}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_step_cost:
    """Memory and time of a step against its number of cells, divided and undivided."""
    input:
        cost=rules.measure_step.output.cost,
    output:
        png=report(
            "results/report/figures/step_cost/{recipe}.png",
            caption="../report/plot_step_cost.rst",
            category="Pretraining",
            labels={"figure": "cost of a step", "recipe": "{recipe}"},
        ),
        pdf="results/report/figures/step_cost/{recipe}.pdf",
    log:
        "logs/plot_step_cost/{recipe}.log",
    benchmark:
        "benchmarks/plot_step_cost/{recipe}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        limit_gb=STEP_COST["limit_gb"],
    shell:
        "python -m celllm plot_step_cost"
        " --cost {input.cost:q}"
        " --limit-gb {params.limit_gb}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_confusion:
    """Truth against prediction, all runs of one task and method."""
    input:
        runs=confusion_runs,
    output:
        png=report(
            "results/report/figures/confusion/{task}/{method}.png",
            caption="../report/plot_confusion.rst",
            category="Confusion",
            labels={"task": "{task}", "method": "{method}"},
        ),
        pdf="results/report/figures/confusion/{task}/{method}.pdf",
    log:
        "logs/plot_confusion/{task}/{method}.log",
    benchmark:
        "benchmarks/plot_confusion/{task}/{method}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
    shell:
        "python -m celllm plot_confusion"
        " --runs {input.runs:q}"
        " {params.tables}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_per_drug:
    """How well each method tells the lines of one drug apart, drug by drug, of one task."""
    input:
        runs=per_drug_runs,
    output:
        png=report(
            "results/report/figures/per_drug/{task}.png",
            caption="../report/plot_per_drug.rst",
            category="Drugs",
            labels={"figure": "each drug", "task": "{task}"},
        ),
        pdf="results/report/figures/per_drug/{task}.pdf",
        table="results/report/tables/per_drug/{task}.tsv",
        markdown="results/report/tables/per_drug/{task}.md",
    log:
        "logs/plot_per_drug/{task}.log",
    benchmark:
        "benchmarks/plot_per_drug/{task}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
        folder=subpath(output.table, parent=True),
    shell:
        "python -m celllm plot_per_drug"
        " --task {wildcards.task}"
        " --runs {input.runs:q}"
        " {params.tables}"
        " --tables {params.folder:q}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_umap:
    """Cells of one data set by the encoder's embedding, and by principal components of their genes."""
    input:
        embeddings=f"results/embeddings/{MAIN_ENCODER}/{{dataset}}.parquet",
        cells="results/cells/{dataset}.h5ad",
    output:
        png=report(
            "results/report/figures/umap/{dataset}.png",
            caption="../report/plot_umap.rst",
            category="Embedding",
            labels={"data set": "{dataset}"},
        ),
        pdf="results/report/figures/umap/{dataset}.pdf",
    log:
        "logs/plot_umap/{dataset}.log",
    benchmark:
        "benchmarks/plot_umap/{dataset}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        stage=STAGES["report"],
        datasets=DATASETS_TABLE,
    shell:
        "python -m celllm plot_umap"
        " --embeddings {input.embeddings:q}"
        " --cells {input.cells:q}"
        " --datasets {params.datasets:q}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"
