"""Tables of the report, and the paper's claims answered.

Reads:   results/bench/scores.tsv, config/claims.tsv, results/*/
Writes:  results/report/claims.tsv, results/report/tables/
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
