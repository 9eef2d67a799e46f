"""The pretraining corpus: many cells in random order, without labels and without anybody's test cells.

Reads:   results/cells/{dataset}.h5ad of corpus and tasks, results/splits/
Writes:  results/shards/{dataset}/, results/shards/manifest.json, written last
"""


rule write_shards:
    """Cells of a data set but those of a benchmark, as (gene, count) pairs in memory-mapped files."""
    input:
        cells="results/cells/{dataset}.h5ad",
        exclude=splits_with_corpus_cells,
        benchmark=benchmark_cells(),
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        manifest="results/shards/{dataset}/manifest.json",
    log:
        "logs/write_shards/{dataset}.log",
    benchmark:
        "benchmarks/write_shards/{dataset}.tsv"
    priority: 10
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        stage=STAGES["write_shards"],
        exclude=files_option("exclude"),
        shared=shared_option(),
        shard_cells=config["shard_cells"],
    shell:
        "python -m celllm write_shards"
        " --cells {input.cells:q}"
        " {params.exclude}"
        " --benchmark-cells {input.benchmark:q}"
        " {params.shared}"
        " --vocabulary {input.vocabulary:q}"
        " --shard-cells {params.shard_cells}"
        " --stage {params.stage}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"


rule join_shards:
    """One order over the cells of all data sets; the shards stay where they are."""
    input:
        shards=expand(rules.write_shards.output.manifest, dataset=config["corpus"]),
    output:
        manifest="results/shards/manifest.json",
    log:
        "logs/join_shards/all.log",
    benchmark:
        "benchmarks/join_shards/all.tsv"
    priority: 10
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["join_shards"],
        seed=config["data_seed"],
    shell:
        "python -m celllm join_shards"
        " --shards {input.shards:q}"
        " --seed {params.seed}"
        " --stage {params.stage}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"
