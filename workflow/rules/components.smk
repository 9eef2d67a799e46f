"""Principal components of the corpus: what an encoder's embedding has to beat.

Reads:   results/shards/manifest.json
Writes:  results/components/pca.safetensors
"""


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
        "python -m celllm.cli.fit_components"
        " --shards {input.shards:q}"
        " --stage {params.stage}"
        " --out {output.components:q}"
        " &> {log:q}"
