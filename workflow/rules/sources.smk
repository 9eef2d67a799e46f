"""Raw files as published, or simulated where nothing real ships with the demo.

Reads:   config/{datasets,files,checksums}.tsv, the mirror folder, the network
Writes:  resources/raw/{dataset}/ with manifest.json, written last; new lines of config/checksums.tsv
"""


wildcard_constraints:
    simulated="|".join(name for name, row in DATASETS.items() if row.simulated)
    or "none",


rule fetch:
    """One data set's files from package or checkout, mirror folder, or the addresses of its rows; checksums verified.

    An interrupted download resumes: partial files are kept outside the rule's outputs. A job opens one connection; the
    profile says how many jobs may be connected at once.
    """
    input:
        samples=sample_list,
        mirrored=mirrored_files,
    output:
        manifest="resources/raw/{dataset}/manifest.json",
    log:
        "logs/fetch/{dataset}.log",
    benchmark:
        "benchmarks/fetch/{dataset}.tsv"
    priority: 10
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
        connections=1,
    params:
        stage=STAGES["fetch"],
        dataset=row_of(DATASETS, "dataset"),
        files=files_json,
        checksums=CHECKSUMS_TABLE,
        samples=samples_option,
        mirror=MIRROR,
        checkout=workflow.basedir,
    shell:
        "python -m celllm fetch"
        " --dataset {params.dataset:q}"
        " --files {params.files:q}"
        " --checksums {params.checksums:q}"
        " {params.samples}"
        " {params.mirror}"
        " --checkout {params.checkout:q}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"


rule simulate:
    """Simulated counts (negative binomial) for what the demo has no real data for; called simulated everywhere."""
    input:
        hgnc=f"resources/raw/{config['gene_annotation']}/manifest.json",
    output:
        manifest="resources/raw/{simulated}/manifest.json",
    log:
        "logs/simulate/{simulated}.log",
    benchmark:
        "benchmarks/simulate/{simulated}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        stage=STAGES["simulate"],
        kind=lambda wildcards: wildcards.simulated.removeprefix("simulated_"),
        seed=config["data_seed"],
    shell:
        "python -m celllm simulate"
        " --dataset {wildcards.simulated}"
        " --kind {params.kind}"
        " --hgnc {input.hgnc:q}"
        " --seed {params.seed}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"


ruleorder: simulate > fetch
