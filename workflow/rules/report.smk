"""Tables of the report, and the paper's claims answered.

Reads:   results/bench/scores.tsv, config/claims.tsv, results/*/
Writes:  results/report/claims.tsv, results/report/tables/
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
    "links",
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
        rows=ROWS,
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
    """All tables of the report but those about data, as TSV and Markdown."""
    input:
        scores=rules.score.output.scores,
        failed=rules.score.output.failed,
        trials=rules.score.output.trials,
        claims=rules.compare_claims.output.claims,
        shards=rules.write_shards.output.manifest,
        recipes=expand(f"{CONFIG}/recipes/{{recipe}}.yaml", recipe=USED_RECIPES),
        bases=bases_of(USED_RECIPES),
        links=f"results/genes/{config['recipes']['celllm']}/links.tsv",
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
        links=report(
            "results/report/tables/links.md",
            caption="../report/links.rst",
            category="Pretraining",
            labels={"table": "gene embedding"},
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
        rows=ROWS,
        not_run=NOT_RUN,
        config=CONFIG_IN_FORCE,
        folder=subpath(output.main, parent=True),
    shell:
        "python -m celllm.cli.tabulate"
        " --scores {input.scores:q}"
        " --failed {input.failed:q}"
        " --trials {input.trials:q}"
        " --claims {input.claims:q}"
        " {params.tables}"
        " --recipes {input.recipes:q}"
        " --shards {input.shards:q}"
        " --links {input.links:q}"
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
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGES["report"],
        datasets=DATASETS_TABLE,
        gene_table=config["gene_table"],
        locus_group=config["locus_group"],
        network=network_of_report,
        folder=subpath(output.harmonisation, parent=True),
    shell:
        "python -m celllm.cli.tabulate_data"
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
