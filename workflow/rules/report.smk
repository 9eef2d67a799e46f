"""What a reader sees: the paper's claims answered, tables, figures.

Reads:   results/bench/scores.tsv, config/claims.tsv, results/*/
Writes:  results/report/
"""

TABLES = [
    "main",
    "controls",
    "verdicts",
    "costs",
    "choices",
    "config",
    "harmonisation",
    "corpus",
]


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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGES["compare_claims"],
        claims=CLAIMS_TABLE,
        tables=TABLE_OPTIONS,
        not_run=NOT_RUN,
    shell:
        "python -m celllm.cli.compare_claims"
        " --scores {input.scores:q}"
        " --claims {params.claims:q}"
        " {params.tables}"
        " --not-run {params.not_run:q}"
        " --stage {params.stage}"
        " --out {output.claims:q}"
        " &> {log:q}"


rule tabulate:
    """All tables of the report, as TSV and Markdown."""
    input:
        scores=rules.score.output.scores,
        claims=rules.compare_claims.output.claims,
        shards=rules.write_shards.output.manifest,
        harmonisation=expand(
            "results/cells/{dataset}.harmonisation.json", dataset=CELL_DATASETS
        ),
        recipes=expand(f"{CONFIG}/recipes/{{recipe}}.yaml", recipe=USED_RECIPES),
    output:
        main=report(
            "results/report/tables/main.md",
            caption="../report/main.rst",
            category="Tables",
            labels={"table": "main"},
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
        harmonisation=report(
            "results/report/tables/harmonisation.md",
            caption="../report/harmonisation.rst",
            category="Tables",
            labels={"table": "harmonisation"},
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
        not_run=NOT_RUN,
        config=CONFIG_IN_FORCE,
        folder=subpath(output.main, parent=True),
    shell:
        "python -m celllm.cli.tabulate"
        " --scores {input.scores:q}"
        " --claims {input.claims:q}"
        " {params.tables}"
        " --harmonisation {input.harmonisation:q}"
        " --recipes {input.recipes:q}"
        " --shards {input.shards:q}"
        " --config {params.config:q}"
        " --not-run {params.not_run:q}"
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["report"],
        tables=TABLE_OPTIONS,
    shell:
        "python -m celllm.cli.plot_scores"
        " --scores {input.scores:q}"
        " {params.tables}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule plot_harmonisation:
    """What became of each data set's counts on the way to the vocabulary."""
    input:
        harmonisation=rules.tabulate.input.harmonisation,
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


rule plot_confusion:
    """Truth against prediction, all seeds of one task and method."""
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
    shell:
        "python -m celllm.cli.plot_confusion"
        " --predictions {input.predictions:q}"
        " {params.tables}"
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
