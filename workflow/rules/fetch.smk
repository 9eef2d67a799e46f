"""Raw files as published, or simulated where nothing real ships with the demo.

Reads:   config/files.tsv, the mirror folder, the network
Writes:  resources/raw/{dataset}/ with manifest.json, written last
"""


wildcard_constraints:
    simulated="|".join(name for name, row in DATASETS.items() if row.simulated)
    or "none",


rule fetch:
    """One data set's files: mirror folder first, then the package or address of its row; checksum verified."""
    output:
        manifest="resources/raw/{dataset}/manifest.json",
    log:
        "logs/fetch/{dataset}.log",
    benchmark:
        "benchmarks/fetch/{dataset}.tsv"
    priority: 10
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        stage=STAGES["fetch"],
        files=FILES_TABLE,
        mirror=MIRROR,
        checkout=workflow.basedir,
    shell:
        "python -m celllm.cli.fetch"
        " --dataset {wildcards.dataset}"
        " --files {params.files:q}"
        " {params.mirror}"
        " --checkout {params.checkout:q}"
        " --stage {params.stage}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"


rule simulate:
    """Simulated counts (negative binomial) for what the demo has no real data for; called simulated everywhere."""
    input:
        hgnc=f"resources/raw/{config['gene_table']}/manifest.json",
    output:
        manifest="resources/raw/{simulated}/manifest.json",
    log:
        "logs/simulate/{simulated}.log",
    benchmark:
        "benchmarks/simulate/{simulated}.tsv"
    conda:
        "../../envs/singlecell.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        stage=STAGES["simulate"],
        kind=lambda wildcards: wildcards.simulated.removeprefix("simulated_"),
        seed=config["data_seed"],
    shell:
        "python -m celllm.cli.simulate"
        " --dataset {wildcards.simulated}"
        " --kind {params.kind}"
        " --hgnc {input.hgnc:q}"
        " --seed {params.seed}"
        " --stage {params.stage}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"


ruleorder: simulate > fetch
