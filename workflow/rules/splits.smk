"""Who is tested: the training, validation and test part of every task.

Reads:   results/cells/, results/responses/
Writes:  results/splits/{task}/split{split}.parquet
"""


rule make_splits:
    """Training, validation and test part of a task for one split seed, as a file that every method reads."""
    input:
        unpack(split_inputs),
    output:
        split="results/splits/{task}/split{split}.parquet",
    log:
        "logs/make_splits/{task}/split{split}.log",
    benchmark:
        "benchmarks/make_splits/{task}/split{split}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["make_splits"],
        task=split_json,
        responses=responses_option,
    shell:
        "python -m celllm make_splits"
        " --task {params.task:q}"
        " --cells {input.cells:q}"
        " {params.responses}"
        " --seed {wildcards.split}"
        " --stage {params.stage}"
        " --split {output.split:q}"
        " &> {log:q}"
