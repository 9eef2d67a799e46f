"""Embeddings of cells from a pretrained encoder.

Reads:   results/pretrain/, results/cells/{dataset}.h5ad
Writes:  results/embeddings/{recipe}/{dataset}.parquet
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
