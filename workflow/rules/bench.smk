"""The benchmark: every method on every task of its kind, once a seed, and the scores of all.

Reads:   results/cells/, results/responses/, results/splits/, results/pretrain/, config/{tasks,methods}.tsv
Writes:  results/bench/{task}/{method}/seed{seed}/predictions.parquet, results/bench/scores.tsv
"""


rule fit:
    """Train one method on one task's training part and predict its test part, whose labels it is not given."""
    input:
        unpack(fit_inputs),
        split="results/splits/{task}/seed{seed}.parquet",
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        predictions="results/bench/{task}/{method}/seed{seed}/predictions.parquet",
    log:
        "logs/fit/{task}/{method}/seed{seed}.log",
    benchmark:
        "benchmarks/fit/{task}/{method}/seed{seed}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["fit"]
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["fit"],
        tasks=TASKS_TABLE,
        methods=METHODS_TABLE,
        responses=responses_option,
        encoder=encoder_option,
    shell:
        "python -m celllm.cli.fit"
        " --task {wildcards.task}"
        " --tasks {params.tasks:q}"
        " --method {wildcards.method}"
        " --methods {params.methods:q}"
        " --cells {input.cells:q}"
        " {params.responses}"
        " --split {input.split:q}"
        " --vocabulary {input.vocabulary:q}"
        " {params.encoder}"
        " --seed {wildcards.seed}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --predictions {output.predictions:q}"
        " &> {log:q}"


rule score:
    """Every metric of every prediction file, as one long table."""
    input:
        predictions=all_predictions,
    output:
        scores="results/bench/scores.tsv",
    log:
        "logs/score/all.log",
    benchmark:
        "benchmarks/score/all.tsv"
    conda:
        "../../envs/singlecell.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["score"],
        tasks=TASKS_TABLE,
    shell:
        "python -m celllm.cli.score"
        " --predictions {input.predictions:q}"
        " --tasks {params.tasks:q}"
        " --stage {params.stage}"
        " --scores {output.scores:q}"
        " &> {log:q}"
