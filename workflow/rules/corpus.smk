"""The pretraining corpus: many cells in random order, without labels and without anybody's test cells.

Reads:   results/cells/{dataset}.h5ad of corpus and tasks, results/splits/
Writes:  results/shards/manifest.json, written last
"""


rule write_shards:
    """Cells of the corpus but those of a benchmark, shuffled, as (gene, count) pairs in memory-mapped files."""
    input:
        cells=expand("results/cells/{dataset}.h5ad", dataset=config["corpus"]),
        exclude=splits_with_corpus_cells,
        benchmark=benchmark_cells(),
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        manifest="results/shards/manifest.json",
    log:
        "logs/write_shards/all.log",
    benchmark:
        "benchmarks/write_shards/all.tsv"
    priority: 10
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["write_shards"],
        exclude=files_option("exclude"),
        seed=config["data_seed"],
        shard_cells=config["shard_cells"],
    shell:
        "python -m celllm write_shards"
        " --cells {input.cells:q}"
        " {params.exclude}"
        " --benchmark-cells {input.benchmark:q}"
        " --vocabulary {input.vocabulary:q}"
        " --seed {params.seed}"
        " --shard-cells {params.shard_cells}"
        " --stage {params.stage}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"
