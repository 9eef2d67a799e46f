"""The gene axis, cells and drug responses on it.

Reads:   resources/raw/{dataset}/manifest.json
Writes:  results/vocabulary/genes.tsv, results/cells/{dataset}.h5ad, results/responses/
"""


rule build_vocabulary:
    """Approved genes of one locus group, sorted by symbol."""
    input:
        hgnc=f"resources/raw/{config['gene_annotation']}/manifest.json",
    output:
        vocabulary="results/vocabulary/genes.tsv",
    log:
        "logs/build_vocabulary/all.log",
    benchmark:
        "benchmarks/build_vocabulary/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGES["build_vocabulary"],
        locus_group=config["locus_group"],
    shell:
        "python -m celllm build_vocabulary"
        " --hgnc {input.hgnc:q}"
        " --locus-group {params.locus_group:q}"
        " --vocabulary {output.vocabulary:q}"
        " &> {log:q}"


rule align_cells:
    """Source gene names to vocabulary indices, counts of one gene summed, shallow cells dropped.

    The aligned cells stay: every method, seed and figure reads them, and a method added later would
    otherwise align everything again.
    """
    input:
        raw="resources/raw/{dataset}/manifest.json",
        hgnc=f"resources/raw/{config['gene_annotation']}/manifest.json",
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        cells="results/cells/{dataset}.h5ad",
        harmonisation="results/cells/{dataset}.harmonisation.json",
    log:
        "logs/align_cells/{dataset}.log",
    benchmark:
        "benchmarks/align_cells/{dataset}.tsv"
    priority: 10
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        stage=STAGES["align_cells"],
        dataset=row_of(DATASETS, "dataset"),
        mapped_threshold=config["mapped_threshold"],
        malignancy_rule=config["malignancy_rule"],
    shell:
        "python -m celllm align_cells"
        " --dataset {params.dataset:q}"
        " --raw {input.raw:q}"
        " --hgnc {input.hgnc:q}"
        " --vocabulary {input.vocabulary:q}"
        " --mapped-threshold {params.mapped_threshold}"
        " --malignancy-rule {params.malignancy_rule}"
        " --stage {params.stage}"
        " --cells {output.cells:q}"
        " --harmonisation {output.harmonisation:q}"
        " &> {log:q}"


rule align_responses:
    """Drug responses of cell lines as one long table: line, drug, SMILES, ln IC50."""
    input:
        raw="resources/raw/{dataset}/manifest.json",
    output:
        responses="results/responses/{dataset}.parquet",
    log:
        "logs/align_responses/{dataset}.log",
    benchmark:
        "benchmarks/align_responses/{dataset}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["align_responses"],
        dataset=row_of(DATASETS, "dataset"),
    shell:
        "python -m celllm align_responses"
        " --dataset {params.dataset:q}"
        " --raw {input.raw:q}"
        " --responses {output.responses:q}"
        " &> {log:q}"
