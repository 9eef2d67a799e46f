"""Tables, figures and audits of the report: a rule for pages of tables, one for figures, one for what needs torch.

Reads:   results/, workflow/report/captions.tsv
Writes:  results/report/
"""


rule report_table:
    """A page of the report: sortable tables, and their rows tab separated, of all but the first in details/."""
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
        mem_mb=8000,
        runtime=120,
    params:
        stage=stage_of,
        title=title_of,
        caption=caption_of,
        inputs=item_options,
    shell:
        "python -m celllm report_table"
        " --table {wildcards.table:q}"
        " {params.inputs}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tsv {output.tsv:q}"
        " --rows results/report/details"
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
        caption=caption_of,
        inputs=item_options,
    shell:
        "python -m celllm report_figure"
        " --figure {wildcards.figure:q}"
        " {params.inputs}"
        " --stage {params.stage}"
        " --png {output.png:q}"
        " --pdf {output.pdf:q}"
        " &> {log:q}"


rule audit_encoder:
    """Audits of the paper's encoder, frozen: the batch-confounding probe, and embedding diagnostics."""
    input:
        unpack(item_inputs),
    output:
        html=report(
            "results/report/tables/{audit}.html",
            caption="../report/caption.rst",
            category=category_of,
            labels=labels_of,
        ),
        tsv="results/report/tables/{audit}.tsv",
    log:
        "logs/audit_encoder/{audit}.log",
    benchmark:
        "benchmarks/audit_encoder/{audit}.tsv"
    priority: 5  # long, and nothing waits for it: not to be last
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["fit"]
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        stage=stage_of,
        title=title_of,
        caption=caption_of,
        inputs=item_options,
        accelerator=ACCELERATOR,
    shell:
        "python -m celllm audit_encoder"
        " --audit {wildcards.audit:q}"
        " {params.inputs}"
        " --threads {threads}"
        " --accelerator {params.accelerator}"
        " --title {params.title:q}"
        " --caption {params.caption:q}"
        " --html {output.html:q}"
        " --tsv {output.tsv:q}"
        " --rows results/report/details"
        " &> {log:q}"
