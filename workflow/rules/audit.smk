"""Audits: leakage, the source behind the tumour label, the embedding.

Reads:   results/cells/, results/splits/, results/shards/manifest.json, results/pretrain/, config/*.tsv
Writes:  results/report/tables/audit_*.md and .tsv
"""


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
        "../../envs/report.yaml"
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
        "python -m celllm.cli.audit_leakage"
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
        "../../envs/audit.yaml"
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
        "python -m celllm.cli.audit_source"
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
        "../../envs/audit.yaml"
    threads: config["threads"]["fit"]
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["audit_embeddings"],
        datasets=DATASETS_TABLE,
        folder=subpath(output.embeddings, parent=True),
    shell:
        "python -m celllm.cli.audit_embeddings"
        " --encoder {input.encoder:q}"
        " --cells {input.cells:q}"
        " --vocabulary {input.vocabulary:q}"
        " --datasets {params.datasets:q}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --tables {params.folder:q}"
        " &> {log:q}"
