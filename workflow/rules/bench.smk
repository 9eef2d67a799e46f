"""The benchmark: every method on every task of its kind, and the scores of all.

Reads:   results/cells/, results/responses/, results/splits/, results/pretrain/, results/shards/manifest.json
Writes:  results/bench/{task}/{method}/runs.json and the predictions beside it,
         results/bench/{scores.tsv,trials.tsv,failures.json}
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


rule fit_pca:
    """Fifty principal components of the cells that encoders are pretrained on, incrementally; no labels."""
    input:
        shards=rules.join_shards.output.manifest,
    output:
        pca="results/bench/pca.safetensors",
    log:
        "logs/fit_pca/all.log",
    benchmark:
        "benchmarks/fit_pca/all.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        stage=STAGES["fit_pca"],
    shell:
        "python -m celllm fit_pca"
        " --shards {input.shards:q}"
        " --pca {output.pca:q}"
        " --stage {params.stage}"
        " &> {log:q}"


rule fit:
    """Train one method on one task, once for each split and seed, and predict test cells, whose labels it is not given.

    Predictions of finished runs are no output, so that Snakemake leaves them: a job that was killed, or is forced, makes
    the missing and the failed runs only.
    """
    input:
        unpack(fit_inputs),
        splits="results/splits/{task}/manifest.json",
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        runs="results/bench/{task}/{method}/runs.json",
    log:
        "logs/fit/{task}/{method}.log",
    benchmark:
        "benchmarks/fit/{task}/{method}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["fit"]
    resources:
        mem_mb=8000,
        runtime=fit_minutes,
        gpu=fit_gpus,
    params:
        stage=STAGES["fit"],
        task=row_of(TASKS, "task"),
        method=row_of(METHODS, "method"),
        code=method_code,
        splits=fit_splits,
        responses=files_option("responses"),
        encoder=files_option("encoder", "components"),
        seeds=fit_seeds,
        trials=config["trials"],
        budget=json.dumps(config["fit_budget"]),
        on_failure=config["on_failure"],
        accelerator=fit_accelerator,
        precision="bf16-mixed" if GPUS else "32-true",
    shell:
        "python -m celllm fit"
        " --task {params.task:q}"
        " --method {params.method:q}"
        " --cells {input.cells:q}"
        " {params.responses}"
        " --splits {params.splits}"
        " --vocabulary {input.vocabulary:q}"
        " {params.encoder}"
        " --seeds {params.seeds}"
        " --trials {params.trials}"
        " --budget {params.budget:q}"
        " --threads {threads}"
        " --accelerator {params.accelerator}"
        " --precision {params.precision}"
        " --on-failure {params.on_failure}"
        " --log {log:q}"
        " --stage {params.stage}"
        " --runs {output.runs:q}"
        " &> {log:q}"


rule score:
    """Every metric of every run as one long table, what was tried before, and which runs failed."""
    input:
        runs=all_runs,
    output:
        scores="results/bench/scores.tsv",
        trials="results/bench/trials.tsv",
        failures="results/bench/failures.json",
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
        tasks=as_json([TASKS[task] for task in RUN_TASKS]),
    shell:
        "python -m celllm score"
        " --runs {input.runs:q}"
        " --tasks {params.tasks:q}"
        " --scores {output.scores:q}"
        " --trials {output.trials:q}"
        " --failures {output.failures:q}"
        " &> {log:q}"
