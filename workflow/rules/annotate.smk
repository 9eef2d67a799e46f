"""Embeddings of cells from a pretrained encoder, and its folder for cells of strangers.

Reads:   results/pretrain/, results/shards/, results/bench/pca.safetensors, results/cells/{dataset}.h5ad
Writes:  results/embeddings/{recipe}/{dataset}.parquet, results/encoders/{recipe}/
"""


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
        accelerator=ACCELERATOR,
    shell:
        "python -m celllm embed_cells"
        " --encoder {input.encoder:q}"
        " --cells {input.cells:q}"
        " --vocabulary {input.vocabulary:q}"
        " --threads {threads}"
        " --accelerator {params.accelerator}"
        " --stage {params.stage}"
        " --embeddings {output.embeddings:q}"
        " &> {log:q}"


rule package_encoder:
    """Encoder in half precision, genes, card and golden cells, as `celllm embed --encoder` takes them.

    The card compares it with cheaper ways on the cells of the tasks; it waits for no benchmark.
    """
    input:
        encoder=f"results/pretrain/{{recipe}}/seed{config['pretrain_seed']}/encoder.safetensors",
        vocabulary=rules.build_vocabulary.output.vocabulary,
        hgnc=f"resources/raw/{config['gene_annotation']}/manifest.json",
        shards=rules.join_shards.output.manifest,
        catalogue=rules.list_runs.output.catalogue,
        cells=card_cells(),
        components=rules.fit_pca.output.pca,
    output:
        encoder="results/encoders/{recipe}/encoder.safetensors",
        genes="results/encoders/{recipe}/genes.tsv",
        hgnc="results/encoders/{recipe}/hgnc.tsv.gz",
        card="results/encoders/{recipe}/card.md",
        golden="results/encoders/{recipe}/golden.json",
    log:
        "logs/package_encoder/{recipe}.log",
    benchmark:
        "benchmarks/package_encoder/{recipe}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGES["package_encoder"],
        seed=config["pretrain_seed"],
        folder=subpath(output.encoder, parent=True),
        files=files_option("cells", "components"),
    shell:
        "python -m celllm package_encoder"
        " --encoder {input.encoder:q}"
        " --vocabulary {input.vocabulary:q}"
        " --hgnc {input.hgnc:q}"
        " --shards {input.shards:q}"
        " --catalogue {input.catalogue:q}"
        " {params.files}"
        " --seed {params.seed}"
        " --folder {params.folder:q}"
        " --stage {params.stage}"
        " &> {log:q}"
