"""CellLM: from raw cells to the paper's tables and figures.

Each include is one stage, in the order of the story; config.yaml says on what, config/*.tsv what exists.
"""

from snakemake.utils import min_version

min_version("9.19")


configfile: f"{workflow.basedir}/config.yaml"


include: "workflow/rules/tables.smk"
include: "workflow/rules/options.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/harmonise.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/genes.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/bench.smk"
include: "workflow/rules/annotate.smk"
include: "workflow/rules/items.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


rule all:
    """The report's tables and figures; `snakemake --report FILE.html` then makes one page of them."""
    default_target: True
    input:
        expand(rules.report_table.output.html, table=REPORT_TABLES),
        expand(rules.report_figure.output.png, figure=REPORT_FIGURES),
        expand(rules.audit_encoder.output.html, audit=AUDITS),


rule harmonise:
    """Only the data: cells on the gene axis, and what became of names and cells; nothing is trained."""
    input:
        "results/report/tables/harmonisation.html",


rule bench:
    """Only the benchmark: scores, trials and failed runs; of encoders only those are pretrained that its methods start from."""
    input:
        rules.score.output,
        rules.list_runs.output,


onstart:
    refuse_to_replace(workflow.dag.needrun_jobs())


onsuccess:
    failures = Path("results/bench/failures.json")
    failed = json.loads(failures.read_text()) if failures.exists() else []
    if failed:
        print(
            f"{len(failed)} runs of methods failed, see {failures}; again: --forcerun fit"
        )
