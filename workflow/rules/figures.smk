"""Figures of the report, each as PNG and PDF.

Reads:   results/bench/, results/pretrain/*/*/history.jsonl, results/embeddings/, results/cells/,
         results/step_cost/
Writes:  results/report/figures/
"""


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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
    shell:
        "python -m celllm.cli.plot_scores"
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
    shell:
        "python -m celllm.cli.plot_fewshot"
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        datasets=DATASETS_TABLE,
    shell:
        "python -m celllm.cli.plot_harmonisation"
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
            recipe=USED_RECIPES,
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
    shell:
        "python -m celllm.cli.plot_curves"
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        limit_gb=STEP_COST["limit_gb"],
    shell:
        "python -m celllm.cli.plot_step_cost"
        " --cost {input.cost:q}"
        " --limit-gb {params.limit_gb}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_confusion:
    """Truth against prediction, all runs of one task and method."""
    input:
        predictions=confusion_predictions,
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        rows=ROWS,
    shell:
        "python -m celllm.cli.plot_confusion"
        " --predictions {input.predictions:q}"
        " {params.tables}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_per_drug:
    """How well each method tells the lines of one drug apart, drug by drug, of one task."""
    input:
        predictions=per_drug_predictions,
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
        "../../envs/report.yaml"
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
        "python -m celllm.cli.plot_per_drug"
        " --task {wildcards.task}"
        " --predictions {input.predictions:q}"
        " {params.tables}"
        " --tables {params.folder:q}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_umap:
    """Cells of one data set by the encoder's embedding, and by principal components of their genes."""
    input:
        embeddings=f"results/embeddings/{config['recipes']['celllm']}/{{dataset}}.parquet",
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        stage=STAGES["report"],
        datasets=DATASETS_TABLE,
    shell:
        "python -m celllm.cli.plot_umap"
        " --embeddings {input.embeddings:q}"
        " --cells {input.cells:q}"
        " --datasets {params.datasets:q}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"
