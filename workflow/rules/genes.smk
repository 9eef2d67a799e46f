"""The gene network and the gene embedding of a recipe.

Reads:   results/shards/manifest.json or a published network, the recipe of {recipe}
Writes:  results/network/, results/genes/{recipe}/
"""


rule build_network:
    """Edges between genes of the vocabulary: a published network, or co-expression in the corpus."""
    input:
        source=network_source,
        hgnc=f"resources/raw/{config['gene_annotation']}/manifest.json",
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        network="results/network/edges.parquet",
    log:
        "logs/build_network/all.log",
    benchmark:
        "benchmarks/build_network/all.tsv"
    priority: 10
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        stage=STAGES["build_network"],
        source=network_option,
    shell:
        "python -m celllm build_network"
        " {params.source}"
        " --hgnc {input.hgnc:q}"
        " --vocabulary {input.vocabulary:q}"
        " --stage {params.stage}"
        " --network {output.network:q}"
        " &> {log:q}"


rule embed_genes:
    """The gene embedding that a recipe starts from: of the gene network, the corpus, gene2vec, or noise."""
    input:
        unpack(gene_sources),
        network=rules.build_network.output.network,
        vocabulary=rules.build_vocabulary.output.vocabulary,
    output:
        embedding="results/genes/{recipe}/embedding.safetensors",
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
        recipe=recipe_json,
        seed=config["data_seed"],
        sources=files_option("gene2vec", "hgnc", "shards"),
    shell:
        "python -m celllm embed_genes"
        " --recipe {params.recipe:q}"
        " --network {input.network:q}"
        " --vocabulary {input.vocabulary:q}"
        " {params.sources}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --stage {params.stage}"
        " --embedding {output.embedding:q}"
        " &> {log:q}"
