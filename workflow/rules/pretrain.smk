"""The gene network, the frozen gene embedding and a pretrained encoder per recipe and seed.

Reads:   results/shards/manifest.json, config/recipes/{recipe}.yaml and what it is based on
Writes:  results/network/, results/genes/{recipe}/, results/pretrain/{recipe}/seed{seed}/, results/step_cost/
"""


rule build_network:
    """Edges between genes of the vocabulary: a published network, or co-expression in the corpus."""
    input:
        source=network_source,
        hgnc=f"resources/raw/{config['gene_table']}/manifest.json",
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        network="results/network/edges.parquet",
    log:
        "logs/build_network/all.log",
    benchmark:
        "benchmarks/build_network/all.tsv"
    priority: 10
    conda:
        "../../envs/singlecell.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        stage=STAGES["build_network"],
        source=network_option,
    shell:
        "python -m celllm.cli.build_network"
        " {params.source}"
        " --hgnc {input.hgnc:q}"
        " --vocabulary {input.vocabulary:q}"
        " --stage {params.stage}"
        " --network {output.network:q}"
        " &> {log:q}"


rule embed_genes:
    """The frozen gene embedding of a recipe: GraphMAE or an SVD of the gene network, gene2vec, or noise."""
    input:
        unpack(gene2vec_inputs),
        network=rules.build_network.output.network,
        vocabulary=rules.build_vocabulary.output.vocabulary,
        recipe=f"{CONFIG}/recipes/{{recipe}}.yaml",
        bases=recipe_bases,
    output:
        table="results/genes/{recipe}/table.safetensors",
    log:
        "logs/embed_genes/{recipe}.log",
    benchmark:
        "benchmarks/embed_genes/{recipe}.tsv"
    priority: 10
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["pretrain"]
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        stage=STAGES["embed_genes"],
        seed=config["data_seed"],
        gene2vec=gene2vec_options,
    shell:
        "python -m celllm.cli.embed_genes"
        " --recipe {input.recipe:q}"
        " --network {input.network:q}"
        " --vocabulary {input.vocabulary:q}"
        " {params.gene2vec}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --table {output.table:q}"
        " &> {log:q}"


rule evaluate_genes:
    """What gene tables of a recipe's size know: held-out edges of the network against pairs that are no edges."""
    input:
        network=rules.build_network.output.network,
        vocabulary=rules.build_vocabulary.output.vocabulary,
        recipe=f"{CONFIG}/recipes/{{recipe}}.yaml",
        bases=recipe_bases,
    output:
        links="results/genes/{recipe}/links.tsv",
    log:
        "logs/evaluate_genes/{recipe}.log",
    benchmark:
        "benchmarks/evaluate_genes/{recipe}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["pretrain"]
    resources:
        mem_mb=8000,
        runtime=480,
    params:
        stage=STAGES["evaluate_genes"],
    shell:
        "python -m celllm.cli.evaluate_genes"
        " --recipe {input.recipe:q}"
        " --network {input.network:q}"
        " --vocabulary {input.vocabulary:q}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --out {output.links:q}"
        " &> {log:q}"


rule pretrain:
    """Masked genes, malignancy and divide-and-conquer contrastive learning.

    Killed at the wall clock it goes on from its last checkpoint. Those lie in a folder
    that is no output: Snakemake removes outputs before it tries a job again. A signal before
    the end, as SLURM sends, has it write one and leave with status 75. Several GPUs of a node:
    resource gpu. Several nodes: resources mpi, nodes, tasks_per_node, gres; see docs/pretraining.md.
    """
    input:
        shards=rules.write_shards.output.manifest,
        genes=rules.embed_genes.output.table,
        vocabulary=rules.build_vocabulary.output.vocabulary,
        recipe=f"{CONFIG}/recipes/{{recipe}}.yaml",
        bases=recipe_bases,
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
        run=subpath(output.encoder, parent=True),
        ranks=ranks_options,
        launcher=ranks_launcher,
    shell:
        "{params.launcher}python -m celllm.cli.pretrain"
        " --shards {input.shards:q}"
        " --genes {input.genes:q}"
        " --vocabulary {input.vocabulary:q}"
        " --recipe {input.recipe:q}"
        " --seed {wildcards.seed}"
        " {params.ranks}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --checkpoints {params.run:q}/checkpoints"
        " --encoder {output.encoder:q}"
        " --history {output.history:q}"
        " &> {log:q}"


rule measure_step:
    """Seconds and peak memory of a contrastive step against its number of cells, divided and undivided.

    Measured on the CPU, on the machine that runs the rule. One job at a time would give steadier seconds.
    """
    input:
        shards=rules.write_shards.output.manifest,
        recipe=f"{CONFIG}/recipes/{{recipe}}.yaml",
        bases=recipe_bases,
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
        batches=STEP_COST["batches"],
        limit_gb=STEP_COST["limit_gb"],
        seed=config["data_seed"],
    shell:
        "python -m celllm.cli.measure_step"
        " --recipe {input.recipe:q}"
        " --shards {input.shards:q}"
        " --batches {params.batches}"
        " --limit-gb {params.limit_gb}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --out {output.cost:q}"
        " &> {log:q}"


rule embed_cells:
    """One vector a cell, from the frozen encoder."""
    input:
        encoder=f"results/pretrain/{{recipe}}/seed{config['pretrain_seed']}/encoder.safetensors",
        cells="results/cells/{dataset}.h5ad",
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        embeddings="results/embeddings/{recipe}/{dataset}.parquet",
    log:
        "logs/embed_cells/{recipe}/{dataset}.log",
    benchmark:
        "benchmarks/embed_cells/{recipe}/{dataset}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["fit"]
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["embed_cells"],
    shell:
        "python -m celllm.cli.embed_cells"
        " --encoder {input.encoder:q}"
        " --cells {input.cells:q}"
        " --vocabulary {input.vocabulary:q}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --embeddings {output.embeddings:q}"
        " &> {log:q}"
