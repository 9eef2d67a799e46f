"""Tables, figures and audits of the report: one rule for tables, one for figures, captions in one table.

Reads:   results/, workflow/report/captions.tsv
Writes:  results/report/
"""


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
        splits=expand("results/splits/{task}/manifest.json", task=RUN_TASKS),
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
        accelerator=ACCELERATOR,
        inputs=item_options,
        title=title_in_captions("tables/audit_source"),
        caption=caption_of("tables/audit_source"),
    shell:
        "python -m celllm audit_source"
        " {params.inputs}"
        " --threads {threads}"
        " --accelerator {params.accelerator}"
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
        accelerator=ACCELERATOR,
        inputs=item_options,
        title=title_in_captions("tables/audit_embeddings"),
        caption=caption_of("tables/audit_embeddings"),
    shell:
        "python -m celllm audit_embeddings"
        " {params.inputs}"
        " --threads {threads}"
        " --accelerator {params.accelerator}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tsv {output.tsv:q}"
        " &> {log:q}"
