"""The benchmark: every method on every task of its kind, once a split and model seed, and the scores of all.

Reads:   results/cells/, results/responses/, results/splits/, results/pretrain/, config/{tasks,methods}.tsv
Writes:  results/bench/{task}/{method}/split{split}/seed{seed}/predictions.parquet,
         results/bench/{scores,failed,trials}.tsv
"""


rule list_runs:
    """What the benchmark runs, with the titles and rows behind every name: what scores, tables and figures read."""
    output:
        catalogue="results/bench/catalogue.json",
    log:
        "logs/list_runs/all.log",
    benchmark:
        "benchmarks/list_runs/all.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        catalogue=catalogue_json(),
    shell:
        "python -m celllm list_runs"
        " --catalogue {params.catalogue:q}"
        " --out {output.catalogue:q}"
        " &> {log:q}"


rule fit_components:
    """Fifty directions of the cells that encoders are pretrained on, by incremental PCA; no labels."""
    input:
        shards=rules.write_shards.output.manifest,
    output:
        components="results/components/pca.safetensors",
    log:
        "logs/fit_components/all.log",
    benchmark:
        "benchmarks/fit_components/all.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        stage=STAGES["fit_components"],
    shell:
        "python -m celllm fit_components"
        " --shards {input.shards:q}"
        " --stage {params.stage}"
        " --out {output.components:q}"
        " &> {log:q}"


rule fit:
    """Train one method on one task's training part and predict its test part, whose labels it is not given.

    One cell of the benchmark. With on_failure: show, one that fails writes in place of predictions that it did, so that
    the others go on and the report tells of it; a job that the scheduler stops fails as any other.
    """
    input:
        unpack(fit_inputs),
        split="results/splits/{task}/split{split}.parquet",
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        predictions="results/bench/{task}/{method}/split{split}/seed{seed}/predictions.parquet",
    log:
        "logs/fit/{task}/{method}/split{split}/seed{seed}.log",
    benchmark:
        "benchmarks/fit/{task}/{method}/split{split}/seed{seed}.tsv"
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
        row=fit_row,
        responses=responses_option,
        encoder=encoder_option,
        trials=trials_of,
        on_failure=config["on_failure"],
    shell:
        "python -m celllm fit"
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
        " --trials {params.trials}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --predictions {output.predictions:q}"
        " &> {log:q}"
        " || python -m celllm record_failure"
        " --task {wildcards.task}"
        " --method {wildcards.method}"
        " --split {wildcards.split}"
        " --seed {wildcards.seed}"
        " --status $?"
        " --on-failure {params.on_failure}"
        " --log {log:q}"
        " --predictions {output.predictions:q}"


rule score:
    """Every metric of every prediction file as one long table, what was tried before, and which cells failed."""
    input:
        predictions=all_predictions,
    output:
        scores="results/bench/scores.tsv",
        failed="results/bench/failed.tsv",
        trials="results/bench/trials.tsv",
    log:
        "logs/score/all.log",
    benchmark:
        "benchmarks/score/all.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["score"],
        tasks=TASKS_TABLE,
        cells=cells_of_the_benchmark,
        folder=subpath(output.scores, parent=True),
    shell:
        "python -m celllm score"
        " --folder {params.folder:q}"
        " --cells {params.cells:q}"
        " --tasks {params.tasks:q}"
        " --stage {params.stage}"
        " --scores {output.scores:q}"
        " --failed {output.failed:q}"
        " --trials {output.trials:q}"
        " &> {log:q}"
