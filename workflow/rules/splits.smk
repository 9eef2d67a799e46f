"""Who is tested: the training, validation and test part of every task.

Reads:   results/cells/, results/responses/
Writes:  results/splits/{task}/manifest.json and the splits beside it, split{split}.parquet
"""


rule make_splits:
    """Training, validation and test part of a task for each of its split seeds, as files that every method reads.

    The splits are no output, so that Snakemake leaves them: with a seed more, the job makes one more.
    """
    input:
        unpack(split_inputs),
    output:
        manifest="results/splits/{task}/manifest.json",
    log:
        "logs/make_splits/{task}.log",
    benchmark:
        "benchmarks/make_splits/{task}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["make_splits"],
        task=split_json,
        responses=files_option("responses"),
        seeds=split_seeds,
    shell:
        "python -m celllm make_splits"
        " --task {params.task:q}"
        " --cells {input.cells:q}"
        " {params.responses}"
        " --seeds {params.seeds}"
        " --stage {params.stage}"
        " --manifest {output.manifest:q}"
        " &> {log:q}"
