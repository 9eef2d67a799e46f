"""A pretrained encoder per recipe and seed, and what one of its steps costs.

Reads:   results/shards/manifest.json, results/genes/, config/recipes/
Writes:  results/pretrain/{recipe}/seed{seed}/, results/step_cost/
"""


rule pretrain:
    """Masked genes, malignancy and divide-and-conquer contrastive learning.

    Killed at the wall clock it resumes from its last checkpoint. Those lie in a folder
    that is no output: Snakemake removes outputs before it tries a job again. A signal before
    the end, as SLURM sends, has it write one and leave with status 75. Several GPUs of a node:
    resource gpu. Several nodes: resources mpi, nodes, tasks_per_node, gres and gpu=0; see docs/pretraining.md.
    """
    input:
        unpack(probe_inputs),
        shards=rules.join_shards.output.manifest,
        genes=rules.embed_genes.output.embedding,
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        encoder=protected("results/pretrain/{recipe}/seed{seed}/encoder.safetensors"),
        history="results/pretrain/{recipe}/seed{seed}/history.jsonl",
    log:
        "logs/pretrain/{recipe}/seed{seed}.log",
    benchmark:
        "benchmarks/pretrain/{recipe}/seed{seed}.tsv"
    priority: 10
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["pretrain"]
    resources:
        gpu=GPUS,
        mem_mb=16000,
        runtime="24h",
    params:
        stage=STAGES["pretrain"],
        recipe=recipe_json,
        probe=files_option("probe_cells", "probe_components"),
        run=subpath(output.encoder, parent=True),
        ranks=ranks_options,
        accelerator="cuda" if GPUS else "cpu",
        launcher=ranks_launcher,
    shell:
        "{params.launcher}python -m celllm pretrain"
        " --shards {input.shards:q}"
        " --genes {input.genes:q}"
        " --vocabulary {input.vocabulary:q}"
        " --recipe {params.recipe:q}"
        " {params.probe}"
        " --seed {wildcards.seed}"
        " {params.ranks}"
        " --accelerator {params.accelerator}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --checkpoints {params.run:q}/checkpoints"
        " --encoder {output.encoder:q}"
        " --history {output.history:q}"
        " &> {log:q}"


rule measure_step:
    """Seconds and peak memory of a contrastive step against its number of cells, chunked and full-batch.

    Measured on the CPU, on the machine that runs the rule. One job at a time would give steadier seconds.
    """
    input:
        shards=rules.join_shards.output.manifest,
    output:
        cost="results/step_cost/{recipe}.tsv",
    log:
        "logs/measure_step/{recipe}.log",
    benchmark:
        "benchmarks/measure_step/{recipe}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["pretrain"]
    resources:
        mem_mb=int(1000 * STEP_COST["limit_gb"]) + 1000,
        runtime=240,
    params:
        stage=STAGES["measure_step"],
        recipe=recipe_json,
        batches=STEP_COST["batches"],
        limit_gb=STEP_COST["limit_gb"],
        seed=config["data_seed"],
    shell:
        "python -m celllm measure_step"
        " --recipe {params.recipe:q}"
        " --shards {input.shards:q}"
        " --batches {params.batches}"
        " --limit-gb {params.limit_gb}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --out {output.cost:q}"
        " &> {log:q}"
